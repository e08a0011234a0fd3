"""sync_server_ts as a small model: it answers devices as that server did, and writes what that server wrote."""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from device import Device
from wire import Answer, Request, Send

CURRENT = """
SELECT id, rowguid::text, operation, tablename, clientdate, serverdate, clientid::text FROM public.sync_data
WHERE id IN (SELECT max(id) FROM public.sync_data WHERE userid = %s AND serverdate > %s GROUP BY rowguid) ORDER BY id
"""
LINE = """
INSERT INTO public.sync_data (userid, clientid, tablename, rowguid, operation, clientdate, serverdate)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


class OldServer:
    """Known are the calls that a registered device makes. `clock` is the server's, in ms; each line of the log takes one."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], clock: Callable[[], int]) -> None:
        self._connection = connection
        self.clock = clock
        self.outdated: set[str] = set()
        """Guids whose changes the latest pull told the device to drop."""

    def register(self, email: str, password: str) -> uuid.UUID:
        user_id, salt = uuid.uuid4(), str(uuid.uuid4())
        digest = hashlib.sha512((password + salt).encode()).hexdigest()
        insert = (
            "INSERT INTO public.users (id, name, email, password, salt, language) VALUES (%s, 'Ann', %s, %s, %s, 'en')"
        )
        self._execute(insert, user_id, email, digest, salt)
        return user_id

    def add(self, user_id: uuid.UUID, device: Device, email: str, password: str) -> None:
        """Make the device a client of the user."""
        state = device.state
        state.client_id, state.email, state.password = str(uuid.uuid4()), email, password
        self._execute("INSERT INTO public.user_clients (clientid, userid) VALUES (%s, %s)", state.client_id, user_id)

    def send(self, request: Request) -> Answer:
        body = json.loads(gzip.decompress(request.body) if request.gzipped else request.body)
        kind = request.path.split("/")[1]
        if kind == "login":
            return _answer({"accessToken": str(uuid.uuid4()), "refreshToken": str(uuid.uuid4())})
        if kind == "cancelSync":
            self._execute("UPDATE public.user_clients SET syncing = NULL WHERE clientid = %s", body["clientId"])
            return _answer({})
        return _answer(self._pull(body) if kind == "pull" else self._push(body))

    def _pull(self, body: dict[str, Any]) -> dict[str, Any]:
        user_id = self._user_of(body["clientId"])
        self._execute("UPDATE public.user_clients SET syncing = %s WHERE clientid = %s", self.clock(), body["clientId"])
        names = ("id", "rowguid", "operation", "tablename", "clientdate", "serverdate", "clientid")
        lines = [dict(zip(names, line, strict=True)) for line in self._execute(CURRENT, user_id, body["lastSync"])]
        self.outdated = set()
        for change in body["changes"]:
            for line in [line for line in lines if line["rowguid"] == change["rowguid"]]:
                if line["clientdate"] >= change["clientdate"]:
                    self.outdated.add(change["rowguid"])
                else:
                    lines.remove(line)
        data = []
        for line in lines:
            content = self._execute("SELECT json FROM public.data WHERE rowguid = %s", line["rowguid"])
            if line["operation"] != "D" and content:  # deletes are not sent
                data.append({**line, "rowData": content[0][0]})
        return {"clientId": body["clientId"], "lastSync": 0, "outdatedRowsGuid": sorted(self.outdated), "data": data}

    def _push(self, body: dict[str, Any]) -> dict[str, Any]:
        user_id = self._user_of(body["clientId"])
        for change in body["changes"]:
            self._keep(change)
            line = [change[name] for name in ("tablename", "rowguid", "operation", "clientdate")]
            self._execute(LINE, user_id, body["clientId"], *line, self.clock())
        now = self.clock()
        update = "UPDATE public.user_clients SET lastsync = %s, syncing = NULL WHERE clientid = %s"
        self._execute(update, now, body["clientId"])
        return {"lastSync": None if body["isPartial"] else now}

    def _keep(self, change: dict[str, Any]) -> None:
        """One content per guid, whoever's it is; a delete leaves it."""
        update = " DO NOTHING" if change["operation"] == "D" else " (rowguid) DO UPDATE SET json = excluded.json"
        insert = "INSERT INTO public.data (rowguid, json) VALUES (%s, %s) ON CONFLICT" + update
        self._execute(insert, change["rowguid"], Jsonb(change["rowData"]))

    def _user_of(self, client_id: str) -> uuid.UUID:
        found = self._execute("SELECT userid FROM public.user_clients WHERE clientid = %s", client_id)
        user_id = found[0][0]
        assert isinstance(user_id, uuid.UUID)
        return user_id

    def _execute(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(text.encode(), values)
        return cursor.fetchall() if cursor.description else []


def _answer(body: dict[str, Any]) -> Answer:
    return Answer(200, json.dumps(body).encode())


def move(device: Device, send: Send) -> None:
    """The device's calls reach the new server from here on; it does not know."""
    device.send = send
