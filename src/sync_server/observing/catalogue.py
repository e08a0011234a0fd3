"""Every metric of the server: its name, kind, labels, and what it says. docs/monitoring.md lists them, too."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "histogram", "sum", "most"]
"""A gauge of several processes is the `sum` of theirs, or the `most` that any of them says."""


class Family(NamedTuple):
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


PREFIX = "sync_server_"
FAMILIES: dict[str, Family] = {
    "build_info": Family("most", "Version of the server and of Python; always 1", ("version", "python")),
    "uptime_seconds": Family("most", "Seconds since the oldest of the server's processes began"),
    "processes": Family("sum", "Processes that answer requests"),
    "process_cpu_seconds": Family("counter", "Processor time of all processes that answer requests"),
    "process_resident_bytes": Family("sum", "Memory of all processes that answer requests"),
    "requests": Family("counter", "Requests answered", ("route", "method", "status")),
    "request_seconds": Family("histogram", "Time from a request's head to the end of its answer", ("route",)),
    "refusals": Family("counter", "Requests refused, by the name of the refusal", ("error",)),
    "log_lines_dropped": Family("counter", "Lines of requests that nobody took in time"),
    "realms": Family("most", "Realms of the configuration: served, or closed until they are up to date", ("state",)),
    "realm_requests": Family("counter", "Requests to a realm", ("realm",)),
    "syncs": Family("counter", "Syncs that came to their end", ("realm",)),
    "rows_received": Family("counter", "Changes that devices pushed", ("realm",)),
    "rows_sent": Family("counter", "Rows that devices pulled", ("realm",)),
    "bytes_received": Family("counter", "Bytes of request bodies, as sent", ("realm",)),
    "bytes_sent": Family("counter", "Bytes of answers, as sent", ("realm",)),
    "conflicts": Family("counter", "Versions that lost a conflict and were kept in overridden", ("realm",)),
    "kept_aside": Family("counter", "Changes that could not be stored as rows and were kept aside", ("realm",)),
    "transactions": Family("counter", "Transactions and single statements begun", ("database",)),
    "transaction_events": Family(
        "counter",
        "What happened to them: retried, given_up, lost, unanswered, turned_away",
        ("database", "event"),
    ),
    "connections": Family("sum", "Open connections, busy or idle", ("database", "state")),
    "connections_most": Family("sum", "Connections that all databases may have together (db.max_connections)"),
    "calls_waiting": Family("sum", "Calls that wait for a connection", ("database",)),
    "database_answers": Family("most", "1, or 0 while calls are turned away because it does not answer", ("database",)),
    "mails_waiting": Family("most", "Mails in the queue, as last seen", ("realm",)),
    "mails_oldest_seconds": Family("most", "Age of the oldest mail in the queue, as last seen", ("realm",)),
    "mails": Family(
        "counter",
        "Tries to send mails: sent, failed (it is tried again), given_up (refused for good, or expired)",
        ("realm", "mail", "outcome"),
    ),
    "uploads_waiting": Family("most", "Chunked calls of which parts are missing, as last seen", ("realm",)),
    "bcrypt_waiting": Family("sum", "Passwords that are hashed or wait for it"),
    "bcrypt_wait_seconds": Family("histogram", "Time that a password waits until it is hashed"),
}
