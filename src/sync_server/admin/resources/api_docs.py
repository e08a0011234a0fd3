"""`/api-docs`: the OpenAPI document, and a page to read and try it. Nothing of it comes from elsewhere."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from sync_server.admin.description import Description
from sync_server.admin.permissions import anybody
from sync_server.compressing import Compressing

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>sync-server</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/api-docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/api-docs/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "/api-docs/openapi.json", dom_id: "#page", deepLinking: true, docExpansion: "none", tryItOutEnabled: true,
  validatorUrl: null
})
</script>
</body>
</html>
"""
_FILES = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
"""Of Swagger UI, as the package litestar-offline-docs brings them."""
_DAY = {"Cache-Control": "public, max-age=86400"}
_HIDDEN: dict[str, Any] = {"opt": anybody(), "include_in_schema": False, "middleware": [Compressing()]}


@get(["/api-docs", "/api-docs/"], media_type="text/html", **_HIDDEN)
async def page() -> str:
    """Swagger UI."""
    return _PAGE


@get("/api-docs/openapi.json", **_HIDDEN)
async def as_json(description: NamedDependency[Description]) -> Response[bytes]:
    """The document."""
    return Response(await description.json(), media_type="application/json")


@get("/api-docs/openapi.yaml", **_HIDDEN)
async def as_yaml(description: NamedDependency[Description]) -> Response[bytes]:
    """The same document."""
    return Response(await description.yaml(), media_type="application/yaml")


@get("/api-docs/{name:str}", **_HIDDEN)
async def file(name: FromPath[str]) -> Response[bytes]:
    """What the page is made of."""
    if name not in _FILES:
        raise NotFoundException
    content = await asyncio.to_thread((_directory() / name).read_bytes)
    return Response(content, media_type=_FILES[name], headers=_DAY)


def _directory() -> Path:
    package = find_spec("litestar_offline_docs")
    if package is None or package.origin is None:
        raise NotFoundException
    return Path(package.origin).parent / "static"


ROUTES = [page, as_json, as_yaml, file]
