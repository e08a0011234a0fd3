"""The sync calls of the wire protocol, for Litestar. Most of them do not come this way: see direct.py."""

from __future__ import annotations

from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import RawBody

from sync_server.accounts.tokens import Device
from sync_server.compressing import Compressing
from sync_server.realms import Realm
from sync_server.server import Server
from sync_server.sync import calls


@post(["/pull/{realm_name:str}", "/pull/{realm_name:str}/{client_id:str}"], status_code=200, middleware=[Compressing()])
async def pull(
    realm: NamedDependency[Realm], device: NamedDependency[Device], server: NamedDependency[Server], body: RawBody
) -> Response[Any]:
    """Begin a sync."""
    return (await calls.pull(realm, device, server, body)).response()


@post(["/push/{realm_name:str}", "/push/{realm_name:str}/{client_id:str}"], status_code=200)
async def push(
    realm: NamedDependency[Realm], device: NamedDependency[Device], server: NamedDependency[Server], body: RawBody
) -> Response[Any]:
    """Store a device's changes."""
    return (await calls.push(realm, device, server, body)).response()


@post("/cancelSync/{realm_name:str}", status_code=200)
async def cancel_sync(realm: NamedDependency[Realm], device: NamedDependency[Device], body: RawBody) -> Response[Any]:
    """End the client's sync under way, if any."""
    return (await calls.cancel_sync(realm, device, body)).response()


ROUTES = [pull, push, cancel_sync]
