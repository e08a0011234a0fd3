"""What of a configuration leaves a server more open than need be: said at its start and by `sync-server check`.

None of it keeps the server from running: what is careless on the internet is fine in a network of one's own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from psycopg.conninfo import conninfo_to_dict

from sync_server.config import Config, Secret

_SECRET = 32
"""Bytes below which a secret of HS256 can be found by trying (RFC 7518, section 3.2)."""
_TOKEN = 16
"""The same for a token that has to be tried on the server itself."""
_ROUNDS = 10
_NAMED = 5
_ENCRYPTED = {"require", "verify-ca", "verify-full"}


def advice(config: Config, host: str) -> list[str]:
    """A sentence for each thing, with the key that mends it. `host`: the address that is listened on."""
    return [sentence for look in _LOOKS for sentence in look(config, host)]


def _secrets(config: Config, _: str) -> Iterator[str]:
    server = config.server
    for key, secret, least in (
        ("server.secret_key", server.secret_key, _SECRET),
        ("server.secret_key_refresh", server.secret_key_refresh, _SECRET),
        ("metrics.token", config.metrics.token, _TOKEN),
    ):
        if secret and _bytes(secret) < least:
            yield f"{key} is short enough to be found by trying: use {least} random bytes or more (openssl rand -hex 32)"
    if server.secret_key and server.secret_key == server.secret_key_refresh:
        yield "server.secret_key and server.secret_key_refresh are the same: use two"
    if server.bcrypt_rounds < _ROUNDS:
        yield f"server.bcrypt_rounds is {server.bcrypt_rounds}: passwords in a stolen database are soon found; use 12"


def _bytes(secret: Secret) -> int:
    return len(secret.reveal().encode())


def _ways_in(config: Config, host: str) -> Iterator[str]:
    proxies = config.server.trusted_proxies
    if not proxies and not _stays_here(host):
        yield (
            "devices send passwords and rows over plain HTTP: put a proxy with TLS in front and name it in"
            " server.trusted_proxies, or listen on 127.0.0.1 (server.host)"
        )
    if any(proxy == "*" or ipaddress.ip_network(proxy).prefixlen == 0 for proxy in proxies):
        yield "server.trusted_proxies believes everybody: whoever guesses passwords can have a new address for each try"
    if config.metrics.port is not None and not config.metrics.token and not _stays_here(config.metrics.host):
        yield "metrics can be read by everybody who reaches metrics.port: set metrics.token, or metrics.host to 127.0.0.1"
    if not config.rate_limits:
        yield "the limits on guessing passwords are off (RATE_LIMIT_DISABLE=1)"


def _realms(config: Config, _: str) -> Iterator[str]:
    realms = config.db.realms.items()
    if names := [name for name, realm in realms if realm.registration == "open"]:
        yield f"anybody may make an account in {_listed(names)}: db.realms.<realm>.registration can be invite or closed"
    if names := [name for name, realm in realms if not realm.embedded and _in_the_clear(realm.url.reveal())]:
        yield f"the database of {_listed(names)} may be spoken to without TLS: add sslmode=verify-full to its URL"


def _mail(config: Config, _: str) -> Iterator[str]:
    email = config.email
    if email.smtp and email.security == "plain" and not _stays_here(email.smtp):
        yield "mails, which carry PINs, go to email.smtp in the clear: email.security can be starttls or tls"


_LOOKS: list[Callable[[Config, str], Iterator[str]]] = [_secrets, _ways_in, _realms, _mail]


def _listed(names: list[str]) -> str:
    further = f" and {len(names) - _NAMED} others" if len(names) > _NAMED else ""
    return f"the realm{'s' if len(names) > 1 else ''} {', '.join(names[:_NAMED])}{further}"


def _stays_here(host: str) -> bool:
    """Whether the address is of this machine alone."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host == "localhost"


def _in_the_clear(url: str) -> bool:
    """Whether the way to a database leads through other people's networks, and encryption is not demanded."""
    read = conninfo_to_dict(url)
    if read.get("sslmode") in _ENCRYPTED:
        return False
    hosts = str(read.get("hostaddr") or read.get("host") or "").split(",")
    return any(_is_elsewhere(host) for host in hosts)


def _is_elsewhere(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or "." not in host.strip("[]").replace(":", "."):
        return False  # a socket, or a name without a dot: of this machine or of a network of containers
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return True
