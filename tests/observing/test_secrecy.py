"""Nothing secret, no mail address and nothing of a row gets into the log, whatever field of whatever call it came in."""

from __future__ import annotations

import base64
import re
import sys
import uuid
from typing import LiteralString, cast

import psycopg

from accounts.outbox import Outbox
from admin.people import make
from conftest import Server
from observing.conftest import lines_in
from routes.calls import Http, chunk
from server.operating import wait_for
from sync_server import logs
from sync_server.accounts.roles import Role
from users import Connection, User, change

PLANTED = "planted-7d1f"
"""In the local part of addresses, in passwords, names, rows, keys, paths, tokens."""


def planted(what: str) -> str:
    return f"{PLANTED}-{what}"


def bodies(client: str) -> list[dict[str, object]]:
    """Right and wrong bodies of every call, with something planted in each field."""
    words = {
        "email": f"{planted('mail')}@example.com",
        "password": planted("password"),
        "newPassword": planted("password"),
        "name": planted("name"),
        "clientDescription": f'{{"name": "{planted("phone")}"}}',
        "language": planted("language"),
        "pin": planted("pin"),
        "refreshToken": planted("refresh"),
        "clientId": client,
        "isPartial": 0,
        "lastSync": 0,
    }
    row = change("I", planted("guid"), 1, {"text": planted("row")}, table=planted("table"))
    wrong_row = {**row, "operation": planted("operation"), "clientdate": planted("date"), planted("member"): 1}
    right = [
        {**words, "newRegistration": True},
        {**words, "newRegistration": False, "changes": [row]},
        {**words, "changes": [wrong_row, row]},
        {**words, "changes": planted("changes")},
    ]
    return [*right, chunk(right[1]), chunk(right[1], 0, 2), *({**words, key: {"x": planted(key)}} for key in words)]


def authorizations(real: str) -> list[str | None]:
    basic = base64.b64encode(f"{planted('mail')}@example.com:{planted('password')}".encode()).decode()
    return [real, None, f"Bearer {planted('token')}", f"Basic {basic}", planted("scheme")]


PATHS = [
    "/register/main",
    "/login/main",
    "/login/main/refreshToken",
    "/unregister/main",
    "/password/main/forgotten",
    "/password/main/change",
    "/pull/main",
    "/push/main",
    f"/push/main/{planted('client')}",
    "/cancelSync/main",
    f"/pull/{planted('realm')}",
    f"/{planted('path')}?token={planted('query')}",
]


def test_nothing_planted_is_in_the_log(server: Server, http: Http, user: User) -> None:
    assert server.process is not None
    phone = user.device()
    phone.login()
    last = ""
    [real, *others] = authorizations(f"Bearer {phone.state.access}")
    for path in PATHS:
        sent = bodies(phone.client_id)
        for body, authorization in [*((body, real) for body in sent), *((sent[0], other) for other in others)]:
            headers = {"User-Agent": planted("agent"), "Referer": planted("referer"), "Cookie": planted("cookie")}
            headers["X-Request-ID"] = f"{planted('id')} with a space"
            last = http.post(path, body, authorization, **headers).headers["X-Request-ID"]
        http.post(path, f'{{"email": "{planted("broken")}'.encode(), planted("scheme"))
        http.post(path, planted("gzip").encode(), Content_Encoding="gzip", Content_Type="application/json")
        http.post(path, planted("type").encode(), Content_Type=planted("type"))
    log = _log_with(server, last)
    assert PLANTED not in log
    assert phone.state.access is not None
    assert phone.state.refresh is not None
    for token in (phone.state.access, phone.state.refresh):
        assert token.rpartition(".")[2] not in log


