"""The OpenAPI document of everything: the admin API, told by its routes, and the calls of devices, told by devices.yaml."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi import OpenAPIConfig

from sync_server.admin import permissions
from sync_server.admin.permissions import Declared
from sync_server.once import Once

Document = dict[str, Any]
CONFIG = OpenAPIConfig("sync-server", "1", use_handler_docstrings=True, create_examples=False)
_GENERIC = re.compile(r"(Page|Success)_(?:[\w.]*\.)?(\w+?)_(?=\")")
_ABOUT = """Two interfaces. The calls of **devices** are those of the library sync_client: any page may make them, and
refusals have the form `{"code", "error", "message"}`. The **admin API** below `/api/v1` is for operators: every answer is
an envelope.

Sign in with `POST /api/v1/auth/login`, then put the `access_token` into "Authorize" to try the others out."""
_ALSO = {
    "413": "The body is too large, or holds too much",
    "415": "The body is not JSON",
    "422": "There are as many clients as there may be, or the account may read only",
    "429": "Too many attempts",
    "503": "The realm's database does not answer, or the server has too much to do; `Retry-After` says when to try again",
}
"""Refusals of any call of a device that brings a body."""


_TEXT: Document = {"type": "string"}
_FILES: dict[str, Document] = {"application/zip": {"type": "string", "format": "binary"}}


class Description:
    """The document, made once, in a thread, when it is first asked for."""

    def __init__(self, described: Callable[[], Litestar]) -> None:
        """`described`: makes the application with CONFIG, which costs too much to do it for nothing."""
        self._described = described
        self._json = Once(lambda: asyncio.to_thread(self._as_json))
        self._yaml = Once(self._as_yaml)

    async def json(self) -> bytes:
        return await self._json.get()

    async def yaml(self) -> bytes:
        return await self._yaml.get()

    def make(self) -> Document:
        """The document."""
        app = self._described()
        ours = json.loads(_GENERIC.sub(r"\1Of\2", json.dumps(app.openapi_schema.to_schema())))
        theirs = msgspec.yaml.decode(Path(__file__).with_name("devices.yaml").read_bytes())
        return _together(_of_admins(ours, app), _of_devices(theirs))

    def _as_json(self) -> bytes:
        return json.dumps(self.make(), ensure_ascii=False).encode()

    async def _as_yaml(self) -> bytes:
        text = await self.json()
        return await asyncio.to_thread(lambda: msgspec.yaml.encode(json.loads(text)))


def _together(ours: Document, theirs: Document) -> Document:
    components: Document = {}
    for part in ("securitySchemes", "parameters", "schemas", "requestBodies", "responses"):
        mine, other = (document["components"].get(part, {}) for document in (ours, theirs))
        if double := mine.keys() & other.keys():
            raise ValueError(f"Two {part} have the same name: {double}")
        components[part] = {**mine, **other}
    about = {"title": "sync-server", "version": version("sync-server"), "description": _ABOUT}
    paths = {**theirs["paths"], **ours["paths"]}
    return {"openapi": "3.1.0", "info": about, "servers": [{"url": "/"}], "paths": paths, "components": components}


def _of_devices(document: Document) -> Document:
    for path in document["paths"].values():
        for operation in path.values():
            operation.setdefault("tags", ["devices"])
            name = operation["operationId"]
            operation["operationId"] = f"device{name[0].upper()}{name[1:]}"
            if "requestBody" in operation:
                refusal = document["components"]["responses"]["refusal"]
                also = {status: {**refusal, "description": said} for status, said in _ALSO.items()}
                operation["responses"] = {**operation["responses"], **also}
    return document


def _of_admins(document: Document, app: Litestar) -> Document:
    declared, paths = permissions.declared(app), document["paths"]
    for path, item in paths.items():
        for method, operation in item.items():
            _describe(operation, path, declared[method.upper(), path])
    for name, schema in document["components"]["schemas"].items():
        if name.startswith(("PageOf", "SuccessOf")):
            schema["required"] = sorted(schema["properties"])
    components = {**document["components"], "schemas": {**document["components"]["schemas"], "Failure": _FAILURE}}
    components["securitySchemes"] = {
        "admin": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Of the admin API"}
    }
    renamed = {path.replace("{realm_name}", "{realm}"): item for path, item in paths.items()}
    return {"paths": renamed, "components": components}


def _describe(operation: Document, path: str, declared: Declared) -> None:
    needed = declared.needs
    name = operation["summary"]
    operation["operationId"] = name[0].lower() + name[1:]
    summary, rest = _sentence(operation["description"])
    role = "" if needed is None else f"Needs the role `{needed}`" + (" in the realm." if "{realm" in path else ".")
    operation["summary"] = summary
    operation["description"] = "\n\n".join(part for part in (rest.strip(), role) if part)
    for parameter in operation.get("parameters", ()):
        _improve(parameter)
    success = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    if declared.gives:
        (answer,) = success.values()
        answer["content"] = {media_type: {"schema": _FILES.get(media_type, _TEXT)} for media_type in declared.gives}
    operation["responses"] = {**success, **_refusals(operation, path, declared)}
    if needed is not None:
        operation["security"] = [{"admin": []}]


def _sentence(text: str) -> tuple[str, str]:
    """The first sentence, on one line, and what follows."""
    first, *rest = re.split(r"(?<=\.)\s+", text, maxsplit=1)
    return " ".join(first.split()), "".join(rest)


def _improve(parameter: Document) -> None:
    """What is not there is not null: query strings and headers know no null."""
    if parameter["name"] == "realm_name":
        parameter |= {"name": "realm", "description": "The realm's name, in any case", "example": "default"}
    schema = parameter["schema"]
    for choice in ("oneOf", "anyOf"):
        kinds = [kind for kind in schema.get(choice, ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            del schema[choice]
            schema |= kinds[0]
    for unused in ("deprecated", "allowEmptyValue", "allowReserved"):
        parameter.pop(unused, None)


def _refusals(operation: Document, path: str, declared: Declared) -> Document:
    """By status: what every route of this kind refuses, and what this one does besides."""
    reasons: dict[int, list[str]] = {422: ["`invalid`: a field or parameter is not as it should be"]}
    reasons[503] = ["`unavailable`: the realm's database does not answer, or has too much to do; see `Retry-After`"]
    if "{realm" in path:
        reasons[503].append("`too_slow`: it takes too long to find that; ask for less")
    if "requestBody" in operation:
        reasons |= {400: ["`malformed_body`"], 413: ["`body_too_large`"], 415: ["`unsupported_media_type`"]}
    if any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ())):
        reasons.setdefault(400, []).append("`invalid_cursor`")
    if declared.needs is not None:
        reasons |= {401: ["`unauthenticated`: there is no valid token"], 403: ["`forbidden`: it takes a higher role"]}
    if "{" in path:
        reasons[404] = ["`unknown_realm`"] if "{realm" in path else ["`not_found`"]
    for refusal in declared.refuses:
        reasons.setdefault(refusal.status, []).append(f"`{refusal.code}`: {refusal.message}")
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
    return {
        str(status): {"description": "; ".join(said), "content": content} for status, said in sorted(reasons.items())
    }


_FAILURE: Document = {
    "title": "Failure",
    "description": "Why there is no answer; nothing has changed.",
    "type": "object",
    "required": ["success", "data", "error", "meta"],
    "additionalProperties": False,
    "properties": {
        "success": {"const": False},
        "data": {"type": "null"},
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "string", "description": "For programs; never changes", "pattern": "^[a-z_]+$"},
                "message": {"type": "string", "description": "For people", "minLength": 1},
                "details": {"type": "object"},
            },
        },
        "meta": {"type": "object"},
    },
    "examples": [
        {
            "success": False,
            "data": None,
            "error": {
                "code": "forbidden",
                "message": "Your role does not allow that",
                "details": {"needed": "admin"},
            },
            "meta": {},
        }
    ],
}
