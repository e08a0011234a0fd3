"""A device that does what sync_client does, with as little work of its own as possible."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import uuid
from collections.abc import Sequence
from typing import Any, cast

import httptools
import msgspec

from samples import TABLE, Row

REALM = "default"
PASSWORD = "correct horse battery staple"
_GZIP_LEVEL = 6  # Dart's


class WrongAnswer(Exception):
    """The server did not do what it must: the benchmark's figures are worth nothing."""


class Connection(asyncio.Protocol):
    """An HTTP connection that is kept open; one call at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._start()

    async def call(self, request: bytes) -> bytes:
        """Send a request; the answer's body, inflated. Raises WrongAnswer when it is none with status 200."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():  # the server closes idle connections
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
            assert self._transport is not None
        self._answer = loop.create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _start(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._gzipped = False

    # asyncio's and httptools' callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WrongAnswer(f"the connection was lost: {exc}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-encoding":
            self._gzipped = value == b"gzip"

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._answer is not None
        status, body = self._parser.get_status_code(), b"".join(self._body)
        if self._gzipped:
            body = gzip.decompress(body)
        if status == 200:
            self._answer.set_result(body)
        else:
            self._answer.set_exception(WrongAnswer(f"{status} {body[:200]!r}"))
        self._start()


class Phone:
    """An installed app: its client, tokens and cursor."""

    def __init__(self, connection: Connection, email: str, realm: str = REALM) -> None:
        self._connection = connection
        self._realm = realm
        self.email = email
        self._client_id = str(uuid.uuid4())
        self._access = ""
        self._refresh = ""
        self.cursor = 0

    async def register(self, *, new: bool) -> None:
        """Register as the first or a further device of the user, and log in."""
        user = {"name": "Ann", "email": self.email, "password": PASSWORD, "clientId": self._client_id}
        more = {"clientDescription": "{}", "newRegistration": new, "language": "en"}
        await self._post("/register", {**user, **more}, "")
        basic = base64.b64encode(f"{self.email}:{PASSWORD}".encode()).decode()
        self._take_tokens(await self._post("/login", {"clientId": self._client_id}, f"Basic {basic}"))

    async def refresh(self) -> None:
        self._take_tokens(await self._post("/login", {"refreshToken": self._refresh}, "", after="/refreshToken"))

    def pull_request(self, pending: Sequence[Row] = ()) -> bytes:
        changes = [
            {"operation": row.operation, "rowguid": row.guid, "tablename": TABLE, "clientdate": row.date}
            for row in pending
        ]
        return self._sync_request("/pull", json.dumps(changes), partial=False)

    def push_request(self, rows: Sequence[Row], *, partial: bool) -> bytes:
        changes = (
            f'{{"operation":"{row.operation}","rowguid":"{row.guid}","tablename":"{TABLE}","clientdate":{row.date},'
            f'"rowData":{row.data}}}'
            for row in rows
        )
        return self._sync_request("/push", f"[{','.join(changes)}]", partial=partial)

    async def send(self, request: bytes) -> bytes:
        return await self._connection.call(request)

    def hang_up(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    async def cancel(self) -> None:
        await self._post("/cancelSync", {"clientId": self._client_id}, f"Bearer {self._access}")

    def take_cursor(self, answer: bytes) -> None:
        """At the end of a sync, from the push's answer."""
        cursor = msgspec.json.decode(answer).get("lastSync")
        if not isinstance(cursor, int) or cursor < self.cursor:
            raise WrongAnswer(f"after {self.cursor} the push answered {answer!r}")
        self.cursor = cursor

    async def sync(self, rows: Sequence[Row]) -> bytes:
        """A whole sync, with all that the client does around it; the pull's answer."""
        await self.refresh()
        pulled = await self.send(self.pull_request(rows))
        await self.refresh()
        self.take_cursor(await self.send(self.push_request(rows, partial=False)))
        await self.refresh()
        await self.cancel()
        return pulled

    def _sync_request(self, path: str, changes: str, *, partial: bool) -> bytes:
        body = f'{{"clientId":"{self._client_id}","lastSync":{self.cursor},"isPartial":{int(partial)},"changes":{changes}}}'
        return _request(f"{path}/{self._realm}/{self._client_id}", body.encode(), f"Bearer {self._access}")

    async def _post(self, path: str, body: dict[str, Any], authorization: str, *, after: str = "") -> bytes:
        return await self.send(_request(f"{path}/{self._realm}{after}", json.dumps(body).encode(), authorization))

    def _take_tokens(self, answer: bytes) -> None:
        tokens = msgspec.json.decode(answer)
        self._access, self._refresh = tokens["accessToken"], tokens["refreshToken"]


def _request(path: str, body: bytes, authorization: str) -> bytes:
    compressed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json; charset=utf-8\r\n"
        f"content-encoding: gzip\r\naccept-encoding: gzip\r\ncontent-length: {len(compressed)}\r\n"
    )
    if authorization:
        head += f"authorization: {authorization}\r\n"
    return head.encode() + b"\r\n" + compressed