def test_nor_what_a_user_really_has(server: Server, http: Http, user: User) -> None:
    """A whole life: registered, synced, a conflict, a change kept aside, a password forgotten and changed."""
    user.password = planted("true-password")
    phone, tablet = user.device(), user.device()
    for device in (phone, tablet):
        device.login()
        device.save("todos", planted("guid"), {"text": planted("row")})
    phone.sync()
    tablet.sync()
    phone.save("notes", planted("x") * 40, {"text": planted("too long a key")})
    phone.sync()
    phone.forgotten_password(user.email)
    pin = Outbox(server.data_dir / "outbox").pin(user.email)
    phone.change_password(pin, planted("new-password"))
    phone.state.password = planted("new-password")
    phone.login()
    phone.unregister(delete_remote_data=True)
    last = http.client.get("/", headers={"X-Request-ID": str(uuid.uuid4())}).headers["X-Request-ID"]
    log = _log_with(server, last)
    assert PLANTED not in log
    assert user.email not in log
    assert f'"{pin}"' not in log
    assert " " + pin not in log


def test_nor_what_is_sent_to_the_admin_api(server: Server, http: Http, connections: dict[str, Connection]) -> None:
    """Every call that its description lists, with something planted in each field of path, query and body."""
    person = make(http.client, connections["main"], "main", Role.ADMIN).signed_in()
    document = http.client.get("/api-docs/openapi.json").json()
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        if path.startswith("/api/")
        for method, operation in methods.items()
        if isinstance(operation, dict) and "responses" in operation
    ]
    assert len(operations) > 15
    schemas = document["components"]["schemas"].values()
    words = {name: planted(name) for schema in schemas for name in schema.get("properties", ())}
    last = ""
    for method, path, operation in sorted(operations, key=lambda one: "logout" in one[1]):
        parameters = [each for each in operation.get("parameters", ()) if "name" in each]
        query = {each["name"]: planted("query") for each in parameters if each["in"] == "query"}
        for realm, token in (("main", person.token), (planted("realm"), person.token), ("main", planted("token"))):
            where = re.sub(r"\{[^}]*\}", planted("path"), re.sub(r"\{realm[^}]*\}", realm, path))
            headers = {name: planted(name) for name in ("Idempotency-Key", "If-Match", "User-Agent")}
            headers["Authorization"] = f"Bearer {token}"
            for sent in ({}, query):
                body = None if method in {"get", "head"} else words
                answer = http.client.request(method.upper(), where, params=sent, json=body, headers=headers)
                assert answer.status_code < 500, f"{method} {where}: {answer.text}"
                last = answer.headers["X-Request-ID"]
    log = _log_with(server, last)
    assert PLANTED not in log
    assert person.email not in log
    assert person.token
    assert person.token not in log


def test_nor_what_a_database_quotes_when_the_server_made_a_mistake(database_url: str) -> None:
    def fail(statement: LiteralString) -> str:
        with psycopg.connect(database_url) as connection:
            try:
                connection.execute("CREATE TABLE twice (mail text CONSTRAINT one_of_each PRIMARY KEY)")
                try:
                    connection.execute(statement, [planted("mail")])
                except psycopg.Error as exc:
                    raise RuntimeError("a mistake") from exc
            except RuntimeError:
                info = sys.exc_info()
                assert info[0] is not None
                grouped = ExceptionGroup("several", [cast("Exception", info[1])])
                return logs.traceback_of(info) + logs.traceback_of((ExceptionGroup, grouped, None))
        raise AssertionError

    cast_wrongly = fail("SELECT %s::uuid")
    twice = fail("INSERT INTO twice SELECT m FROM (SELECT %s AS m) p, generate_series(1, 2)")
    for text in (cast_wrongly, twice):
        assert PLANTED not in text
        assert "RuntimeError: a mistake" in text
        assert "test_secrecy.py" in text
    assert "22P02" in cast_wrongly
    assert "23505 twice one_of_each" in twice


def _log_with(server: Server, request_id: str) -> str:
    """The whole log, when the line of this request is there."""
    process = server.process
    assert process is not None
    wait_for(lambda: any(line["request_id"] == request_id for line in lines_in(process.log)))
    return process.log
