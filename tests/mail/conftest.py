"""Mail is tried on a real queue and a real SMTP server; whatever is logged meanwhile is searched for secrets."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
import structlog
import trustme
from psycopg.rows import dict_row

from device import wall_clock
from mail.post_office import Loop, PostOffice
from postgres import realm_at
from sync_server.accounts import pins
from sync_server.config import Config, Database, Email, Secret
from sync_server.keys import Keys
from sync_server.mail.mailer import Mailer
from sync_server.mail.pace import Pace
from sync_server.realms import Realm, Realms

KEYS = Keys("a" * 32, "b" * 32)
QUICK = Pace(first=0.1, longest=0.4, shortest=0.02, watching=0.5)
PASSWORD = "smtp-password"


@dataclass
class Queued:
    """A mail in the queue."""

    id: UUID
    email: str
    pin: str


@dataclass
class Queue:
    """A realm's queue, seen from its database."""

    connection: psycopg.Connection[dict[str, Any]]
    secrets: set[str]

    def add(
        self,
        email: str | None = None,
        *,
        name: str = "Ann",
        language: str | None = None,
        lifetime: int = pins.LIFETIME,
        template: str = "pin",
        realm: str | None = None,
    ) -> Queued:
        """A user who asked for a PIN; the mail is due now."""
        mail_id, nonce, now = uuid4(), pins.new_nonce(), wall_clock()
        email = email or f"ann.{mail_id.hex[:12]}@example.com"
        user_id = self._user(email, name, language)
        details = {"nonce": nonce} | ({"realm": realm} if realm else {})
        self.connection.execute(
            "INSERT INTO sync.mails (id, user_id, template, details, created, expires, next_try)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (mail_id, user_id, template, msgspec.json.encode(details).decode(), now, now + lifetime, now),
        )
        queued = Queued(mail_id, email, pins.pin(KEYS, nonce))
        self.secrets |= {queued.email, queued.pin}
        return queued

    def _user(self, email: str, name: str, language: str | None) -> UUID:
        user_id = uuid4()
        self.connection.execute("INSERT INTO sync.spaces (id) VALUES (%s)", (user_id,))
        self.connection.execute(
            "INSERT INTO sync.users (id, space_id, email, email_key, name, language, password_hash)"
            " VALUES (%s, %s, %s, %s, %s, %s, '')",
            (user_id, user_id, email, user_id.hex, name, language),
        )
        return user_id

    def mails(self) -> list[dict[str, Any]]:
        return self.connection.execute("SELECT * FROM sync.mails ORDER BY created, id").fetchall()

    def row(self, queued: Queued) -> dict[str, Any] | None:
        return self.connection.execute("SELECT * FROM sync.mails WHERE id = %s", (queued.id,)).fetchone()


@dataclass
class Logged:
    """Everything that was logged, through structlog or otherwise."""

    entries: list[structlog.typing.EventDict]
    others: pytest.LogCaptureFixture

    def of(self, event: str) -> list[structlog.typing.EventDict]:
        return [entry for entry in self.entries if entry["event"] == event]

    @property
    def text(self) -> str:
        return "\n".join([*map(repr, self.entries), *map(logging.Formatter().format, self.others.records)])


@pytest.fixture
def secrets() -> set[str]:
    """What must not be logged."""
    return {PASSWORD}


@pytest.fixture(autouse=True)
def logged(secrets: set[str], caplog: pytest.LogCaptureFixture) -> Iterator[Logged]:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.CRITICAL, "mail.log")  # of the tests' own SMTP server, which tells everything
    with structlog.testing.capture_logs() as entries:
        logged = Logged(entries, caplog)
        yield logged
    leaked = [secret for secret in secrets if secret in logged.text]
    assert not leaked, f"a secret is in the log: {logged.text}"


@pytest.fixture
def queue(database_url: str, secrets: set[str]) -> Iterator[Queue]:
    """The queue of the realm "main"."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        queue = Queue(connection, secrets)
        yield queue
        errors = " ".join(str(mail["last_error"]) for mail in queue.mails())
        assert not [secret for secret in secrets if secret in errors], f"a secret is in last_error: {errors}"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> ssl.SSLContext:
    """A certificate for localhost, by an authority that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the authority known in the way that is documented for operators."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as loop:
        yield loop


@dataclass
class Offices:
    """Opens post offices and closes them at the end."""

    loop: Loop
    certificate: ssl.SSLContext
    opened: list[PostOffice] = field(default_factory=list)

    def __call__(self, **options: Any) -> PostOffice:
        office = PostOffice(self.loop, self.certificate, **options)
        office.open()
        self.opened.append(office)
        return office


@pytest.fixture
def open_office(loop: Loop, certificate: ssl.SSLContext) -> Iterator[Offices]:
    offices = Offices(loop, certificate)
    yield offices
    for office in offices.opened:
        office.close()


@dataclass
class House:
    """Makes configurations and runs mailers of them."""

    base: Path
    urls: dict[str, str]

    def config(self, office: PostOffice | None = None, **email: Any) -> Config:
        if office:
            email = {"smtp": "localhost", "port": office.port, "timeout": 30.0} | email
        email = {"from_": "Sync, Inc.", "from_email": "noreply@example.org", "apps": {"main": "ToDos"}} | email
        if "username" in email:
            email = {"password": Secret(PASSWORD)} | email
        realms = {name: realm_at(url) for name, url in self.urls.items()}
        return Config(db=Database(realms=realms, timeout=20.0), email=Email(**email), base=self.base)

    @asynccontextmanager
    async def mailer(self, config: Config, pace: Pace = QUICK) -> AsyncIterator[Running]:
        realms = Realms(config, self.urls)
        mailer = Mailer(config, realms, KEYS, pace)
        task = asyncio.create_task(mailer.run())
        try:
            yield Running(mailer, realms, task)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await realms.close()


@dataclass
class Running:
    mailer: Mailer
    realms: Realms
    task: asyncio.Task[None]

    def wake(self, realm: str = "main") -> None:
        self.mailer.wake(self.realms.get(realm))

    def realm(self, name: str = "main") -> Realm:
        return self.realms.get(name)

    async def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until something has come about, while the mailer is at work."""
        async with asyncio.timeout(seconds):
            while not condition():
                assert not self.task.done(), "the mailer has ended"
                await asyncio.sleep(0.005)


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> House:
    """The realm "main" has the database of `queue`, if the test uses one."""
    urls: Mapping[str, str] = {}
    if "queue" in request.fixturenames:
        urls = {"main": request.getfixturevalue("database_url")}
    return House(tmp_path, dict(urls) or {"main": "postgresql://nowhere.invalid/none"})
