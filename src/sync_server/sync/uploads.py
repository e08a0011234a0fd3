"""Calls that arrive in parts: kept in the database, so that the parts may reach different workers, until they are whole."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, NamedTuple

import msgspec

from sync_server.accounts.tokens import Device
from sync_server.bodies import decode, storable
from sync_server.database import Tx
from sync_server.errors import BodyTooLarge, InvalidBody, MalformedBody, TokenRejected
from sync_server.limits import Limit
from sync_server.sync.protocol import KEY_LENGTH
from sync_server.sync.surrogates import Surrogates

MOST_UPLOADS = 4
"""Uploads that a client may have at once; the oldest gives way."""
MOST_CHUNKS = 10_000

Call = Literal["pull", "push"]


class _Envelope(msgspec.Struct, rename="camel"):
    """What shows that a body is a part of a call."""

    chunk_index: msgspec.Raw = msgspec.Raw()


class Part(msgspec.Struct):
    """A piece of a call's JSON text, as bytes: UTF-8 in which a surrogate may stand without its other half."""

    sync_id: str
    chunks: int
    chunk_index: int
    piece: bytes


class Progress(NamedTuple):
    parts: int
    bytes: int


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_part(body: bytes) -> Part | None:
    """The part that a body is, or None for a whole call. Raises InvalidBody."""
    if b'"chunkIndex"' not in body or not bytes(decode(_ENVELOPE, Surrogates(body).text).chunk_index):
        return None
    try:
        document: Any = json.loads(body)  # a piece may end within a surrogate pair, which msgspec does not take
    except (ValueError, RecursionError):
        raise MalformedBody from None
    sync_id = document.get("syncId")
    if not isinstance(sync_id, str | int) or len(str(sync_id)) > KEY_LENGTH:
        raise InvalidBody(f"Expected `str` of length <= {KEY_LENGTH} - at `$.syncId`")
    if _SURROGATE.search(str(sync_id)):
        raise InvalidBody("An unpaired surrogate is not allowed here - at `$.syncId`")
    data = document.get("data")
    if not isinstance(data, str):
        raise InvalidBody("Expected `str` - at `$.data`")
    chunks = _integer(document, "chunks", 1, MOST_CHUNKS)
    chunk_index = _integer(document, "chunkIndex", 0, chunks - 1)
    return Part(storable(str(sync_id), "$.syncId"), chunks, chunk_index, data.encode(errors="surrogatepass"))


def _integer(document: dict[str, Any], name: str, least: int, most: int) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidBody(f"Expected `int` from {least} to {most} - at `$.{name}`")
    return value


async def add(tx: Tx, device: Device, call: Call, part: Part, max_bytes: int) -> bytes | None:
    """Keep a part; the whole body when none is missing any more, else None.

    Parts may be repeated, also after the upload was complete: the call then runs again, which changes nothing (G5).
    A part that contradicts the stored ones begins the upload anew. Raises BodyTooLarge, TokenRejected.
    """
    if not await tx.value("client_is_known", device.parameters):
        raise TokenRejected
    key = {
        "client_id": device.client_id,
        "call": call,
        "sync_id": part.sync_id,
        "chunks": part.chunks,
        "chunk_index": part.chunk_index,
        "piece": part.piece,
    }
    chunks = await tx.value("lock_upload", key)
    stored = await tx.value("stored_part", key)
    if chunks != part.chunks or (stored is not None and bytes(stored) != part.piece):
        await tx.execute("drop_parts", key)
        await tx.execute("restart_upload", key)
    await tx.execute("store_part", key)
    await tx.execute("drop_surplus_uploads", {"client_id": device.client_id, "most": MOST_UPLOADS})
    progress = await tx.one(Progress, "upload_progress", key)
    if progress is None or progress.bytes > max_bytes:
        raise BodyTooLarge("The upload is too large", limit=Limit("server.max_body", max_bytes))
    if progress.parts < part.chunks:
        return None
    return await _assemble(tx, key)


class _Piece(NamedTuple):
    piece: bytes


async def _assemble(tx: Tx, key: dict[str, Any]) -> bytes:
    whole = b"".join([bytes(row.piece) for row in await tx.all(_Piece, "upload_pieces", key)])
    try:
        whole.decode()
    except UnicodeDecodeError:  # halves of a surrogate pair that were sent in two parts find together again
        text = whole.decode(errors="surrogatepass").encode("utf-16", errors="surrogatepass")
        return text.decode("utf-16", errors="replace").encode()
    return whole
