"""The only place where the parts meet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from litestar import Litestar, MediaType, Request, route
from litestar.config.cors import CORSConfig
from litestar.datastructures import MutableScopeHeaders, State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.types import Message, Scope

from sync_server import answers, keys
from sync_server.accounts.passwords import Passwords
from sync_server.accounts.routes import ROUTES as ACCOUNT_ROUTES
from sync_server.accounts.routes import LimitsOf
from sync_server.accounts.tokens import Device, Tokens
from sync_server.admin.gate import Gate
from sync_server.callers import Callers
from sync_server.config import Config
from sync_server.direct import Direct
from sync_server.mail.courier import STOPPING
from sync_server.mail.mailer import Mailer
from sync_server.observing.monitoring import Monitoring, Watched
from sync_server.observing.routes import ROUTES as MONITORING_ROUTES
from sync_server.observing.watching import PROBES
from sync_server.realms import Realm, Realms
from sync_server.receiving import Receiving
from sync_server.reports import Reports
from sync_server.retention.caretaker import Caretaker
from sync_server.server import Server
from sync_server.sync.routes import ROUTES as SYNC_ROUTES


@route("/", http_method=["GET", "HEAD"], media_type=MediaType.TEXT)
async def greeting() -> str:
    """Shows that the server is there."""
    return "sync-server is running"


def create_app(
    config: Config,
    urls: dict[str, str],
    connections: int | None = None,
    closed: Collection[str] = (),
    watched: Watched | None = None,
) -> Litestar:
    """The server as an ASGI application. Opens nothing: pools open on first use, mail is looked for when it starts.

    `urls`: each realm's connection URL, with "embedded" resolved. `connections`: this process's share of
    `db.max_connections`, all of them if not given. `closed`: realms that are not up to date yet and answer 503.
    """
    server_keys = keys.load(config)
    realms = Realms(config, urls, connections, closed)
    mailer = Mailer(config, realms, server_keys)
    caretaker = Caretaker(config, realms, server_keys)
    server = Server(config, server_keys, mailer, Passwords(config.server.bcrypt_rounds), Tokens(server_keys))
    receiving = Receiving(config.server.max_body, config.server.body_timeout)
    gate = Gate(server, realms)
    callers = Callers(server, realms, caretaker)
    reports = Reports(realms)
    monitoring = Monitoring(config, realms, server.passwords, mailer.outcomes, watched or Watched())

    def stop_receiving() -> None:
        receiving.stop()
        gate.stop_receiving()

    def replace_realms(config: Config, urls: dict[str, str], closed: Collection[str]) -> None:
        realms.replace(config, urls, closed)
        mailer.replace()

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        background = [asyncio.create_task(part.run()) for part in (mailer, caretaker, reports)]
        try:
            async with monitoring.metrics.told_to_siblings():
                yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background, timeout=STOPPING + 1)  # in vain where a database hangs; it is cut then
            await realms.close()

    application = Litestar(
        route_handlers=[greeting, *ACCOUNT_ROUTES, *SYNC_ROUTES, *MONITORING_ROUTES],
        # each asks for the one before, whether it needs it or not: Litestar starts a task for each of those that could be
        # had at the same time, which takes longer than all that most calls do
        dependencies={
            "server": Provide(lambda: server, sync_to_thread=False, use_cache=True),
            "realm": Provide(_realm(callers), sync_to_thread=False),
            "device": Provide(_device(callers), sync_to_thread=False),
            "limits_of": Provide(_limits_of(callers), sync_to_thread=False),
            "monitoring": Provide(lambda: monitoring, sync_to_thread=False, use_cache=True),
        },
        middleware=[receiving],
        exception_handlers=answers.HANDLERS,
        cors_config=CORSConfig(allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], max_age=86_400),
        before_send=[_allow_every_origin],
        request_max_body_size=None,  # Receiving limits it
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
        state=State(
            {"stop_receiving": stop_receiving, "replace_realms": replace_realms, "admin": gate, "reports": reports}
        ),
    )
    application.state["direct"] = Direct(application, callers, receiving)
    return application


async def _allow_every_origin(message: Message, scope: Scope) -> None:
    """CORS on every answer: Litestar leaves it out of those to requests without an Origin, which caches might keep.

    What machines ask is no page's business, and may be on a port that only this one's browser can reach.
    """
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        if scope["path"] in PROBES:
            headers.pop("Access-Control-Allow-Origin", None)
        else:
            headers.setdefault("Access-Control-Allow-Origin", "*")


def _realm(callers: Callers) -> Callable[..., Realm]:
    def realm(server: NamedDependency[Server], realm_name: FromPath[str]) -> Realm:  # noqa: ARG001 - see `dependencies`
        return callers.realm(realm_name)

    return realm


def _device(callers: Callers) -> Callable[..., Device]:
    def device(request: Request[Any, Any, Any], realm: NamedDependency[Realm]) -> Device:
        authorization = request.headers.get("authorization", "")
        return callers.device(realm, authorization, request.path_params.get("client_id"))

    return device


def _limits_of(callers: Callers) -> Callable[..., LimitsOf]:
    def limits_of(
        request: Request[Any, Any, Any],
        realm: NamedDependency[Realm],  # noqa: ARG001 - see `dependencies`
    ) -> LimitsOf:
        return callers.limits_of(request.client.host if request.client else "")

    return limits_of
