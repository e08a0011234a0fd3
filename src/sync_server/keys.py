"""The server's secrets: those of the configuration, else made once and kept in the data directory."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated

import msgspec
import structlog

from sync_server.config import Config, ConfigError

log = structlog.get_logger()
_FILE = "secrets.json"
_SHORT = 32
"""Bytes below which a secret of HS256 can be found by trying (RFC 7518, section 3.2)."""


class Keys:
    """What the server signs with. Nothing of it is ever shown."""

    def __init__(self, access: str, refresh: str) -> None:
        # PyJWT wants 32 bytes: shorter secrets of sync_server_ts files are stretched, which makes them no stronger
        self.access = self._derive(access, "access token")
        self.refresh = self._derive(refresh, "refresh token")
        self._general = self._derive(access + "\0" + refresh, "general")
        # of a kind of their own: a token of a device never opens the admin API, nor the other way round
        self.admin_access = self._derive(access, "admin access token")
        self.admin_refresh = self._derive(refresh, "admin refresh token")

    @staticmethod
    def _derive(secret: str, purpose: str) -> bytes:
        return hmac.digest(secret.encode(), purpose.encode(), "sha256")

    def digest(self, purpose: str, *parts: str) -> bytes:
        """A keyed digest (HMAC-SHA256) of `parts`, which says nothing to whoever does not have the keys."""
        message = "\0".join(
            (purpose, *(hashlib.sha256(part.encode(errors="surrogatepass")).hexdigest() for part in parts))
        )
        return hmac.digest(self._general, message.encode(), "sha256")

    @cached_property
    def fingerprint(self) -> str:
        """What tells these keys from others. It helps nobody to guess them: to try a secret on a token is a thousand times
        as fast.
        """
        made = hashlib.scrypt(self._general, salt=b"fingerprint of sync-server's secrets", n=2**14, r=8, p=1, dklen=4)
        return made.hex()


_Long = Annotated[str, msgspec.Meta(min_length=_SHORT)]


class _Stored(msgspec.Struct):
    secret_key: _Long
    secret_key_refresh: _Long


def advice(config: Config) -> str | None:
    """What to know of the secrets before another server is put beside this one; None where there is nothing."""
    own = config.server.secret_key is None or config.server.secret_key_refresh is None
    if own and not all(settings.embedded for settings in config.db.realms.values()):
        return f"tokens are signed with what is in {config.data_dir / _FILE}: further servers of these realms need the same"
    return None


def load(config: Config) -> Keys:
    """The keys for `config`; missing ones are made in `<data_dir>/secrets.json`, mode 0600, whoever comes first."""
    for name in ("secret_key", "secret_key_refresh"):
        secret = getattr(config.server, name)
        if secret and len(secret.reveal().encode()) < _SHORT:
            log.warning("weak_secret", key=f"server.{name}", hint=f"use at least {_SHORT} random bytes")
    return _keys(config)


def made(config: Config) -> Keys | None:
    """The keys for `config`, if nothing has to be made for it."""
    given = config.server.secret_key and config.server.secret_key_refresh
    return _keys(config) if given or (config.data_dir / _FILE).exists() else None


def _keys(config: Config) -> Keys:
    access, refresh = config.server.secret_key, config.server.secret_key_refresh
    if access and refresh:
        return Keys(access.reveal(), refresh.reveal())
    stored = _stored(config.data_dir / _FILE)
    return Keys(
        access.reveal() if access else stored.secret_key,
        refresh.reveal() if refresh else stored.secret_key_refresh,
    )


def _stored(path: Path) -> _Stored:
    try:
        if not path.exists():
            _create(path)
        return msgspec.json.decode(path.read_bytes(), type=_Stored)
    except (OSError, msgspec.DecodeError) as exc:
        raise ConfigError(f"{path}: cannot keep the server's secrets there: {exc}") from None


def _create(path: Path) -> None:
    """Write the file whole or not at all; of several processes at once the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _Stored(secrets.token_urlsafe(48), secrets.token_urlsafe(48))
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(made))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()
