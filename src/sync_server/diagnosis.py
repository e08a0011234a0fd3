"""What is wrong with a database, and how to mend it, in the words of an operator. Never a password or a URL."""

from __future__ import annotations

import psycopg

_HINTS = (
    ("password authentication failed", "check user and password in the URL"),
    ("no password supplied", "put a password into the URL"),
    ('role "', "check the user in the URL"),
    ("resolve host", "check the host in the URL"),
    ("Connection refused", "check host and port, and that PostgreSQL runs and listens there (listen_addresses)"),
    ("No such file", "check that PostgreSQL runs, and the host in the URL"),
    ("timeout", "check host and port, and the firewalls in between"),
    ("pg_hba.conf", "let this machine in in the server's pg_hba.conf, or add ?sslmode=require to the URL"),
    ("root certificate", "add sslrootcert=<file> to the URL, or sslrootcert=system for the system's authorities"),
    ("certificate", "check sslmode and sslrootcert in the URL"),
    ("SSL", "check sslmode in the URL"),
    ("too many clients", "lower db.max_connections or raise the server's max_connections"),
    ("connection slots", "lower db.max_connections or raise the server's max_connections"),
    (
        "permission denied",
        "GRANT CREATE ON DATABASE … TO the role of the URL, or have its owner run `sync-server migrate`",
    ),
    ("read-only", "the URL must lead to the primary server"),
)
_MISSING_DATABASE = ('database "', "does not exist")


def reason(exc: psycopg.Error) -> str:
    """What a database error says: the server's own words, or the kind of failure. One line."""
    if exc.diag.message_primary:
        return exc.diag.message_primary
    # libpq's text of a failed connection names host and port, never the password; what follows are guesses or repetitions
    first, *_ = str(exc).strip().splitlines() or [type(exc).__name__]
    return first.removeprefix("connection failed: ").removeprefix("connection is bad: ")


def explain(exc: psycopg.Error) -> str:
    """The reason, and how to mend it where that can be told."""
    text = reason(exc)
    if all(part in text for part in _MISSING_DATABASE):
        return f"{text}; make it with createdb, or check the URL"
    hint = next((hint for sign, hint in _HINTS if sign in text), None)
    return f"{text}; {hint}" if hint else text
