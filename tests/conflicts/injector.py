"""A proxy that speaks PostgreSQL's protocol: it answers chosen statements as a database does that has a conflict, or cuts.

It takes part at the level of whole statements, so it can do what bytes cannot show: fail the COMMIT, or let it happen and
lose its answer. A conflict is one in truth: the transaction behind it is rolled back before the client hears of it.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

from psycopg.conninfo import conninfo_to_dict

from sync_server.database import queries

Message = tuple[bytes, bytes]
Kind = Literal["conflict", "cut before", "cut after"]
"""SQLSTATE 40001 in place of the statement; the connection cut in place of it; done, but the connection cut in place of its
answer."""
_SSL, _GSSENC, _CANCEL = 80877103, 80877104, 80877102
_CHANGES_SCHEMA = re.compile(r"\s*(CREATE|ALTER|DROP)\b", re.IGNORECASE)
_ANSWERED = {3, 5, 10, 11}
"""Kinds of authentication messages that the client has to answer."""
ALWAYS = 1 << 30


@dataclass
class Fault:
    """What happens at the `occurrence`th time that `step` is run, and `times` - 1 times after."""

    kind: Kind
    step: str
    occurrence: int = 1
    times: int = 1
    fired: int = 0


class Injector:
    """Stands between a server and its database at `url`; `self.url` leads through it.

    `as_cockroachdb`: the database says that it is one, and refuses what CockroachDB may refuse: a change of the schema in a
    transaction with other statements.
    """

    def __init__(self, url: str, *, as_cockroachdb: bool = False) -> None:
        self.as_cockroachdb = as_cockroachdb
        self._upstream = conninfo_to_dict(url)
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        user, dbname = self._upstream["user"], self._upstream["dbname"]
        password = f":{self._upstream['password']}" if "password" in self._upstream else ""
        self.url = f"postgresql://{user}{password}@127.0.0.1:{port}/{dbname}?sslmode=disable&gssencmode=disable"
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._counts: Counter[str] = Counter()
        self.steps: list[str] = []
        """The names of the statements that were run since `arm`; that of a COMMIT tells what its transaction began with."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def arm(self, fault: Fault | None = None) -> None:
        """Begin to count anew, with this fault or none."""
        with self._lock:
            self._fault, self._counts, self.steps = fault, Counter(), []

    def judge(self, step: str) -> Kind | None:
        """What is to happen to a statement that is about to be run."""
        with self._lock:
            self.steps.append(step)
            self._counts[step] += 1
            fault = self._fault
            if fault is None or step != fault.step or self._counts[step] < fault.occurrence:
                return None
            if fault.fired >= fault.times:
                return None
            fault.fired += 1
            return fault.kind

    def connect(self) -> socket.socket:
        host, port = str(self._upstream.get("host", "127.0.0.1")), self._upstream.get("port") or 5432
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, EOFError), self.connect() as server:
            _Session(self, client, server).run()


