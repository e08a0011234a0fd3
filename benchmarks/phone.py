"""A device that does what sync_client does, with as little work of its own as possible."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from connection import Answer, Connection, WrongAnswer, post
from samples import TABLE, Row

REALM = "default"
PASSWORD = "correct horse battery staple"
PART = 100
"""Changes in one push of sync_client."""


class Phone:
    """An installed app: its client, tokens and cursor."""

    def __init__(self, connection: Connection, email: str, realm: str = REALM) -> None:
        self._connection = connection
        self._realm = realm
        self.email = email
        self.client_id = str(uuid.uuid4())
        self._access = ""
        self._refresh = ""
        self.cursor = 0

    async def register(self, *, new: bool) -> None:
        """Register as the first or a further device of the user, and log in."""
        user = {"name": "Ann", "email": self.email, "password": PASSWORD, "clientId": self.client_id}
        more = {"clientDescription": "{}", "newRegistration": new, "language": "en"}
        await self._post("/register", {**user, **more}, "")
        basic = base64.b64encode(f"{self.email}:{PASSWORD}".encode()).decode()
        self._take_tokens(await self._post("/login", {"clientId": self.client_id}, f"Basic {basic}"))

    async def refresh(self) -> Answer:
        answer = await self._post("/login", {"refreshToken": self._refresh}, "", after="/refreshToken")
        self._take_tokens(answer)
        return answer

    def pull_request(self, pending: Sequence[Row] = (), *, gzip: bool = True) -> bytes:
        """`gzip`: whether the answer may be compressed."""
        changes = [
            {"operation": row.operation, "rowguid": row.guid, "tablename": TABLE, "clientdate": row.date}
            for row in pending
        ]
        return self._sync_request("/pull", json.dumps(changes), partial=False, gzip=gzip)

    def push_request(self, rows: Sequence[Row], *, partial: bool) -> bytes:
        changes = (
            f'{{"operation":"{row.operation}","rowguid":"{row.guid}","tablename":"{TABLE}","clientdate":{row.date},'
            f'"rowData":{row.data}}}'
            for row in rows
        )
        return self._sync_request("/push", f"[{','.join(changes)}]", partial=partial, gzip=True)

    async def send(self, request: bytes) -> Answer:
        return await self._connection.call(request)

    def move(self, connection: Connection) -> None:
        """Go on over another connection."""
        self._connection.close()
        self._connection = connection

    def hang_up(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    async def cancel(self) -> Answer:
        return await self._post("/cancelSync", {"clientId": self.client_id}, f"Bearer {self._access}")

    def take_cursor(self, answer: Answer) -> None:
        """At the end of a sync, from the push's answer."""
        cursor = msgspec.json.decode(answer.text()).get("lastSync")
        if not isinstance(cursor, int) or cursor < self.cursor:
            raise WrongAnswer(f"after {self.cursor} the push answered {answer.text()!r}")
        self.cursor = cursor

    async def sync(self, rows: Sequence[Row] = ()) -> Answer:
        """A whole sync, with all that the client does around it; the pull's answer."""
        await self.refresh()
        pulled = await self.send(self.pull_request(rows))
        await self.push(rows)
        return pulled

    async def push(self, rows: Sequence[Row] = (), part: int = PART) -> list[Answer]:
        """What is left of a sync after the pull; the answers to the parts."""
        answers = []
        starts = range(0, max(1, len(rows)), part)
        for start in starts:
            await self.refresh()
            request = self.push_request(rows[start : start + part], partial=start != starts[-1])
            answers.append(await self.send(request))
        self.take_cursor(answers[-1])
        await self.refresh()
        await self.cancel()
        return answers

    def _sync_request(self, path: str, changes: str, *, partial: bool, gzip: bool) -> bytes:
        body = (
            f'{{"clientId":"{self.client_id}","lastSync":{self.cursor},"isPartial":{int(partial)},"changes":{changes}}}'
        )
        return post(f"{path}/{self._realm}/{self.client_id}", body.encode(), f"Bearer {self._access}", gzip=gzip)

    async def _post(self, path: str, body: dict[str, Any], authorization: str, *, after: str = "") -> Answer:
        return await self.send(post(f"{path}/{self._realm}{after}", json.dumps(body).encode(), authorization))

    def _take_tokens(self, answer: Answer) -> None:
        tokens = msgspec.json.decode(answer.text())
        self._access, self._refresh = tokens["accessToken"], tokens["refreshToken"]
