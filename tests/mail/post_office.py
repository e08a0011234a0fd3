"""A real SMTP server that says what a test wants it to say, and a gate that a database can be put behind."""

# ruff: noqa: ARG002, N802 - aiosmtpd calls its handlers by these names, with these arguments

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any, Self, TypeVar

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

T = TypeVar("T")


@dataclass
class Received:
    """A mail as it came in."""

    sender: str
    recipients: list[str]
    content: bytes
    encrypted: bool
    login: str | None
    connection: int
    options: list[str]

    @property
    def message(self) -> EmailMessage:
        return BytesParser(policy=policy.default).parsebytes(self.content)

    def part(self, subtype: str) -> str:
        body = self.message.get_body((subtype,))
        assert body is not None
        content: str = body.get_content()
        return content


class Loop:
    """An event loop in a thread of its own, so that a client can be tried on any other kind of loop."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@dataclass
class PostOffice:
    """An SMTP server on 127.0.0.1; open() and close() as often as one likes, always on the same port."""

    loop: Loop
    certificate: ssl.SSLContext | None = None
    tls: bool = False
    starttls: bool = False
    login: tuple[str, str] | None = None
    smtputf8: bool = False
    silent: bool = False
    """Takes connections and says nothing."""
    answers: dict[str, deque[str | None]] = field(default_factory=dict)
    """By command, the answers to give before everything is well again; None: all is well; "{}": the address."""
    before_data: Callable[[], object] = lambda: None
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _transports: list[asyncio.BaseTransport] = field(default_factory=list)

    def open(self) -> None:
        self._server = self.loop.run(self._open())
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server:
            self.loop.run(self._close(self._server))
            self._server = None

    async def _open(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            self._connection, "127.0.0.1", self.port, ssl=self.certificate if self.tls else None
        )

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for transport in self._transports:
            transport.close()
        await server.wait_closed()

    def _connection(self) -> asyncio.BaseProtocol:
        self.connections += 1
        if self.silent:
            return Silence(self._transports)
        return SMTP(
            Clerk(self, self.connections),
            hostname="post.example",
            tls_context=self.certificate if self.starttls else None,
            enable_SMTPUTF8=self.smtputf8,
            auth_require_tls=self.starttls,
            authenticator=self.authenticate if self.login else None,
            loop=asyncio.get_running_loop(),
        )

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        self.commands.append(f"AUTH {mechanism}")
        assert isinstance(data, LoginPassword)
        assert self.login
        right = (data.login.decode(), data.password.decode()) == self.login
        # an answer that gives the login away, as some servers do
        message = None if right else f"535 5.7.8 wrong login {data.login.decode()} {data.password.decode()}"
        return AuthResult(success=right, handled=False, message=message, auth_data=data.login.decode())


class Silence(asyncio.Protocol):
    def __init__(self, transports: list[asyncio.BaseTransport]) -> None:
        self._transports = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transports.append(transport)


@dataclass
class Clerk:
    """Handles one connection of a post office."""

    office: PostOffice
    number: int

    def _answer(self, command: str, address: str = "") -> str | None:
        self.office.commands.append(command)
        waiting = self.office.answers.get(command)
        answer = waiting.popleft() if waiting else None
        return answer and answer.format(address)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self._answer("MAIL", address):
            return answer
        if self.office.login and not session.authenticated:
            return "530 5.7.0 log in first"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._answer("RCPT", address)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.to_thread(self.office.before_data)
        if answer := self._answer("DATA", envelope.rcpt_tos[0]):
            return answer
        assert isinstance(envelope.original_content, bytes)
        received = Received(
            envelope.mail_from or "",
            envelope.rcpt_tos,
            envelope.original_content,
            encrypted=session.ssl is not None or self.office.tls,
            login=session.auth_data if isinstance(session.auth_data, str) else None,
            connection=self.number,
            options=envelope.mail_options,
        )
        self.office.received.append(received)
        return "250 OK"


class Gate:
    """A TCP port in front of a unix socket; while it is shut, whatever comes in gets no answer."""

    def __init__(self, loop: Loop, socket_path: str, *, is_open: bool) -> None:
        self.is_open = is_open
        self._socket_path = socket_path
        self._loop = loop
        self._server = loop.run(asyncio.start_server(self._pass, "127.0.0.1"))
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._loop.run(self._close())

    async def _close(self) -> None:
        self._server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.is_open:
                await asyncio.sleep(3600)
            inner_reader, inner_writer = await asyncio.open_unix_connection(self._socket_path)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        finally:
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something that another thread or process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
