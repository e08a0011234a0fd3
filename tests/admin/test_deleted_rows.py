"""A note that was deleted by mistake comes back, where the history is as it is by default."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from admin.people import NewPerson, Person, data, refused
from admin.test_rows import NOTE, rows, user_id, walk
from conftest import Server
from device import Device
from retention.conftest import NEVER, run
from sync_server.retention import pruning
from sync_server.retention.settings import Retention
from users import User, change, sync_all

DAY = 86_400_000


@pytest.fixture(scope="module")
def technician(new_person: NewPerson) -> Person:
    return new_person("technician")


def delete(user: User, *, days_ago: int = 0) -> tuple[Device, Device]:
    """Two phones without the note that both had."""
    phone, tablet = user.device(), user.device()
    phone.insert(*NOTE, {"title": "draft"})
    phone.insert("notes", "2", {"title": "another"})
    sync_all(phone, tablet)
    tablet.update(*NOTE, {"title": "Grandma's recipe"})
    sync_all(phone, tablet)
    phone.delete(*NOTE)
    sync_all(phone, tablet)
    assert set(phone.state.rows) == set(tablet.state.rows) == {("notes", "2")}
    for table in ("rows", "history"):
        earlier = f"UPDATE sync.{table} SET stamp = stamp - %s WHERE space_id = %s"
        user.connection.execute(earlier.encode(), [days_ago * DAY, user.space_id])
    return phone, tablet


def prune(server: Server) -> None:
    """As the caretaker does, by the configuration's ages."""
    ages = pruning.ages(Retention())
    run(
        server.dsn(server.realm),
        lambda realm: pruning.prune(realm, {**dict.fromkeys(ages), "deleted": ages["deleted"]}, NEVER),
    )


def found(technician: Person, user: User) -> dict[str, Any]:
    """The deleted row, as the list of rows has it."""
    [row] = technician.get(rows(technician), user=user_id(user), deleted=True)
    assert (row["table"], row["rowguid"], row["version"]["operation"]) == (*NOTE, "D")
    assert isinstance(row, dict)
    return row


def test_a_note_deleted_by_mistake_yesterday_comes_back_to_both_phones(
    technician: Person, user: User, server: Server
) -> None:
    phone, tablet = delete(user, days_ago=1)
    prune(server)
    [row] = technician.get(rows(technician), user=user_id(user), search="grandma's")
    assert row == found(technician, user)
    assert row["deleted"]["preview"] == '{"rowguid":"1","title":"Grandma\'s recipe"}'
    full = technician.get(rows(technician, f"/{row['id']}"))
    assert (full["data"], full["deleted"]) == (None, row["deleted"])
    name = row["deleted"]["id"]
    version = technician.get(rows(technician, f"/{row['id']}/versions/{name}"))
    assert (version["data"]["title"], version["complete"], version["operation"]) == ("Grandma's recipe", True, "U")
    history = walk(technician, rows(technician, f"/{row['id']}/history"), limit=2)
    assert [(line["version"]["operation"], line["deleted"]) for line in history] == [
        ("D", row["deleted"]),
        ("U", None),
        ("I", None),
    ]
    for changed in (True, False):
        call = technician.call("POST", rows(technician, f"/{row['id']}/restore"), json={"version": name})
        assert data(call)["changed"] is changed
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows
    assert phone.state.rows[NOTE] == {"title": "Grandma's recipe"}
    assert technician.get(rows(technician, f"/{row['id']}"))["deleted"] is None


def test_after_thirty_days_it_is_gone_and_only_that_it_was_there_is_known(
    technician: Person, user: User, server: Server
) -> None:
    delete(user, days_ago=29)
    prune(server)
    row = found(technician, user)
    assert row["deleted"] is not None
    older = "UPDATE sync.history SET stamp = stamp - %s WHERE space_id = %s"
    user.connection.execute(older, [2 * DAY, user.space_id])
    user.connection.execute("UPDATE sync.rows SET stamp = stamp - %s WHERE space_id = %s", [2 * DAY, user.space_id])
    [line, *_] = technician.get(rows(technician, f"/{row['id']}/history"))
    name = line["deleted"]["id"]
    prune(server)
    assert found(technician, user)["deleted"] is None
    assert technician.get(rows(technician, f"/{row['id']}"))["deleted"] is None
    assert {line["deleted"] for line in technician.get(rows(technician, f"/{row['id']}/history"))} == {None}
    assert not technician.get(rows(technician), user=user_id(user), search="grandma's")
    assert "Grandma" not in str([user.rows(), user.history(), user.overridden()])
    call = technician.call("POST", rows(technician, f"/{row['id']}/restore"), json={"version": name})
    refused(call, 409, "version_not_kept")


def test_the_archive_for_the_user_has_it_and_forgetting_them_leaves_nothing(admin: Person, user: User) -> None:
    phone, _ = delete(user)
    exported = admin.call("GET", admin.users(f"/{user_id(user)}/export"))
    with zipfile.ZipFile(io.BytesIO(exported.content)) as archive:
        lines = [json.loads(line) for line in archive.read("history.jsonl").splitlines()]
    assert [line["old_data"] for line in lines if line["operation"] == "D"] == [
        {"rowguid": "1", "title": "Grandma's recipe"}
    ]
    assert user.history()
    phone.unregister(delete_remote_data=True)
    assert not user.history()


def test_what_an_edit_replaced_is_not_kept(user: User) -> None:
    phone = user.device()
    phone.insert(*NOTE, {"title": "secret draft"})
    phone.sync()
    phone.update(*NOTE, {"title": "final"})
    phone.sync()
    phone.pull([])
    phone.push([change("U", "1", phone.clock(), {"title": "final 2"}, table="notes")])
    assert "draft" not in str([user.rows(), user.history(), user.overridden()])
