"""A server whose realm can be put back to a backup of its database, as after the loss of a disk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from backup.content import IGNORE
from conftest import start_server
from postgres import Postgres
from retention.conftest import run
from sync_server import backup
from sync_server.audit import verifying
from sync_server.audit.verifying import Verified
from sync_server.backup import BackupError
from sync_server.realms import Realm as ServedRealm
from users import User, look_into
from wire import Wire


class Realm:
    """A realm, its users, and backups of it."""

    def __init__(self, dsn: str, wire: Wire) -> None:
        self.dsn, self._wire = dsn, wire
        self.connection = look_into(dsn)

    def new_user(self) -> User:
        return User(self._wire.send, "main", self.connection)

    def back_up(self) -> bytes:
        stream = io.BytesIO()
        backup.take("main", "sync", self.dsn, stream, IGNORE)
        return stream.getvalue()

    def put_back(self, data: bytes, *, as_it_was: bool = False) -> None:
        """The database is lost, and the backup restored into an empty one."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("DROP SCHEMA sync CASCADE")
        try:
            backup.restore("sync", self.dsn, io.BytesIO(data), IGNORE, as_it_was=as_it_was)
        except BackupError as failure:
            # the server, which is not to serve the realm meanwhile, has just written the sums of this hour
            if not isinstance(failure.__cause__, psycopg.errors.UniqueViolation):
                raise
            backup.restore("sync", self.dsn, io.BytesIO(data), IGNORE, as_it_was=as_it_was)

    def audited(self) -> list[Verified]:
        """What there is to say about the audit log."""

        async def look(found: ServedRealm) -> list[Verified]:
            return [chain async for chain in verifying.verify(found)]

        return run(self.dsn, look)


@pytest.fixture(scope="package")
def realm(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    dsn = postgres.create_database(f"restored_{uuid4().hex[:8]}")
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": {"main": {"url": dsn, "history": "full"}}}}
    process = start_server(tmp_path_factory.mktemp("restored"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    wire = Wire(process.url)
    found = Realm(dsn, wire)
    yield found
    found.connection.close()
    wire.close()
    assert process.stop() == 0
    assert "Traceback" not in process.log
