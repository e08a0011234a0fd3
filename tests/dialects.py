"""Clients that speak the protocol in another way than sync_client 1.5.3 does: older, documented only, or in parts."""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from device import Device, Refused, wall_clock
from wire import Answer, Lost, Request, Send, compress, encode


@dataclass
class OldDevice(Device):
    """sync_client up to 1.3: no gzip, snake_case tokens that are used until they expire, no client id in the path."""

    expires: int = 0

    def _keep_tokens(self, answer: dict[str, Any]) -> None:
        self.state.access, self.state.refresh = answer["access_token"], answer["refresh_token"]
        self.expires = answer["expires_on"]

    def fetch_token(self) -> None:
        if self.state.access is None:
            self.login()
        if wall_clock() > self.expires:
            self.refresh()

    def call(self, path: str, body: Any, authorization: str | None = None) -> dict[str, Any]:
        return self._read(self.exchange(Request(path, encode(body), authorization)))

    def exchange(self, request: Request) -> Answer:
        try:
            return self._exchange(request)
        except Lost as fault:
            raise Refused(0, "no connection") from fault

    def sync_call(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.authenticated(f"/{kind}/{self.realm}", body)


@dataclass
class OldestDevice(OldDevice):
    """sync_client up to 1.1: also writes `clientid` when it logs in, has no cancelSync and no parts."""

    def login(self) -> None:
        credentials = base64.b64encode(f"{self.state.email}:{self.state.password}".encode()).decode()
        answer = self.call(f"/login/{self.realm}", {"clientid": self.client_id}, f"Basic {credentials}")
        self._keep_tokens(answer)

    def cancel(self) -> None:
        pass

    def body(self, changes: Any, is_partial: int, cursor: int | None) -> dict[str, Any]:
        body = super().body(changes, is_partial, cursor)
        del body["isPartial"]
        return body


@dataclass
class ReadmeClient:
    """Somebody's own client, written from the README of sync_server_ts: plain JSON, the documented names only."""

    send: Send
    realm: str
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    access: str = ""

    def post(self, path: str, body: Any, authorization: str | None = None) -> Any:
        answer = self.send(Request(path, encode(body), authorization))
        assert answer.status == 200, answer
        return answer.json()

    def register(self, email: str, password: str) -> Any:
        body = {"name": "Ann", "email": email, "password": password, "clientId": self.client_id}
        return self.post(f"/register/{self.realm}", body)

    def login(self, email: str, password: str) -> None:
        credentials = base64.b64encode(f"{email}:{password}".encode()).decode()
        answer = self.post(f"/login/{self.realm}", {"clientId": self.client_id}, f"Basic {credentials}")
        self.access = answer["accessToken"]

    def pull(self, last_sync_time: int) -> Any:
        return self.post(f"/pull/{self.realm}", {"lastSyncTime": last_sync_time}, f"Bearer {self.access}")

    def push(self, *changes: tuple[str, str, dict[str, Any]]) -> Any:
        """Push (table, "insert" | "update" | "delete", data with `guid` or `rowguid`) each."""
        written = [{"table": table, "operation": verb, "data": data} for table, verb, data in changes]
        return self.post(f"/push/{self.realm}", {"changes": written}, f"Bearer {self.access}")


@dataclass
class ChunkedDevice(Device):
    """sync_client with its chunked upload switched on: pull and push travel in pieces, three at a time."""

    chunk_size: int = 64
    rng: random.Random = field(default_factory=random.Random)

    def sync_call(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        self.fetch_token()
        path = f"/{kind}/{self.realm}/{self.client_id}"
        requests = [
            self.request_of(path, chunk) for chunk in chunks_of(encode(body), self.chunk_size, str(uuid.uuid4()))
        ]
        requests += self.rng.sample(requests, len(requests) // 4)  # some arrive twice,
        self.rng.shuffle(requests)  # all in any order
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(self._exchange, requests))
        assert {answer.status for answer in answers} <= {200, 206}, answers
        return self._read(next(answer for answer in answers if answer.status == 200))

    def request_of(self, path: str, chunk: dict[str, Any]) -> Request:
        return Request(path, compress(encode(chunk)), f"Bearer {self.state.access}", gzipped=True)


def chunks_of(payload: bytes, size: int, sync_id: str) -> list[dict[str, Any]]:
    """The pieces in which sync_client sends a body; `size` in bytes, never through a character."""
    text = payload.decode()
    pieces, start = list(_pieces(text, size)), 0
    chunks = []
    for index, piece in enumerate(pieces):
        end = start + len(piece.encode())
        chunks.append(
            {
                "chunkIndex": index,
                "chunks": len(pieces),
                "data": piece,
                "start": start,
                "end": end,
                "syncId": sync_id,
                "totalSize": len(payload),
                "multiple": 1,
            }
        )
        start = end
    return chunks


def _pieces(text: str, size: int) -> Iterator[str]:
    piece, room = "", size
    for character in text:
        width = len(character.encode())
        if width > room and piece:
            yield piece
            piece, room = "", size
        piece, room = piece + character, room - width
    yield piece
