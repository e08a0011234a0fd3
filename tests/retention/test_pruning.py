"""What else is pruned, when, and by whom."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import forking
from postgres import Postgres, served
from retention.conftest import Prune, run
from sync_server.config import Config, Database
from sync_server.keys import Keys
from sync_server.mail import outbox
from sync_server.realms import Realm, Realms
from sync_server.retention import caretaker, pruning
from sync_server.retention.settings import Retention
from users import User, change, look_into
from wire import Server

DAY = 86_400_000


def test_history_and_what_was_overridden_are_kept_unless_the_operator_says_otherwise(user: User, prune: Prune) -> None:
    phone, tablet = user.device(), user.device()
    phone.pull([])
    tablet.pull([])
    phone.push([change("I", "1", 2, {"title": "won"})])
    tablet.push([change("I", "1", 1, {"title": "lost"})])
    user.connection.execute("UPDATE sync.history SET stamp = 1 WHERE space_id = %s", (user.space_id,))
    user.connection.execute("UPDATE sync.overridden SET stamp = 1 WHERE space_id = %s", (user.space_id,))
    ages = pruning.ages(Retention())
    assert (ages["history"], ages["overridden"], ages["kept_aside"]) == (None, None, None)
    prune(tombstones=0)
    assert len(user.history()) == len(user.overridden()) == 1
    prune(history=DAY)
    assert (len(user.history()), len(user.overridden())) == (0, 1)
    prune(overridden=DAY)
    assert (len(user.history()), len(user.overridden())) == (0, 0)
    assert len(user.rows()) == 1


def test_nothing_of_the_history_goes_before_its_age(user: User, prune: Prune) -> None:
    phone = user.device()
    phone.pull([])
    phone.push([change("I", str(number), number, {"n": number}) for number in range(3)])
    user.connection.execute("UPDATE sync.history SET stamp = 1 WHERE space_id = %s AND ordinal = 1", (user.space_id,))
    prune(history=DAY, overridden=DAY)
    assert [line["ordinal"] for line in user.history()] == [2, 3]


def test_what_was_kept_aside_goes_at_its_age(user: User, prune: Prune) -> None:
    phone = user.device()
    phone.pull([])
    phone.push([change("X", "1", 1, {"n": 1}), change("X", "2", 1, {"n": 1})])
    older = "UPDATE sync.kept_aside SET received_at = now() - interval '3 days' WHERE id = %s"
    user.connection.execute(older, (user.kept_aside()[0]["id"],))
    prune(kept_aside=4 * DAY)
    assert len(user.kept_aside()) == 2
    prune(kept_aside=2 * DAY)
    assert len(user.kept_aside()) == 1


def test_what_has_expired_goes(user: User, prune: Prune) -> None:
    phone = user.device()
    execute = user.connection.execute
    key, user_id = uuid4().hex, user.client(phone)["user_id"]
    for item, left in (("old", -1), ("new", 60_000)):
        record = "INSERT INTO sync.attempts VALUES (%s, %s, (extract(epoch FROM now()) * 1000)::bigint + %s)"
        execute(record, (key, item, left))
    for name, minutes in (("old", 61), ("new", 59)):
        execute(
            "INSERT INTO sync.uploads VALUES (%s, 'pull', %s, 2, (extract(epoch FROM now()) * 1000)::bigint - %s)",
            (phone.client_id, name, minutes * 60_000),
        )
    execute("INSERT INTO sync.upload_parts VALUES (%s, 'pull', 'old', 0, 'x')", (phone.client_id,))
    execute("INSERT INTO sync.pins (user_id, nonce, created) VALUES (%s, 'x', 1)", (user_id,))
    ages = pruning.ages(Retention())
    prune(**{kind: age for kind in ("attempts", "uploads", "pins") if (age := ages[kind]) is not None})
    assert [row["item"] for row in execute("SELECT item FROM sync.attempts WHERE key = %s", (key,))] == ["new"]
    uploads = execute("SELECT sync_id FROM sync.uploads WHERE client_id = %s", (phone.client_id,))
    assert [row["sync_id"] for row in uploads] == ["new"]
    assert not execute("SELECT 1 FROM sync.upload_parts WHERE client_id = %s", (phone.client_id,)).fetchall()
    assert not execute("SELECT 1 FROM sync.pins WHERE user_id = %s", (user_id,)).fetchall()


@pytest.fixture
def fresh_url(postgres: Postgres) -> str:
    return postgres.create_migrated(f"retention_{uuid4().hex[:8]}")


def test_of_several_processes_one_prunes_and_not_again_at_once(fresh_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[str] = []

    async def slowly(realm: Realm, *_: object) -> Any:
        rounds.append(realm.name)
        await asyncio.sleep(0.2)
        return Counter()

    monkeypatch.setattr(pruning, "prune", slowly)

    async def at_once(realm: Realm) -> None:
        await asyncio.gather(*(caretaker.prune(realm) for _ in range(4)))
        await caretaker.prune(realm)

    run(fresh_url, at_once)
    assert rounds == ["main"]


def test_the_work_of_a_process_that_died_is_taken_over(fresh_url: str) -> None:
    def claim(lease: int) -> int:
        return run(
            fresh_url,
            lambda realm: realm.transact(lambda tx: tx.execute("claim_chore", {"chore": "prune", "lease": lease})),
        )

    assert [claim(60_000), claim(60_000)] == [1, 0]
    with look_into(fresh_url) as connection:
        connection.execute("UPDATE sync.chores SET next_run = next_run - 60000")  # a minute passes
    assert claim(60_000) == 1


def test_work_that_was_put_off_by_a_wrong_clock_is_due(fresh_url: str) -> None:
    claim = {"chore": "prune", "lease": 2 * DAY}
    claims = [
        run(fresh_url, lambda realm: realm.transact(lambda tx: tx.execute("claim_chore", claim))) for _ in range(2)
    ]
    assert claims == [1, 1]


def test_a_realm_that_nobody_uses_is_left_alone_for_most_of_a_day(fresh_url: str) -> None:
    """Three hundred idle realms are not to be woken every hour."""

    async def due(realm: Realm) -> tuple[float, float]:
        config = Config(Database({}), base=Path("/nonexistent"))
        keeper = caretaker.Caretaker(config, Realms(config, {}), Keys("access", "refresh"))
        keeper.note_use(realm)
        used = keeper.due[realm.name]
        await keeper.visit(realm)
        return used - time.monotonic(), keeper.due[realm.name] - time.monotonic()

    used, idle = run(fresh_url, due)
    assert 0.7 * 3600 < used < 1.3 * 3600
    assert idle > 18 * 3600 * 0.95


def test_mails_of_the_outbox_go_when_they_are_old(tmp_path: Path) -> None:
    for name, days in (("old.eml", 31), ("new.eml", 29), ("note.txt", 31)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, times=(time.time() - days * 86_400,) * 2)
    assert outbox.clear(tmp_path, 30, dry_run=True) == 1
    assert len(list(tmp_path.iterdir())) == 3
    assert outbox.clear(tmp_path, None) == 0
    assert outbox.clear(tmp_path, 30) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"new.eml", "note.txt"}
    assert outbox.clear(tmp_path / "nowhere", 30) == 0


def command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forking.run([*arguments], directory)


def test_the_command_prunes_and_says_what_it_removed(user: User, server: Server, tmp_path: Path) -> None:
    phone, tablet = user.device(), user.device()
    phone.pull([])
    phone.push([change("D", "1", 1), change("I", "2", 1, {"n": 1})])
    for device in (phone, tablet, phone, tablet):
        device.sync()
    for table in ("rows", "history"):
        user.connection.execute(f"UPDATE sync.{table} SET stamp = 1 WHERE space_id = %s".encode(), (user.space_id,))
    user.connection.execute(
        "UPDATE sync.clients SET acknowledged = 5 WHERE user_id = %s", (user.client(phone)["user_id"],)
    )
    config = {"db": {"realms": {"main": server.dsn("main")}}, "retention": {"history": 30}}
    (tmp_path / "config.json").write_text(json.dumps(served(config)))
    dry = command(tmp_path, "prune", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    would = json.loads(dry.stdout.splitlines()[0])["would_remove"]
    assert would["tombstones"] >= 1
    assert would["history"] >= 2
    assert len(user.rows()) == 2
    done = command(tmp_path, "prune", "--realm", "Main")
    assert json.loads(done.stdout.splitlines()[0]) == {"realm": "main", "removed": would}
    assert {guid for _, guid in user.rows()} == {"2"}
    assert not user.history()
    assert json.loads(command(tmp_path, "prune").stdout.splitlines()[0])["removed"] == {}
    unknown = command(tmp_path, "prune", "--realm", "nowhere")
    assert unknown.returncode == 1
    assert "no realm nowhere" in unknown.stderr


def test_sessions_and_keys_of_admins_go_when_they_have_expired(user: User, prune: Prune) -> None:
    user_id, execute = user.client(user.device())["user_id"], user.connection.execute
    ended = [(uuid4(), -left) for left in range(pruning.PORTION + 1)]
    for identity, left in [(uuid4(), 60_000), *ended]:
        session = (
            "INSERT INTO sync.admin_sessions (id, user_id, token_epoch, refresh_id, expires)"
            " VALUES (%s, %s, 0, 'x', (extract(epoch FROM now()) * 1000)::bigint + %s)"
        )
        execute(session, (identity, user_id, left))
        key = (
            "INSERT INTO sync.idempotency_keys (user_id, key, fingerprint, entity_id, expires)"
            " VALUES (%s, %s, 'x', %s, (extract(epoch FROM now()) * 1000)::bigint + %s)"
        )
        execute(key, (user_id, str(identity), identity, left))
    ages = pruning.ages(Retention())
    found = prune(**{kind: age for kind in ("admin_sessions", "idempotency_keys") if (age := ages[kind]) is not None})
    assert found["admin_sessions"] >= len(ended) <= found["idempotency_keys"]
    for table in ("admin_sessions", "idempotency_keys"):
        kept = execute(f"SELECT 1 FROM sync.{table} WHERE user_id = %s".encode(), (user_id,)).fetchall()
        assert len(kept) == 1, table


def test_old_sums_and_days_of_devices_go(user: User, prune: Prune) -> None:
    phone = user.device()
    for table, columns in (("stats", "(name, hour, amount)"), ("activity", "(hours, day, client_id)")):
        for at in (5 * DAY, 6_000_000 * DAY):
            line = (user.email, at, 1) if table == "stats" else (1, at, phone.client_id)
            user.connection.execute(f"INSERT INTO sync.{table} {columns} VALUES (%s, %s, %s)".encode(), line)
    assert prune(stats=400 * DAY, activity=90 * DAY) == Counter(stats=1, activity=1)
    left = "SELECT hour FROM sync.stats WHERE name = %s UNION ALL SELECT day FROM sync.activity WHERE client_id = %s"
    found = user.connection.execute(left, [user.email, phone.client_id]).fetchall()
    assert 5 * DAY not in [line["hour"] for line in found]
    user.connection.execute("DELETE FROM sync.stats WHERE name = %s", [user.email])
