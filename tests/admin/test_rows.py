"""Browsing rows, their history, and bringing versions back, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from admin.people import NewPerson, Person, data, refused
from device import Device
from sync_server.stored.versions import RowKey
from users import NewUser, User, change, sync_all

NOTE = ("notes", "1")
WEEK = 7 * 86_400_000


@pytest.fixture(scope="module")
def technician(new_person: NewPerson) -> Person:
    return new_person("technician")


def rows(person: Person, path: str = "", resource: str = "rows") -> str:
    return f"/realms/{person.realm}/{resource}{path}"


def user_id(user: User) -> str:
    [found] = user.connection.execute("SELECT id FROM sync.users WHERE email = %s", [user.email]).fetchall()
    return str(found["id"])


def walk(person: Person, path: str, **parameters: Any) -> list[Any]:
    """All pages, one after the other."""
    found: list[Any] = []
    cursor: dict[str, Any] = {}
    for _ in range(1000):
        answer = person.call("GET", path, params={**parameters, **cursor})
        found += data(answer)
        following = answer.json()["meta"]["pagination"]["next"]
        if following is None:
            return found
        cursor = {"cursor": following}
    raise AssertionError("no end")


def conflict(user: User) -> tuple[Device, Device]:
    """Two phones with a note, of which "theirs" lost."""
    phone, tablet = user.device(), user.device()
    phone.insert(*NOTE, {"title": "first"})
    sync_all(phone, tablet)
    tablet.update(*NOTE, {"title": "theirs"})
    phone.update(*NOTE, {"title": "ours"})
    sync_all(phone, tablet)
    return phone, tablet


def test_a_note_that_lost_a_conflict_last_week_is_found_and_comes_back_to_both_phones(
    technician: Person, user: User
) -> None:
    """The scenario of an operator whom somebody calls: "my note is gone"."""
    phone, tablet = conflict(user)
    back = "UPDATE sync.overridden SET stamp = stamp - %s WHERE space_id = %s"
    user.connection.execute(back, (WEEK, user.space_id))
    for device in (phone, tablet):
        assert device.state.rows == {NOTE: {"title": "ours"}}

    [found] = technician.get(f"/realms/{technician.realm}/users", search=user.email)
    day = datetime.now(UTC) - timedelta(days=7, hours=1)
    wanted = {"user": found["id"], "since": day.isoformat(), "until": (day + timedelta(hours=2)).isoformat()}
    [lost] = technician.get(rows(technician, resource="overridden"), **wanted)
    assert (lost["user"]["email"], lost["table"], lost["rowguid"]) == (user.email, *NOTE)
    assert ("theirs" in lost["lost"]["preview"], "ours" in lost["stored"]["preview"]) == (True, True)
    assert lost["lost"]["by"] == {"client_id": tablet.client_id, "name": "Ann's phone", "operator": False}
    both = technician.get(rows(technician, f"/{lost['id']}", "overridden"))
    assert (both["lost"]["title"], both["stored"]["title"]) == ("theirs", "ours")
    told = {**both, "lost": both["lost_version"], "stored": both["stored_version"]}
    assert {name: told[name] for name in lost} == lost, "who, when and where, as in the list"

    restored = data(technician.call("POST", rows(technician, f"/{lost['id']}/restore", "overridden")))
    assert restored["changed"] is True
    sync_all(phone, tablet)
    for device in (phone, tablet):
        assert device.state.rows == {NOTE: {"title": "theirs"}}
    assert technician.get(rows(technician, resource="overridden"), **wanted) == []
    [settled] = technician.get(rows(technician, resource="overridden"), show="all", **wanted)
    assert settled["settled"] == "restored"
    assert technician.get(rows(technician, f"/{lost['id']}", "overridden"))["settled"] == "restored"
    again = data(technician.call("POST", rows(technician, f"/{lost['id']}/restore", "overridden")))
    assert again == {**restored, "changed": False}


def test_what_was_restored_is_told_by_the_audit_log(technician: Person, user: User) -> None:
    conflict(user)
    [lost] = technician.get(rows(technician, resource="overridden"), user=user_id(user))
    for _ in range(2):
        data(technician.call("POST", rows(technician, f"/{lost['id']}/restore", "overridden")))
    found = user.connection.execute(
        "SELECT l.user_id, l.action, d.content, d.subject_id FROM sync.audit_lines l"
        " JOIN sync.audit_details d ON d.chain_id = l.chain_id AND d.number = l.number WHERE l.entity_id = %s",
        [lost["row"]],
    ).fetchall()
    [line] = found
    assert (str(line["user_id"]), line["action"]) == (technician.id, "overridden.restore")
    assert str(line["subject_id"]) == user_id(user)
    assert line["content"].index("ours") < line["content"].index("theirs")


def test_a_conflict_can_be_dismissed_and_the_version_stays(technician: Person, user: User) -> None:
    conflict(user)
    of = {"user": user_id(user)}
    [lost] = technician.get(rows(technician, resource="overridden"), **of)
    path, realm = rows(technician, f"/{lost['id']}/dismiss", "overridden"), f"/realms/{technician.realm}"
    before = technician.get(realm)["counts"]
    assert data(technician.call("POST", path)) == {"changed": True}
    after = technician.get(realm)["counts"]
    assert (before["open_overridden"] - after["open_overridden"], before["overridden"]) == (1, after["overridden"])
    assert data(technician.call("POST", path)) == {"changed": False}
    assert technician.get(rows(technician, resource="overridden"), **of) == []
    assert data(technician.call("POST", path.replace("dismiss", "restore")))["changed"] is True


def test_pages_of_conflicts_give_each_once_the_latest_first(technician: Person, user: User) -> None:
    phone, tablet = user.device(), user.device()
    for number in range(3):
        for device, title, date in ((tablet, "theirs", 1), (phone, "ours", 2)):
            device.pull([])
            device.push([change("I", str(number), date, {"title": title}, table="notes")], cursor=0)
    expected = [str(line["id"]) for line in reversed(user.overridden())]
    for limit in (1, 2, 3):
        for show in ("open", "all"):
            path = rows(technician, resource="overridden")
            found = walk(technician, path, limit=limit, show=show, user=user_id(user))
            assert [one["id"].rpartition(".")[2] for one in found] == expected
    assert len(expected) == 3


def test_a_row_is_shown_with_its_history_and_its_versions(technician: Person, user: User) -> None:
    phone, _ = conflict(user)
    [found] = technician.get(rows(technician), user=user_id(user))
    assert (found["table"], found["rowguid"], found["version"]["operation"]) == (*NOTE, "U")
    assert found["version"]["preview"] == '{"rowguid":"1","title":"ours"}'
    assert found["version"]["by"]["client_id"] == phone.client_id
    full = technician.get(rows(technician, f"/{found['id']}"))
    assert (full["data"], len(full["overridden"])) == ({"rowguid": "1", "title": "ours"}, 1)
    history = walk(technician, rows(technician, f"/{found['id']}/history"), limit=1)
    assert [line["version"]["operation"] for line in history] == ["U", "I"]
    assert [line["complete"] for line in history] == [False, False]
    version = full["overridden"][0]["id"]
    assert technician.get(rows(technician, f"/{found['id']}/versions/{version}"))["data"]["title"] == "theirs"


def test_a_version_is_restored_only_if_the_row_is_as_it_was_looked_at(technician: Person, user: User) -> None:
    phone, tablet = conflict(user)
    row = RowKey(user.space_id, *NOTE).id
    looked = technician.call("GET", rows(technician, f"/{row}"))
    version = data(looked)["overridden"][0]["id"]
    phone.update(*NOTE, {"title": "later"})
    phone.sync()
    call = ("POST", rows(technician, f"/{row}/restore"))
    for etag in (looked.headers["ETag"], '"x"', "", "9" * 5000, '"²"'.encode()):
        refused(technician.call(*call, json={"version": version}, headers={"If-Match": etag}), 412, "row_changed")
    present = technician.call("GET", rows(technician, f"/{row}")).headers["ETag"]
    done = data(technician.call(*call, json={"version": version}, headers={"If-Match": present}))
    assert done["changed"] is True
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows == {NOTE: {"title": "theirs"}}


def test_a_version_whose_data_was_not_kept_is_refused(technician: Person, user: User) -> None:
    conflict(user)
    row = RowKey(user.space_id, *NOTE).id
    version = technician.get(rows(technician, f"/{row}/history"))[-1]["id"]
    call = technician.call("POST", rows(technician, f"/{row}/restore"), json={"version": version})
    refused(call, 409, "version_not_kept")


def test_filters_and_pages_give_each_row_once_the_latest_first(technician: Person, user: User) -> None:
    phone = user.device()
    for number in range(7):
        phone.insert("todos" if number % 2 else "notes", str(number), {"title": f'Title {number} é "x"'})
        phone.sync()
    phone.delete("notes", "0")
    phone.sync()
    of = {"user": user_id(user)}
    for limit in (1, 3, 7, 200):
        found = walk(technician, rows(technician), limit=limit, **of)
        assert [row["rowguid"] for row in found] == ["0", "6", "5", "4", "3", "2", "1"]
    assert [row["rowguid"] for row in technician.get(rows(technician), table="todos", **of)] == ["5", "3", "1"]
    assert [row["rowguid"] for row in technician.get(rows(technician), search="TITLE 3", **of)] == ["3"]
    assert [row["rowguid"] for row in technician.get(rows(technician), search='3 É "x"', **of)] == ["3"]
    assert technician.get(rows(technician), search="%", **of) == []
    assert [row["rowguid"] for row in technician.get(rows(technician), deleted=True, **of)] == ["0"]
    third = found[4]["version"]["at"]
    assert [row["rowguid"] for row in technician.get(rows(technician), until=third, **of)] == ["2", "1"]
    assert len(technician.get(rows(technician), since=third, **of)) == 5


def test_pages_of_the_whole_realm_give_each_row_once(technician: Person, new_user: NewUser) -> None:
    users = [new_user() for _ in range(3)]
    tag = uuid4().hex
    for user in users:
        phone = user.device()
        for number in range(3):
            phone.insert("todos", f"{tag} {number}", {"title": "x"})
        phone.sync()
    found = walk(technician, rows(technician), search=tag, limit=2)
    assert len(found) == len({row["id"] for row in found}) == 9
    assert {row["user"]["email"] for row in found} == {user.email for user in users}


@pytest.mark.parametrize("data_sent", ['"\\u0000"', '"\\ud800"', "1.0", "123456789012345678901", "{}", '"é☃😀"'])
def test_data_is_shown_and_restored_as_it_was_sent(technician: Person, user: User, data_sent: str) -> None:
    """G9 for operators, too."""
    conflict(user)
    text = f'{{"title":{data_sent}}}'
    user.connection.execute("UPDATE sync.overridden SET row_data = %s WHERE space_id = %s", (text, user.space_id))
    [lost] = technician.get(rows(technician, resource="overridden"), user=user_id(user))
    answer = technician.call("GET", rows(technician, f"/{lost['id']}", "overridden"))
    assert text.encode() in answer.content
    data(technician.call("POST", rows(technician, f"/{lost['id']}/restore", "overridden")))
    assert user.rows()[NOTE]["row_data"] == text


@pytest.mark.parametrize("of", ["x", "%00", "A" * 40, "é"])
def test_what_there_is_not_is_not_found(technician: Person, of: str) -> None:
    for path in ("", "/history", "/versions/h1.1"):
        refused(technician.call("GET", rows(technician, f"/{of}{path}")), 404, "row_not_found")
    nowhere = RowKey(uuid4(), "t", "1").id
    refused(technician.call("GET", rows(technician, f"/{nowhere}")), 404, "row_not_found")
    refused(technician.call("GET", rows(technician, f"/{nowhere}/versions/{of}")), 404, "version_not_found")
    for call in ("GET", "POST"):
        path = f"/{nowhere}.{uuid4()}" + ("/restore" if call == "POST" else "")
        assert technician.call(call, rows(technician, path, "overridden")).status_code == 404
    refused(technician.call("GET", rows(technician), params={"user": str(uuid4())}), 404, "user_not_found")


def test_another_realms_rows_are_not_there(new_person: NewPerson, user: User) -> None:
    conflict(user)
    stranger = new_person("technician", realm="other")
    row = RowKey(user.space_id, *NOTE).id
    refused(stranger.call("GET", rows(stranger, f"/{row}")), 404, "row_not_found")
    refused(stranger.call("GET", f"/realms/main/rows/{row}"), 403, "forbidden")


def test_a_change_that_was_kept_aside_is_shown_restored_and_dismissed(technician: Person, user: User) -> None:
    phone, tablet = user.device(), user.device()
    kept = [{"operation": "I", "rowguid": f"{n}", "tablename": "notes", "rowData": {"title": "fine"}} for n in (1, 2)]
    phone.pull([])
    phone.push([{**kept[0], "clientdate": "yesterday"}, {**kept[1], "clientdate": "today"}])
    path, of = rows(technician, resource="kept-aside"), {"user": user_id(user)}
    listed = walk(technician, path, limit=1, **of)
    assert {one["reason"] for one in listed} == {"invalid_clientdate"}
    [first] = [one for one in listed if "yesterday" in one["preview"]]
    assert technician.get(f"{path}/{first['id']}")["change"]["clientdate"] == "yesterday"
    refused(technician.call("POST", f"{path}/{first['id']}/restore"), 409, "still_unstorable")
    mended = "UPDATE sync.kept_aside SET change = replace(change, '\"yesterday\"', '7') WHERE id = %s"
    user.connection.execute(mended, [first["id"]])  # as if a limit had been raised
    assert data(technician.call("POST", f"{path}/{first['id']}/restore"))["changed"] is True
    assert data(technician.call("POST", f"{path}/{first['id']}/restore"))["changed"] is False
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows == {NOTE: {"title": "fine"}}
    [second] = technician.get(path, **of)
    assert data(technician.call("POST", f"{path}/{second['id']}/dismiss")) == {"changed": True}
    assert technician.get(path, **of) == []
    assert len(technician.get(path, show="all", **of)) == 2
    refused(technician.call("POST", f"{path}/{uuid4()}/dismiss"), 404, "change_not_found")


@pytest.mark.parametrize(
    "wrong",
    [{"since": "yesterday"}, {"user": "1"}, {"deleted": "perhaps"}, {"table": "x" * 256}, {"search": "x" * 256}],
)
def test_filters_are_validated(technician: Person, wrong: dict[str, str]) -> None:
    details = refused(technician.call("GET", rows(technician), params=wrong), 422, "invalid")
    assert list(details["fields"]) == list(wrong)


def test_times_at_the_end_of_time_are_no_fault(technician: Person, user: User) -> None:
    conflict(user)
    user.connection.execute("UPDATE sync.rows SET client_date = 8640000000000000 WHERE space_id = %s", (user.space_id,))
    [found] = technician.get(
        rows(technician), user=user_id(user), since="0001-01-01T00:00:00Z", until="9999-12-31T23:59:59Z"
    )
    assert found["version"]["client_date"] is None
    for path in ("rows", "overridden", "kept-aside"):
        for times in ({"since": "0001-01-01T00:00:00+14:00"}, {"until": "9999-12-31T23:59:59-14:00"}):
            answer = technician.call("GET", rows(technician, resource=path), params={**times, "limit": 1})
            assert answer.status_code in (200, 422), answer.text


@pytest.mark.parametrize("text", ["%00", "%ED%A0%80", "%FF", "%F0%9F%98%80", "%5C", "%22"])
def test_strange_text_is_no_fault(technician: Person, text: str) -> None:
    for parameter in ("search", "table", "user", "since"):
        answer = technician.call("GET", f"{rows(technician)}?{parameter}={text}")
        assert answer.status_code in (200, 400, 422), answer.text
    for path in (f"/{text}", f"/{text}/versions/{text}"):
        assert technician.call("GET", rows(technician, path)).status_code in (400, 404)
    for path in (f"/{text}", f"/A.{text}"):
        assert technician.call("GET", rows(technician, path, "overridden")).status_code in (400, 404)
