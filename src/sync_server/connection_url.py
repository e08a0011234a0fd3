"""PostgreSQL URLs as people write them."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

_SCHEME = re.compile(r"postgres(ql)?://")
_USER_AND_HOST = re.compile(r"(?P<scheme>\w+://)(?P<user>[^/]*)@(?P<rest>.*)", re.DOTALL)


class UnreadableUrl(Exception):
    """The URL is none. The text quotes nothing of it: what cannot be read may be a part of the password."""


def readable(url: str) -> str:
    """`url` as libpq takes it. Raises UnreadableUrl. An @ in a password may stand as it is, as in sync_server_ts files."""
    if not _SCHEME.match(url):
        raise UnreadableUrl('Expected "embedded" or a URL that begins with postgresql://')
    if "${" in url:
        raise UnreadableUrl("A variable must stand for the whole URL: put all of it into the variable")
    if parts := _USER_AND_HOST.fullmatch(url):
        url = f"{parts['scheme']}{parts['user'].replace('@', '%40')}@{parts['rest']}"
    if not _makes_sense(url):
        raise UnreadableUrl(
            "The URL cannot be read: it is postgresql://user:password@host:port/database?options, and in a password"
            " % / and spaces are written %25 %2F %20"
        )
    return url


def _makes_sense(url: str) -> bool:
    """Whether libpq reads it, and did not take a part of the password for the host, the port or the database."""
    try:
        read = conninfo_to_dict(url)
    except psycopg.Error:
        return False
    ports = str(read.get("port") or "").split(",")
    return "@" not in f"{read.get('host')}{read.get('dbname')}" and all(re.fullmatch("[0-9]*", port) for port in ports)


def server(url: str) -> frozenset[str]:
    """Where the URL leads to: URLs with the same are answered, or not, by the same server."""
    read = conninfo_to_dict(url)
    return frozenset(f"{name}={read.get(name, '')}" for name in ("host", "hostaddr", "port", "service"))


def meaning(url: str) -> frozenset[tuple[str, str]]:
    """What the URL says, which is the same for different spellings of it: realms with the same share one pool."""
    read = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    read["host"] = read.get("host", "").lower() if "/" not in read.get("host", "") else read["host"]
    read.setdefault("port", "5432")
    read.setdefault("dbname", read.get("user", ""))
    return frozenset(read.items())
