"""The turns of a sync: pull, push, cancel, and what is refused when they come in another order."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from device import Change, Device, Refused
from users import User, at, change, sync_all
from wire import Answer, Crash, On, Request, Send, Transport, crash_after, direct, encode, lose_answer, meanwhile


def insert(device: Device, guid: str) -> None:
    device.insert("todos", guid, {"title": guid})


def hold_and_crash(held_up: list[Request]) -> Transport:
    """The app is killed, and its request is held up somewhere."""

    def transport(request: Request, _send: Send) -> Answer:
        held_up.append(request)
        raise Crash

    return transport


def test_a_push_without_a_pull_is_refused(user: User) -> None:
    phone = user.device()
    with pytest.raises(Refused, match="You should pull before pushing"):
        phone.push([change("I", "1", 1, {"title": "milk"})])
    assert not user.rows()


def test_a_push_after_the_end_of_its_sync_is_refused(user: User) -> None:
    phone = user.device()
    phone.sync()
    with pytest.raises(Refused, match="You should pull before pushing"):
        phone.push([change("I", "1", 1, {"title": "milk"})])
    assert not user.rows()


def test_a_push_after_cancel_sync_is_refused(user: User) -> None:
    phone = user.device()
    phone.pull()
    phone.cancel()
    with pytest.raises(Refused, match="You should pull before pushing"):
        phone.push([change("I", "1", 1, {"title": "milk"})])
    assert not user.rows()


def test_a_pull_while_another_sync_of_the_client_is_under_way_is_refused(user: User) -> None:
    phone = user.device()
    phone.pull([])
    with pytest.raises(Refused, match="already syncing") as refusal:
        phone.pull([change("U", "1", 1)])
    assert refusal.value.status not in (403, 404)
    with pytest.raises(Refused, match="already syncing"):
        phone.pull([], cursor=7)
    phone.push([])  # the first one goes on


@pytest.mark.parametrize("other", [change("D", "1", 1), change("U", "1", 2), change("U", "2", 1)])
def test_a_pull_that_differs_in_one_pending_change_is_another_one(user: User, other: Change) -> None:
    phone = user.device()
    phone.pull([change("U", "1", 1)])
    with pytest.raises(Refused, match="already syncing"):
        phone.pull([other])


def test_syncs_of_two_clients_do_not_wait_for_each_other(user: User) -> None:
    phone, tablet = user.device(), user.device()
    phone.pull([])
    tablet.pull([])
    phone.push([change("I", "1", 1, {"title": "milk"})])
    tablet.push([change("I", "2", 1, {"title": "bread"})])
    sync_all(phone, tablet)
    assert len(phone.state.rows) == len(tablet.state.rows) == 2


def test_the_same_pull_again_goes_on_with_the_sync_under_way(user: User) -> None:
    phone, tablet = user.device(), user.device()
    insert(tablet, "1")
    tablet.sync()
    insert(phone, "mine")
    first = phone.pull()
    number, to = user.client(phone)["sync_number"], user.client(phone)["sync_to"]
    insert(tablet, "2")
    tablet.sync()
    assert phone.pull() == first
    assert (user.client(phone)["sync_number"], user.client(phone)["sync_to"]) == (number + 1, to)
    phone.push(phone.pending())
    assert user.rows().keys() == {("todos", "1"), ("todos", "2"), ("todos", "mine")}


def test_what_a_crashed_attempt_had_sent_does_not_mix_with_the_next(user: User) -> None:
    """An edit of a row that the server does not know keeps the insert's date, so both attempts' pulls say the same."""
    phone = user.device()
    held_up: list[Request] = []
    insert(phone, "1")
    phone.transport = On("/push", hold_and_crash(held_up))
    with pytest.raises(Crash):
        phone.sync()
    phone.update("todos", "1", {"title": "the latest"})
    phone.transport = direct
    phone.pull()
    phone.push(phone.pending(), partial=True)
    assert phone.send(held_up[0]).status == 409
    phone.push([])
    assert "the latest" in user.rows()["todos", "1"]["row_data"]


def test_the_pull_whose_answer_was_lost_is_answered_again(user: User) -> None:
    phone, tablet = user.device(), user.device()
    insert(tablet, "1")
    tablet.sync()
    phone.transport = On("/pull", lose_answer)
    phone.sync()
    assert ("todos", "1") in phone.state.rows


def test_after_a_crash_the_same_sync_can_be_run_at_once(user: User) -> None:
    """The app was killed while it waited for the pull's answer; it starts again, with nothing changed."""
    phone = user.device()
    insert(phone, "1")
    phone.transport = On("/pull", crash_after)
    with pytest.raises(Crash):
        phone.sync()
    phone.sync()
    assert len(user.history()) == 1


