"""The way into the admin API, which is made when it is first called: a server starts sooner, and most never need it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from litestar.types import Receive, Scope, Send

from sync_server.admin import narrow
from sync_server.once import Once
from sync_server.realms import Realms
from sync_server.receiving import Receiving
from sync_server.server import Server

if TYPE_CHECKING:
    from sync_server.admin.app import Made

MAX_BODY = 1024 * 1024
"""Bytes of a request's body."""
_PATHS = ("/api/", "/api-docs")


def is_for(path: str) -> bool:
    """Whether a path is the API's. No realm's name is in the way: paths of devices begin with the name of the call."""
    return path.startswith(_PATHS)


class Gate:
    """Makes the application at the first call, in a thread: others go on meanwhile."""

    def __init__(self, server: Server, realms: Realms) -> None:
        config = server.config
        self._server = server
        self._realms = realms
        self._receiving = Receiving(min(MAX_BODY, config.server.max_body), config.server.body_timeout)
        self._made: Once[Made] = Once(lambda: asyncio.to_thread(self.make))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        made = await self._made.get()
        if narrow.is_too_large(scope):
            await narrow.refuse(send)
        else:
            await made.app(narrow.with_own_cookies(scope), receive, send)

    def stop_receiving(self) -> None:
        """From now on a body that has stopped coming is not waited for."""
        self._receiving.stop()

    def make(self) -> Made:
        """The application."""
        from sync_server.admin import app  # noqa: PLC0415 - see the module's purpose

        return app.create(self._server, self._realms, self._receiving)