class _Session:
    """One connection of the client, and the one to the database behind it."""

    def __init__(self, injector: Injector, client: socket.socket, server: socket.socket) -> None:
        self._injector, self._client, self._server = injector, client, server
        self._prepared: dict[str, str] = {}
        self._status = b"I"
        self._first: str | None = None

    def run(self) -> None:
        if not self._start():
            return
        for exchange in self._exchanges():
            text = self._text(exchange)
            if self._status == b"E":
                self._refuse_in_failed(text)
                continue
            # preparing a statement is no step of its own: whether it happens depends on what the connection has done before
            runs = any(message[0] in {b"Q", b"B"} for message in exchange)
            kind = self._injector.judge(self._step(text)) if runs else None
            if kind == "cut before":
                return
            if kind == "conflict":
                self._fail(text, "40001", "could not serialize access, as a test wants it")
                continue
            if self._injector.as_cockroachdb and _changes_schema_among_others(text, self._status):
                self._fail(text, "0A000", "a schema change among other statements of a transaction")
                continue
            self._server.sendall(b"".join(_packed(message) for message in exchange))
            answer = self._answer(deliver=kind is None)
            if kind == "cut after":
                return
            self._status = answer

    def _start(self) -> bool:
        """Pass the beginning of the conversation on, up to the first time that the server is ready."""
        while True:
            length, code = struct.unpack("!II", _exactly(self._client, 8))
            rest = _exactly(self._client, length - 8)
            if code not in {_SSL, _GSSENC}:
                break
            self._client.sendall(b"N")
        self._server.sendall(struct.pack("!II", length, code) + rest)
        if code == _CANCEL:
            return False
        while True:
            message = _read(self._server)
            if message[0] == b"Z" and self._injector.as_cockroachdb:
                self._client.sendall(_packed((b"S", b"crdb_version\0CockroachDB CCL v23.2.28\0")))
            self._client.sendall(_packed(message))
            if message[0] == b"Z":
                return True
            if message[0] == b"R" and struct.unpack("!I", message[1][:4])[0] in _ANSWERED:
                self._server.sendall(_packed(_read(self._client)))

    def _exchanges(self) -> Iterator[list[Message]]:
        """What the client says up to each point where it waits for the server to be ready."""
        messages: list[Message] = []
        while True:
            message = _read(self._client)
            if message[0] == b"X":
                return
            messages.append(message)
            if message[0] in {b"Q", b"S"}:
                yield messages
                messages = []

    def _text(self, exchange: list[Message]) -> str:
        text = ""
        for kind, payload in exchange:
            parts = payload.split(b"\0", 2)
            if kind == b"Q":
                text = parts[0].decode()
            elif kind == b"P":
                text = self._prepared[parts[0].decode()] = parts[1].decode()
            elif kind == b"B":
                text = self._prepared.get(parts[1].decode(), text)
        return text

    def _step(self, text: str) -> str:
        word = text.partition(" ")[0].upper()
        if word in {"BEGIN", "ROLLBACK"}:
            self._first = None
            return word
        if word == "COMMIT":
            return f"COMMIT of {self._first}"
        name = _names().get(_squeezed(text), _squeezed(text)[:80])
        if self._first is None and self._status == b"T":
            self._first = name
        return name

    def _answer(self, *, deliver: bool) -> bytes:
        """Pass the server's answer on, or not; the state that it is in afterwards."""
        while True:
            message = _read(self._server)
            if deliver:
                self._client.sendall(_packed(message))
            if message[0] == b"Z":
                return message[1]

    def _fail(self, text: str, state: str, message: str) -> None:
        within = self._status == b"T"
        if within:
            self._server.sendall(_packed((b"Q", b"ROLLBACK\0")))
            self._answer(deliver=False)
        self._status = b"E" if within and not text.upper().startswith("COMMIT") else b"I"
        self._say_error(state, message)

    def _refuse_in_failed(self, text: str) -> None:
        """As a database does in a transaction that has failed: nothing but its end is taken."""
        if text.upper().startswith(("ROLLBACK", "COMMIT")):
            self._status = b"I"
            done = _packed((b"C", b"ROLLBACK\0"))
            self._client.sendall(done + _packed((b"Z", self._status)))
        else:
            self._say_error("25P02", "current transaction is aborted")

    def _say_error(self, state: str, text: str) -> None:
        fields = f"SERROR\0VERROR\0C{state}\0M{text}\0\0".encode()
        self._client.sendall(_packed((b"E", fields)) + _packed((b"Z", self._status)))


def _read(source: socket.socket) -> Message:
    kind, length = struct.unpack("!cI", _exactly(source, 5))
    return kind, _exactly(source, length - 4)


def _packed(message: Message) -> bytes:
    return message[0] + struct.pack("!I", len(message[1]) + 4) + message[1]


def _exactly(source: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = source.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def _changes_schema_among_others(text: str, status: bytes) -> bool:
    texts = [part for part in re.sub(r"--[^\n]*", "", text).split(";") if part.strip()]
    return any(map(_CHANGES_SCHEMA.match, texts)) and (status == b"T" or len(texts) > 1)


def _squeezed(text: str) -> str:
    return " ".join(re.sub(r"--[^\n]*", "", text).split()).rstrip(";")


def _names() -> dict[str, str]:
    """The names of the server's statements by their texts, as psycopg sends them."""
    if not _NAMES:
        for name, text in queries("sync").items():
            _NAMES[_squeezed(numbered(text))] = name
    return _NAMES


def numbered(text: str) -> str:
    """A statement with psycopg's named parameters as PostgreSQL's numbered ones."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return re.sub(r"%\((\w+)\)[sbt]", number, text).replace("%%", "%")


_NAMES: dict[str, str] = {}