def test_after_a_crash_and_an_edit_a_sync_has_to_wait_for_two_minutes(user: User) -> None:
    phone = user.device()
    insert(phone, "1")
    phone.transport = On("/pull", crash_after)
    with pytest.raises(Crash):
        phone.sync()
    insert(phone, "2")
    with pytest.raises(Refused, match="already syncing"):
        phone.sync()
    assert len(phone.state.log) == 2
    # cancelSync, which the client sends after the refusal, ends the sync that the crash left behind
    phone.sync()
    assert len(user.history()) == 2


def test_after_two_minutes_a_new_pull_takes_the_place_of_the_sync_under_way(user: User) -> None:
    phone = user.device()
    phone.pull([])
    number = user.client(phone)["sync_number"]
    user.two_minutes_pass(phone)
    phone.pull([change("U", "1", 1)])
    assert user.client(phone)["sync_number"] == number + 1
    phone.push([change("U", "1", 1, {"title": "milk"})])


@pytest.mark.parametrize("which", ["earlier", "very"])
def test_a_copy_of_a_pull_does_not_take_the_place_of_a_slow_sync(user: User, which: str) -> None:
    """Held up until then. Else the push would belong to the sync of the copy: what came between is never heard of."""
    phone, tablet = user.device(), user.device()
    held_up: list[Request] = []
    phone.transport = On("/pull", keep_copy(held_up), times=2)
    if which == "earlier":
        phone.sync()
        insert(phone, "1")
    phone.pull()
    user.two_minutes_pass(phone)
    insert(tablet, "2")
    tablet.sync()
    answer = phone.send(held_up[0])
    if which == "earlier":
        assert answer.status == 409
    else:
        assert b'"2"' not in answer.body  # it goes on, up to the clock of then
    phone.push(phone.pending())
    phone.state.log.clear()
    sync_all(phone, tablet)
    assert ("todos", "2") in phone.state.rows
    assert phone.state.rows.keys() == tablet.state.rows.keys() | {("todos", "2")}


def keep_copy(held_up: list[Request]) -> Transport:
    def transport(request: Request, send: Send) -> Answer:
        held_up.append(request)
        return send(request)

    return transport


def test_a_client_that_keeps_its_token_takes_the_place_of_its_sync_too(user: User) -> None:
    """Up to 1.3, for a day: the number in it is of long ago."""
    phone = user.device()
    phone.fetch_token()
    token = f"Bearer {phone.state.access}"

    def pull(*changes: Change) -> int:
        answer = phone.call(f"/pull/{phone.realm}", phone.body(changes, 0, None), token)
        assert answer["data"] == []
        return int(user.client(phone)["sync_number"])

    first = pull()
    with pytest.raises(Refused, match="already syncing"):
        pull(change("U", "1", 1))
    user.two_minutes_pass(phone)
    assert pull() == first  # the same pull goes on
    assert pull(change("U", "1", 1)) == first + 1
    phone.call(f"/push/{phone.realm}", phone.body([change("U", "1", 1, {"title": "milk"})], 0, None), token)
    assert user.rows().keys() == {("todos", "1")}


def test_before_two_minutes_have_passed_it_does_not(user: User) -> None:
    phone = user.device()
    phone.pull([])
    back = "UPDATE sync.syncs SET sync_started = sync_started - 100000 WHERE client_id = %s"
    user.connection.execute(back, (phone.client_id,))
    with pytest.raises(Refused, match="already syncing"):
        phone.pull([change("U", "1", 1)])


def test_a_sync_that_takes_longer_than_two_minutes_pushes_to_its_end(user: User) -> None:
    phone, tablet = user.device(), user.device()
    for number in range(250):
        insert(phone, f"{number}")
    phone.transport = On("/push", meanwhile(lambda: user.two_minutes_pass(phone)), times=3)
    sync_all(phone, tablet)
    assert tablet.state.rows == phone.state.rows
    assert len(tablet.state.rows) == 250


def test_the_pushes_of_a_sync_whose_place_was_taken_are_refused(user: User) -> None:
    """The device hangs in a push; it is started again, and what hung arrives when the next sync is under way."""
    phone = user.device()
    phone.pull([])
    hung = phone.state.access
    user.two_minutes_pass(phone)
    phone.pull([change("U", "1", 1)])
    new, phone.state.access = phone.state.access, hung
    with pytest.raises(Refused, match="You should pull before pushing"):
        phone.call(f"/push/{phone.realm}", phone.body([change("D", "1", 1)], 0, None), f"Bearer {hung}")
    phone.state.access = new
    phone.push([change("U", "1", 1, {"title": "milk"})])
    assert user.rows()["todos", "1"]["operation"] == "U"


