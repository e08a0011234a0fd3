"""Access and refresh tokens: JWTs that name a user, a client and a realm, and are void in every other."""

from __future__ import annotations

import secrets
import time
from typing import Any, Literal
from uuid import UUID

import jwt
import msgspec
from jwt.algorithms import HMACAlgorithm
from jwt.utils import base64url_encode

from sync_server.errors import TokenRejected
from sync_server.keys import Keys

ACCESS_SECONDS = 86_400
REFRESH_SECONDS = 90 * 86_400
_ALGORITHM = "HS256"
_MOST_KNOWN = 4096
"""Of each kind: 4 MiB."""
_BITS = 63
"""Of a number in the database, without its sign."""


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
    quiet: bool = False
    """Whether nobody else had changed anything since the device's cursor when the token was issued. It is likely to be still
    so, and the call then tries a shorter way, which sees for itself.
    """

    @property
    def parameters(self) -> dict[str, Any]:
        """The claims as parameters of a statement."""
        return msgspec.structs.asdict(self)


def new_id() -> str:
    """An identifier for a token."""
    return secrets.token_urlsafe(12)


class _Known:
    """The tokens of one kind that were issued or verified last, so that a signature is looked at once."""

    def __init__(self) -> None:
        self._devices: dict[str, tuple[Device, float]] = {}

    def note(self, token: str, device: Device, expires: float) -> None:
        if len(self._devices) >= _MOST_KNOWN:
            del self._devices[next(iter(self._devices))]
        self._devices[token] = (device, expires)

    def get(self, token: str) -> Device | None:
        device, expires = self._devices.get(token, (None, 0.0))
        return device if expires > time.time() else None


class _Signing:
    """JWTs under one key (RFC 7515, compact), by the parts that PyJWT has. As a whole it looks at the key's form for each
    token anew, which takes longer than all the rest.
    """

    _HEADER = base64url_encode(msgspec.json.encode({"alg": _ALGORITHM, "typ": "JWT"}))

    def __init__(self, secret: bytes) -> None:
        self._algorithm = HMACAlgorithm(HMACAlgorithm.SHA256)
        self._key = self._algorithm.prepare_key(secret)

    def token(self, claims: bytes) -> str:
        """`claims` is JSON."""
        signed = b"%b.%b" % (self._HEADER, base64url_encode(claims))
        signature = base64url_encode(self._algorithm.sign(signed, self._key))
        return (signed + b"." + signature).decode()


class Tokens:
    """Issues and reads tokens under the server's keys."""

    def __init__(self, keys: Keys) -> None:
        self._secrets = {"access": keys.access, "refresh": keys.refresh}
        self._known = {"access": _Known(), "refresh": _Known()}
        self._signing = {kind: _Signing(secret) for kind, secret in self._secrets.items()}

    def access(self, device: Device) -> str:
        return self._issue("access", device, ACCESS_SECONDS)

    def refresh(self, device: Device) -> str:
        return self._issue("refresh", device, REFRESH_SECONDS)

    def _issue(self, kind: Literal["access", "refresh"], device: Device, seconds: int) -> str:
        now = int(time.time())
        claims = {
            "typ": kind,
            "sub": device.user_id,
            "cid": device.client_id,
            "realm": device.realm,
            "epoch": device.epoch,
            "ses": device.session,
            "n": device.sync_number,
            "quiet": device.quiet,
            "jti": device.token_id,
            "iat": now,
            "exp": now + seconds,
        }
        token = self._signing[kind].token(msgspec.json.encode(claims))
        self._known[kind].note(token, device, now + seconds)
        return token

    def read(self, kind: Literal["access", "refresh"], realm: str, token: str) -> Device:
        """The device that a token names. Raises TokenRejected when it is not ours, has expired, or is for something else."""
        device = self._known[kind].get(token) or self._verify(kind, token)
        if device.realm != realm:
            raise TokenRejected
        return device

    def _verify(self, kind: Literal["access", "refresh"], token: str) -> Device:
        try:
            claims = jwt.decode(
                token,
                self._secrets[kind],
                algorithms=[_ALGORITHM],
                options={"require": ["exp", "iat", "sub", "jti"], "verify_iat": False},
            )
            if claims["typ"] != kind:
                raise TokenRejected
            device = Device(
                realm=str(claims["realm"]),
                user_id=UUID(claims["sub"]),
                client_id=UUID(claims["cid"]),
                epoch=int(claims["epoch"]),
                session=int(claims["ses"]),
                sync_number=int(claims["n"]),
                token_id=str(claims["jti"]),
                quiet=claims.get("quiet") is True,  # tokens of before have none
            )
            if any(number.bit_length() > _BITS for number in (device.epoch, device.session, device.sync_number)):
                raise TokenRejected  # the database knows no such numbers
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as exc:
            raise TokenRejected from exc
        self._known[kind].note(token, device, float(claims["exp"]))
        return device
