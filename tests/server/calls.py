"""Calls to a server: those of an app, and calls that take their time."""

from __future__ import annotations

import threading
from typing import Any

import httpx

from server.operating import Running


def credentials(number: int = 1) -> dict[str, Any]:
    """A registration's body."""
    return {
        "name": "Ann",
        "email": f"ann{number}@example.com",
        "password": "correct horse",
        "clientId": f"00000000-0000-4000-8000-{number:012}",
        "clientDescription": "",
        "newRegistration": True,
    }


def register(url: str, realm: str = "default", number: int = 1, timeout: float = 30) -> httpx.Response:
    """Register as an app in a browser does, so that the answer has what browsers ask for."""
    origin = {"Origin": "https://app.example.com"}
    return httpx.post(f"{url}/register/{realm}", json=credentials(number), headers=origin, timeout=timeout)


def log_in(url: str, realm: str = "default", number: int = 1) -> str:
    """An access token."""
    who = credentials(number)
    answer = httpx.post(
        f"{url}/login/{realm}", json={"clientId": who["clientId"]}, auth=(who["email"], who["password"]), timeout=30
    )
    assert answer.status_code == 200, answer.text
    token = answer.json()["accessToken"]
    assert isinstance(token, str)
    return token


def begin_sync(running: Running, token: str) -> dict[str, str]:
    """Pull, so that a push may follow; the headers for it."""
    headers = {"Authorization": f"Bearer {token}"}
    pull = {"clientId": credentials()["clientId"], "lastSync": 0, "changes": []}
    assert httpx.post(f"{running.url}/pull/default", json=pull, headers=headers).status_code == 200
    return headers


def change(number: int, size: int = 1) -> dict[str, Any]:
    return {
        "operation": "I",
        "rowguid": f"row-{number}",
        "tablename": "todos",
        "clientdate": 1_700_000_000_000,
        "rowData": {"rowguid": f"row-{number}", "text": "x" * size},
    }


def push(changes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"clientId": credentials()["clientId"], "lastSync": 0, "isPartial": 0, "changes": changes}


class Call(threading.Thread):
    """A call under way."""

    def __init__(self, url: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self._call = (url, body, headers)
        self.answer: httpx.Response | Exception | None = None
        self.start()

    def run(self) -> None:
        url, body, headers = self._call
        try:
            self.answer = httpx.post(url, json=body, headers=headers, timeout=60)
        except httpx.TransportError as exc:
            self.answer = exc

    def result(self) -> httpx.Response:
        self.join(60)
        assert isinstance(self.answer, httpx.Response), self.answer
        return self.answer
