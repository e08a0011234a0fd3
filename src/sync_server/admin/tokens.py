"""Tokens of the admin API: JWTs under keys and for an audience of their own. None of a device's is one, nor the reverse."""

from __future__ import annotations

import time
from typing import Any, Literal
from uuid import UUID

import jwt
import msgspec

from sync_server.admin.errors import Unauthenticated
from sync_server.keys import Keys

ACCESS_SECONDS = 15 * 60
REFRESH_SECONDS = 7 * 86_400
"""Days without a sign of life after which one has to sign in again."""
_ALGORITHM = "HS256"
_AUDIENCE = "sync-server admin API"
Kind = Literal["access", "refresh"]


class Session(msgspec.Struct, frozen=True):
    """Whom a token names. That it has not been revoked is for each call to see in the database."""

    realm: str
    """Of the account."""
    user_id: UUID
    session_id: UUID
    token_id: str

    @property
    def parameters(self) -> dict[str, Any]:
        """The claims as parameters of a statement."""
        return msgspec.structs.asdict(self)


class AdminTokens:
    """Issues and reads tokens under the server's keys."""

    def __init__(self, keys: Keys) -> None:
        self._secrets = {"access": keys.admin_access, "refresh": keys.admin_refresh}

    def issue(self, kind: Kind, session: Session) -> str:
        """A token that is good for ACCESS_SECONDS or REFRESH_SECONDS."""
        now = int(time.time())
        claims = {
            "typ": kind,
            "aud": _AUDIENCE,
            "sub": str(session.user_id),
            "sid": str(session.session_id),
            "realm": session.realm,
            "jti": session.token_id,
            "iat": now,
            "exp": now + (ACCESS_SECONDS if kind == "access" else REFRESH_SECONDS),
        }
        return jwt.encode(claims, self._secrets[kind], _ALGORITHM)

    def read(self, kind: Kind, token: str) -> Session:
        """The session that a token names. Raises Unauthenticated when it is not ours, has expired, or is for another use."""
        try:
            claims = jwt.decode(
                token,
                self._secrets[kind],
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["exp", "iat", "sub", "jti", "aud"], "verify_iat": False},
            )
            if claims["typ"] != kind:
                raise Unauthenticated
            return Session(str(claims["realm"]), UUID(claims["sub"]), UUID(claims["sid"]), str(claims["jti"]))
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as exc:
            raise Unauthenticated from exc
