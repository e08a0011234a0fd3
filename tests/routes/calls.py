"""Every call of the wire protocol as a device makes it, for tests that try them all; and HTTP with nothing done for them."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from device import Device
from users import change

ORIGIN = "https://app.example.com"
"""A web app's; with it every answer must carry CORS headers."""


@dataclass(frozen=True)
class Call:
    path: str
    body: dict[str, Any]
    authorization: str | None = None


@dataclass(frozen=True)
class Http:
    client: httpx.Client

    def post(self, path: str, body: Any, authorization: str | None = None, **headers: str) -> httpx.Response:
        """Send `body` as JSON, or as it is where it is bytes. `Content_Type="…"` and the like are further headers."""
        named = {"Content-Type": "application/json; charset=utf-8", "Origin": ORIGIN}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        if authorization is not None:
            named["Authorization"] = authorization
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, headers=named)

    def make(self, call: Call, **headers: str) -> httpx.Response:
        return self.post(call.path, call.body, call.authorization, **headers)


def bearer(device: Device) -> str:
    if device.state.access is None:
        device.login()
    return f"Bearer {device.state.access}"


def basic(device: Device) -> str:
    return "Basic " + base64.b64encode(f"{device.state.email}:{device.state.password}".encode()).decode()


def chunk(body: dict[str, Any], index: int = 0, chunks: int = 1, sync_id: str | None = None) -> dict[str, Any]:
    """Part `index` of a body that is cut into `chunks` parts of about the same length."""
    text = json.dumps(body)
    size = -(-len(text) // chunks)
    return {
        "chunkIndex": index,
        "chunks": chunks,
        "data": text[index * size : (index + 1) * size],
        "start": index * size,
        "end": min((index + 1) * size, len(text)),
        "syncId": sync_id or str(uuid.uuid4()),
        "totalSize": len(text),
        "multiple": 1,
    }


def _registration(device: Device) -> dict[str, Any]:
    return {
        "name": "Ann",
        "email": device.state.email,
        "password": device.state.password,
        "clientId": device.client_id,
        "clientDescription": "{}",
        "newRegistration": False,
        "deleteRemoteData": False,
        "language": "en",
    }


def _pull(device: Device) -> dict[str, Any]:
    return device.body([], 0, 0)


def _push(device: Device) -> dict[str, Any]:
    """Deletes the row that `world` has, and adds another."""
    return device.body([change("D", "1", 9 * 10**12), change("I", "2", 9 * 10**12, {"title": "new"})], 0, 0)


def _own(call: str, device: Device) -> str:
    """The path with the client in it."""
    return f"/{call}/{device.realm}/{device.client_id}"


TOKEN_CALLS: dict[str, Callable[[Device], Call]] = {
    "pull": lambda d: Call(f"/pull/{d.realm}", _pull(d), bearer(d)),
    "pull, client in the path": lambda d: Call(_own("pull", d), _pull(d), bearer(d)),
    "pull, client only in the path": lambda d: Call(_own("pull", d), {"lastSync": 0}, bearer(d)),
    "pull, whole upload": lambda d: Call(_own("pull", d), chunk(_pull(d)), bearer(d)),
    "pull, first part of two": lambda d: Call(_own("pull", d), chunk(_pull(d), 0, 2), bearer(d)),
    "push": lambda d: Call(f"/push/{d.realm}", _push(d), bearer(d)),
    "push, client in the path": lambda d: Call(_own("push", d), _push(d), bearer(d)),
    "push, whole upload": lambda d: Call(_own("push", d), chunk(_push(d)), bearer(d)),
    "push, first part of two": lambda d: Call(_own("push", d), chunk(_push(d), 0, 2), bearer(d)),
    "cancelSync": lambda d: Call(f"/cancelSync/{d.realm}", {"clientId": d.client_id}, bearer(d)),
    "unregister": lambda d: Call(f"/unregister/{d.realm}", _registration(d), bearer(d)),
    "unregister, all data": lambda d: Call(
        f"/unregister/{d.realm}", {**_registration(d), "deleteRemoteData": True}, bearer(d)
    ),
}
"""Those that take an access token."""

CALLS: dict[str, Callable[[Device], Call]] = {
    "register": lambda d: Call(f"/register/{d.realm}", _registration(d)),
    "login": lambda d: Call(f"/login/{d.realm}", {"clientId": d.client_id}, basic(d)),
    "refreshToken": lambda d: Call(f"/login/{d.realm}/refreshToken", {"refreshToken": d.state.refresh}),
    "forgotten": lambda d: Call(f"/password/{d.realm}/forgotten", {"email": d.state.email}),
    "change": lambda d: Call(
        f"/password/{d.realm}/change", {"email": d.state.email, "pin": "123456", "password": d.state.password}
    ),
    **{name: TOKEN_CALLS[name] for name in ("pull", "pull, client in the path", "push", "push, client in the path")},
    **{name: TOKEN_CALLS[name] for name in ("cancelSync", "unregister")},
}
"""One for every route and path form."""
