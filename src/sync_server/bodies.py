"""Request bodies: received within limits, inflated, checked to be UTF-8, and decoded with helpful refusals."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

import msgspec

from sync_server.errors import InvalidBody, MalformedBody

T = TypeVar("T")


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The body as `decoder`'s type. Raises MalformedBody, or InvalidBody naming the field's path."""
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look into strings that it passes on as raw JSON
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        raise InvalidBody(str(exc)) from None
    except UnicodeDecodeError as exc:
        raise MalformedBody("The body is not valid UTF-8") from exc
    except RecursionError as exc:
        raise MalformedBody("The body is nested too deeply") from exc
    except msgspec.DecodeError as exc:
        raise MalformedBody(f"The body is not valid JSON: {exc}") from None


def client_id(text: str, path: str) -> UUID:
    """The clientId at `path` of a body. Raises InvalidBody when it is not a UUID."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidBody(f"Expected a UUID - at `{path}`") from None


def new_client_id(text: str, path: str) -> UUID:
    """As client_id, of a client that is being made. Raises InvalidBody also for the nil UUID, which stands for operators."""
    found = client_id(text, path)
    if not found.int:
        raise InvalidBody(f"This UUID cannot be a client's - at `{path}`")
    return found


def storable(text: str, path: str) -> str:
    """`text`, which databases can store. Raises InvalidBody when it has a NUL character."""
    if "\0" in text:
        raise InvalidBody(f"A NUL character (U+0000) is not allowed here - at `{path}`")
    return text
