"""A user with the role viewer gets what others write, and is told why their own edits stay on the device."""

from __future__ import annotations

import pytest

from device import Device, Refused
from users import User, change
from wire import Answer, Request, Send


def take_role(user: User, role: str) -> None:
    user.connection.execute("UPDATE sync.users SET role = %s WHERE email = %s", (role, user.email))


@pytest.fixture
def phone(user: User) -> Device:
    """Of a viewer who has been a user before, and has a row."""
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    take_role(user, "viewer")
    return phone


class Counting:
    """Counts the calls that go out."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, request: Request, send: Send) -> Answer:
        self.paths.append(request.path.split("/")[1])
        return send(request)


def write_elsewhere(user: User, guid: str) -> None:
    """As somebody else who shares the space does."""
    take_role(user, "user")
    other = user.device()
    other.sync()
    other.save("todos", guid, {"title": "bread"})
    other.sync()
    take_role(user, "viewer")


def test_a_viewer_without_edits_syncs_to_the_end(user: User, phone: Device) -> None:
    write_elsewhere(user, "2")
    before = phone.state.cursor
    phone.sync()
    assert phone.state.rows["todos", "2"] == {"title": "bread"}
    assert phone.state.cursor is not None
    assert before is not None
    assert phone.state.cursor > before
    phone.sync()
    assert phone.pulled == []


def test_an_edit_is_refused_with_a_reason_and_stays_on_the_device(user: User, phone: Device) -> None:
    phone.update("todos", "1", {"title": "my own"})
    with pytest.raises(Refused, match="may read but not change") as refused:
        phone.sync()
    assert refused.value.status == 422
    assert [entry.key for entry in phone.state.log] == [("todos", "1")]
    assert "milk" in user.rows()["todos", "1"]["row_data"]
    assert not user.overridden()


def test_the_refusal_makes_no_client_log_in_again(phone: Device) -> None:
    """sync_client sends a refused call once more uncompressed; 403 would have it refresh, log in and give up."""
    phone.update("todos", "1", {"title": "my own"})
    counting = Counting()
    phone.transport = counting
    with pytest.raises(Refused):
        phone.sync()
    assert counting.paths == ["login", "pull", "login", "push", "push", "login", "cancelSync"]


def test_pulls_go_on_while_edits_wait(user: User, phone: Device) -> None:
    phone.insert("todos", "mine", {"title": "waits"})
    for guid in ("2", "3"):
        write_elsewhere(user, guid)
        with pytest.raises(Refused, match="may read but not change"):
            phone.sync()
        assert phone.state.rows["todos", guid] == {"title": "bread"}
    assert len(phone.state.log) == 1


def test_the_sync_under_way_ends(user: User, phone: Device) -> None:
    phone.insert("todos", "mine", {"title": "waits"})
    with pytest.raises(Refused, match="may read but not change"):
        phone.sync()
    assert user.client(phone)["sync_to"] is None


def test_the_edits_come_when_the_user_may_write_again(user: User, phone: Device) -> None:
    phone.insert("todos", "mine", {"title": "waits"})
    with pytest.raises(Refused):
        phone.sync()
    take_role(user, "user")
    phone.sync()
    assert "waits" in user.rows()["todos", "mine"]["row_data"]


@pytest.mark.parametrize("role", ["user", "technician", "admin", "owner"])
def test_others_push(user: User, phone: Device, role: str) -> None:
    take_role(user, role)
    phone.update("todos", "1", {"title": role})
    phone.sync()
    assert role in user.rows()["todos", "1"]["row_data"]


def test_every_part_of_a_push_is_refused(user: User, phone: Device) -> None:
    phone.part = 2
    for number in range(5):
        phone.insert("notes", str(number), {"title": "x"})
    with pytest.raises(Refused, match="may read but not change"):
        phone.sync()
    assert len(user.rows()) == 1


def test_what_cannot_be_stored_is_not_kept_aside_either(user: User, phone: Device) -> None:
    phone.pull([], 0)
    with pytest.raises(Refused, match="may read but not change"):
        phone.push([change("I", "a\0b", 1, {"title": "x"})])
    assert not user.kept_aside()


def test_a_push_whose_answer_was_lost_is_answered_again(user: User, phone: Device) -> None:
    """It was stored while the user still was one."""
    take_role(user, "user")
    phone.insert("todos", "2", {"title": "stored"})
    changes = phone.pending()
    phone.pull(changes)
    answer = phone.push(changes)
    take_role(user, "viewer")
    assert phone.push(changes) == answer
