"""Tokens as somebody makes them who must not: with the server's own keys where that is what is tried."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any


def encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def claims(token: str | None) -> dict[str, Any]:
    """What a token says."""
    assert token is not None
    found = json.loads(decode(token.split(".")[1]))
    assert isinstance(found, dict)
    return found


def sign(payload: Any, key: bytes, algorithm: str = "HS256", digest: str = "sha256") -> str:
    """A JWT, made without the server's library so that nothing is refused on the way out (RFC 7515)."""
    header = {"alg": algorithm, "typ": "JWT"}
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header, payload))
    return f"{signed}.{encode(hmac.digest(key, signed.encode(), getattr(hashlib, digest)))}"


def with_claims(token: str | None, **changed: Any) -> str:
    """The token with other claims under its old signature."""
    assert token is not None
    header, _, signature = token.split(".")
    return ".".join((header, encode(json.dumps({**claims(token), **changed}).encode()), signature))


def unsigned(payload: Any, algorithm: str = "none") -> str:
    header = encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    return f"{header}.{encode(json.dumps(payload).encode())}."


def with_signature_flipped(token: str | None) -> str:
    """Its first character, not its last: of that one two bits mean nothing."""
    assert token is not None
    signed, _, signature = token.rpartition(".")
    return f"{signed}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