def test_a_push_with_the_token_of_its_pull_belongs_to_it(user: User) -> None:
    """Clients up to 1.3 use one token for a day, with the number of a sync long past."""
    phone = user.device()
    phone.fetch_token()
    token = f"Bearer {phone.state.access}"
    phone.call(f"/pull/{phone.realm}", phone.body([], 0, None), token)
    changes = [change("I", "1", 1, {"title": "milk"})]
    answer = phone.call(f"/push/{phone.realm}", phone.body(changes, 0, None), token)
    assert answer["lastSync"] == user.clock


def test_cancel_sync_succeeds_whether_or_not_a_sync_is_under_way(user: User) -> None:
    phone = user.device()
    for _ in range(2):
        assert phone.authenticated(f"/cancelSync/{phone.realm}", {"clientId": phone.client_id}) is not None
    phone.pull()
    phone.authenticated(f"/cancelSync/{phone.realm}", {"clientId": phone.client_id})
    assert user.client(phone)["sync_started"] is None


def test_the_cursor_is_the_clock_of_the_space_and_comes_back_as_it_is(user: User) -> None:
    phone = user.device()
    phone.sync()
    assert phone.state.cursor == user.clock == 0
    insert(phone, "1")
    phone.sync()
    assert phone.state.cursor == user.clock > 0
    before = user.clock
    phone.sync()
    assert phone.state.cursor == user.clock == before


def test_the_clock_never_goes_back(user: User) -> None:
    phone = user.device()
    ahead = 8_000_000_000_000_000
    user.set_clock(ahead)
    insert(phone, "1")
    phone.sync()
    assert phone.state.cursor == user.clock == ahead + 1


def test_an_edit_of_a_device_without_a_clock_is_an_edit(user: User) -> None:
    """The dates of a phone whose battery was empty: 1970."""
    phone, tablet = user.device(clock=at(0)), user.device(clock=at(0))
    insert(phone, "1")
    sync_all(phone, tablet)
    tablet.update("todos", "1", {"title": "again"})
    sync_all(tablet, phone)
    assert phone.state.rows["todos", "1"] == {"title": "again"}


def test_the_rows_of_a_device_that_registers_are_pushed(user: User) -> None:
    """And mixed with those that the user's other devices already have."""
    phone = user.device()
    insert(phone, "1")
    phone.sync()
    late = Device(user.send, user.realm)
    late.insert("todos", "2", {"title": "from before"})
    late.register(user.email, user.password, new=False)
    user.devices.append(late)
    assert [change["operation"] for change in late.pending()] == ["I"]
    sync_all(late, phone)
    assert phone.state.rows == late.state.rows
    assert len(late.state.rows) == 2


# Calls of one client that arrive at once run one after the other.


def test_a_pull_that_arrives_while_a_push_is_running_begins_after_it(user: User) -> None:
    phone = user.device()
    phone.pull([])
    user.two_minutes_pass(phone)
    changes = [change("I", "1", 1, {"title": "milk"})]
    with ThreadPoolExecutor(2) as pool:
        with user.connection.transaction():
            user.connection.execute("SELECT clock FROM sync.spaces WHERE id = %s FOR UPDATE", (user.space_id,))
            pushing = pool.submit(send_copy, phone, "push", changes)
            wait_until_one_waits(user)
            pulling = pool.submit(send_copy, phone, "pull", [change("U", "2", 1)])
            time.sleep(0.2)
        assert pushing.result().status == pulling.result().status == 200
    phone.push([change("U", "2", 1, {"title": "bread"})])
    assert len(user.rows()) == 2


def test_of_two_equal_pulls_that_arrive_at_once_one_goes_on_with_the_sync_of_the_other(user: User) -> None:
    phone = user.device()
    phone.sync()
    number = user.client(phone)["sync_number"]
    with ThreadPoolExecutor(2) as pool:
        with user.connection.transaction():
            user.connection.execute("SELECT id FROM sync.clients WHERE id = %s FOR UPDATE", (phone.client_id,))
            pulls = [pool.submit(send_copy, phone, "pull", []) for _ in range(2)]
            time.sleep(0.3)
        assert [pull.result().status for pull in pulls] == [200, 200]
    assert user.client(phone)["sync_number"] == number + 1


def send_copy(phone: Device, call: str, changes: list[Change]) -> Answer:
    """A call with the token that the device has: it is not the device that sends it at this moment."""
    body = encode(phone.body(changes, 0, None))
    return phone.send(Request(f"/{call}/{phone.realm}", body, f"Bearer {phone.state.access}"))


def wait_until_one_waits(user: User) -> None:
    """Until a transaction of the server waits for a lock that this test holds."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    for _ in range(2000):
        # within a transaction PostgreSQL lists the connections of the first look; a pooler opens others
        user.connection.execute("SELECT pg_stat_clear_snapshot()")
        if user.connection.execute(waiting).fetchall():
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")
