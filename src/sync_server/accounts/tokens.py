"""Access and refresh tokens: JWTs that name a user, a client and a realm, and are void in every other."""

from __future__ import annotations

import secrets
import time
from typing import Any, Literal
from uuid import UUID

import jwt
import msgspec

from sync_server.errors import TokenRejected
from sync_server.keys import Keys

ACCESS_SECONDS = 86_400
REFRESH_SECONDS = 90 * 86_400
_ALGORITHM = "HS256"


class Device(msgspec.Struct, frozen=True):
    """A client whose token's signature has been verified. That it has not been revoked is checked in each call's first
    statement, which compares `epoch` and `session` with the stored ones.
    """

    realm: str
    user_id: UUID
    client_id: UUID
    epoch: int
    session: int
    sync_number: int
    """The client's latest sync when the token was issued."""
    token_id: str

    @property
    def parameters(self) -> dict[str, Any]:
        """The claims as parameters of a statement."""
        return msgspec.structs.asdict(self)


def new_id() -> str:
    """An identifier for a token."""
    return secrets.token_urlsafe(12)


class Tokens:
    """Issues and reads tokens under the server's keys."""

    def __init__(self, keys: Keys) -> None:
        self._secrets = {"access": keys.access, "refresh": keys.refresh}

    def access(self, device: Device) -> str:
        return self._issue("access", device, ACCESS_SECONDS)

    def refresh(self, device: Device) -> str:
        return self._issue("refresh", device, REFRESH_SECONDS)

    def _issue(self, kind: Literal["access", "refresh"], device: Device, seconds: int) -> str:
        now = int(time.time())
        claims = {
            "typ": kind,
            "sub": str(device.user_id),
            "cid": str(device.client_id),
            "realm": device.realm,
            "epoch": device.epoch,
            "ses": device.session,
            "n": device.sync_number,
            "jti": device.token_id,
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode(claims, self._secrets[kind], algorithm=_ALGORITHM)

    def read(self, kind: Literal["access", "refresh"], realm: str, token: str) -> Device:
        """The device that a token names. Raises TokenRejected when it is not ours, has expired, or is for something else."""
        try:
            claims = jwt.decode(
                token,
                self._secrets[kind],
                algorithms=[_ALGORITHM],
                options={"require": ["exp", "iat", "sub", "jti"], "verify_iat": False},
            )
            if claims["typ"] != kind or claims["realm"] != realm:
                raise TokenRejected
            return Device(
                realm=realm,
                user_id=UUID(claims["sub"]),
                client_id=UUID(claims["cid"]),
                epoch=int(claims["epoch"]),
                session=int(claims["ses"]),
                sync_number=int(claims["n"]),
                token_id=str(claims["jti"]),
            )
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as exc:
            raise TokenRejected from exc
