"""A token that the server has just issued or verified is not verified again; it is void as soon as any other."""

from __future__ import annotations

import time
import uuid

import jwt
import pytest

from sync_server.accounts.tokens import Device, Tokens
from sync_server.errors import TokenRejected
from sync_server.keys import Keys

KEYS = Keys("a secret of more than 32 characters", "another secret of more than 32 characters")
DEVICE = Device("todos", uuid.uuid4(), uuid.uuid4(), epoch=1, session=2, sync_number=3, token_id="four")


def test_what_is_read_is_what_was_issued() -> None:
    tokens = Tokens(KEYS)
    access, refresh = tokens.access(DEVICE), tokens.refresh(DEVICE)
    for reader in (tokens, Tokens(KEYS)):  # one that knows them, and one that does not
        for _ in range(2):
            assert reader.read("access", "todos", access) == DEVICE
            assert reader.read("refresh", "todos", refresh) == DEVICE


def test_a_known_token_is_void_for_every_other_realm_and_use() -> None:
    tokens = Tokens(KEYS)
    access = tokens.access(DEVICE)
    tokens.read("access", "todos", access)
    with pytest.raises(TokenRejected):
        tokens.read("access", "notes", access)
    with pytest.raises(TokenRejected):
        tokens.read("refresh", "todos", access)


def test_a_known_token_expires() -> None:
    tokens = Tokens(KEYS)
    claims = jwt.decode(tokens.access(DEVICE), options={"verify_signature": False})
    expires = int(time.time()) + 2
    short = jwt.encode({**claims, "exp": expires}, KEYS.access, algorithm="HS256")
    assert tokens.read("access", "todos", short) == DEVICE
    time.sleep(max(0.0, expires - time.time()) + 0.1)
    with pytest.raises(TokenRejected):
        tokens.read("access", "todos", short)


def test_not_more_are_known_than_fit_into_a_little_memory() -> None:
    tokens = Tokens(KEYS)
    first = tokens.access(DEVICE)
    for number in range(5000):
        tokens.read("access", "todos", _with_number(first, number))
    assert len(tokens._known["access"]._devices) <= 4096  # noqa: SLF001 - memory is no part of the interface
    assert tokens.read("access", "todos", first) == DEVICE


def _with_number(token: str, number: int) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode({**claims, "jti": str(number)}, KEYS.access, algorithm="HS256")
