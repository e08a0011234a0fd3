"""300 realms, each with a database of its own, and 10,000 registered devices: under 150 MiB per worker process.

Measured when a device of every realm has registered and synced, so the server has opened and closed a pool for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import psycopg

import checking
from figures import Figure, Target
from world import Server, World

AT_ONCE = 8
_DEVICES = """
WITH new_user AS (
    SELECT gen_random_uuid() AS id, i FROM generate_series(1, %(count)s) i
), space AS (
    INSERT INTO sync.spaces (id) SELECT id FROM new_user
), owner AS (
    INSERT INTO sync.users (id, space_id, email, email_key, name, password_hash)
    SELECT id, id, 'user' || i || '@example.org', 'user' || i || '@example.org', '', '' FROM new_user
    RETURNING id
)
INSERT INTO sync.clients (id, user_id) SELECT gen_random_uuid(), id FROM owner
"""


def measure(world: World) -> Iterable[Figure]:
    count, devices = world.size(300, 3), world.size(10_000, 30)
    template = world.database()
    world.execute(template, _DEVICES, count=devices // count)
    realms = {f"realm{number}": url for number, url in enumerate(clones(world, template, count))}
    with world.server(realms) as server:
        started = server.processes.biggest()
        world.run(_use(server, list(realms)))
        used = server.processes.biggest()
    raw = {"MiB after the start": [started / 2**20]}
    what = f"memory per worker: {count} realms, {devices:,} devices"
    yield Figure("idle", what, " MiB", [used / 2**20], Target(at_most=150), raw)


def clones(world: World, template: str, count: int) -> Iterable[str]:
    """The URLs of copies of a database."""
    name = template.partition("?")[0].rpartition("/")[2]
    superuser = world.postgres.create_database("settings").replace("sync_server@", "postgres@", 1)
    with psycopg.connect(superuser, autocommit=True) as connection:
        for number in range(count):
            connection.execute(f'CREATE DATABASE "{name}_{number}" TEMPLATE "{name}" OWNER sync_server'.encode())
            yield template.replace(f"/{name}?", f"/{name}_{number}?")


async def _use(server: Server, realms: list[str]) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def use(realm: str) -> None:
        async with turns:
            phone = await server.phone("ann", realm=realm)
            checking.pulled(await phone.sync(), [])
            phone.hang_up()

    await asyncio.gather(*map(use, realms))
