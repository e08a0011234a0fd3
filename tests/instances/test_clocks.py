"""What a server decides by time comes out the same on all of them, though one is an hour ahead and one an hour behind."""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accounts.outbox import Outbox
from device import Device, Refused, Unauthorized, wall_clock
from instances.fleet import Fleet, configuration, fleet
from instances.uploading import UploadingDevice
from postgres import Postgres
from users import User, at, change, sync_all
from wire import Request, Wire, encode, new_email

MINUTE = 60_000
AHEAD, RIGHT, BEHIND = 0, 1, 2
PAIRS = pytest.mark.parametrize(
    ("first", "second"), [(AHEAD, BEHIND), (BEHIND, AHEAD), (RIGHT, BEHIND), (AHEAD, RIGHT)]
)


def to(device: Device, wire: Wire) -> Device:
    """The device, whose calls reach this server from now on."""
    device.send = wire.send
    return device


@PAIRS
def test_g4_the_later_of_two_edits_wins_whichever_servers_they_reach(
    skewed: Fleet, user: User, first: int, second: int
) -> None:
    phone, tablet = user.device(clock=at(wall_clock() - 180 * MINUTE)), user.device()
    phone.insert("todos", "1", {"title": "known to both"})
    sync_all(phone, tablet)
    phone.clock, tablet.clock = at(wall_clock() - 1000), at(wall_clock() - 30 * MINUTE)
    phone.update("todos", "1", {"title": "later"})
    tablet.update("todos", "1", {"title": "earlier"})
    to(phone, skewed.wires[first]).sync()
    to(tablet, skewed.wires[second]).sync()
    sync_all(phone, tablet)
    assert phone.state.rows == tablet.state.rows == {("todos", "1"): {"title": "later"}}
    assert [line["row_data"] for line in user.overridden()] == ['{"rowguid":"1","title":"earlier"}']


@PAIRS
def test_g4_edits_without_a_date_are_as_late_as_their_push(skewed: Fleet, user: User, first: int, second: int) -> None:
    phone, tablet = user.device(), user.device()
    to(tablet, skewed.wires[second]).pull([])  # has not seen what the phone pushes now
    for device, wire, title in ((phone, skewed.wires[first], "earlier"), (tablet, skewed.wires[second], "later")):
        undated = {**change("I", "1", 0, {"rowguid": "1", "title": title}), "clientdate": None}
        if device is phone:
            to(device, wire).pull([])
        device.push([undated])
        time.sleep(0.01)
    assert user.rows()["todos", "1"]["row_data"] == '{"rowguid":"1","title":"later"}'


def test_stamps_are_near_the_time_whichever_server_gives_them(skewed: Fleet, user: User) -> None:
    phone = user.device()
    for number, wire in enumerate(skewed.wires):
        phone.insert("todos", f"{number}", {"title": "x"})
        to(phone, wire).sync()
        assert abs(user.clock - wall_clock()) < MINUTE


@PAIRS
def test_a_sync_under_way_is_no_other_servers_to_end(skewed: Fleet, user: User, first: int, second: int) -> None:
    phone = user.device()
    to(phone, skewed.wires[first]).pull([])
    with pytest.raises(Refused, match="already syncing"):
        to(phone, skewed.wires[second]).pull([change("D", "1", 1)])
    user.two_minutes_pass(phone)
    phone.pull([change("D", "1", 1)])
    assert phone.push([]) is not None


@PAIRS
def test_parts_of_an_upload_find_together(skewed: Fleet, user: User, first: int, second: int) -> None:
    """An upload is thrown away after an hour. These servers' clocks are as far apart, or twice as far."""
    phone = user.join(UploadingDevice(user.send, user.realm))
    turns = itertools.cycle((skewed.wires[first], skewed.wires[second]))
    phone.transport = lambda request, _: next(turns).send(request)
    phone.insert("todos", "1", {"title": "x" * 50})
    phone.sync()
    assert user.rows().keys() == {("todos", "1")}


@PAIRS
def test_a_refresh_token_is_replaced_after_five_minutes_of_the_databases_time(
    skewed: Fleet, user: User, first: int, second: int
) -> None:
    phone = to(user.device(), skewed.wires[first])
    phone.login()
    login = phone.state.refresh
    to(phone, skewed.wires[second]).refresh()
    before = _token_id(user, phone)
    user.connection.execute(
        "UPDATE sync.clients SET refresh_issued = refresh_issued - 301000 WHERE id = %s", [phone.client_id]
    )
    phone.refresh()
    after = _token_id(user, phone)
    assert after != before
    to(phone, skewed.wires[first]).refresh()
    assert _token_id(user, phone) == after
    phone.state.refresh = login  # a copy that is two tokens old
    with pytest.raises(Unauthorized):
        phone.call("/login/main/refreshToken", {"refreshToken": login})


def _token_id(user: User, device: Device) -> str:
    return str(user.client(device)["refresh_id"])


@PAIRS
def test_a_token_of_one_server_is_good_at_the_others(skewed: Fleet, user: User, first: int, second: int) -> None:
    phone = to(user.device(), skewed.wires[first])
    phone.login()
    answer = to(phone, skewed.wires[second]).call(
        f"/pull/main/{phone.client_id}", phone.body([], 0, 0), f"Bearer {phone.state.access}"
    )
    assert answer["data"] == []


@PAIRS
def test_a_pin_is_mailed_once_and_changes_the_password_at_every_server(
    skewed: Fleet, user: User, first: int, second: int
) -> None:
    phone = to(user.device(), skewed.wires[first])
    phone.forgotten_password(user.email)
    to(phone, skewed.wires[second]).forgotten_password(user.email)  # the same call again, after a lost answer
    pin = _mailed_pin(skewed, user)
    to(phone, skewed.wires[second]).change_password(pin, "another password")
    phone.sync()


def _mailed_pin(skewed: Fleet, user: User) -> str:
    """The PIN of the only mail that any of the servers has sent, which says that it lives for 15 minutes."""
    outboxes = [Outbox(server.directory / "data" / "outbox") for server in skewed.servers]
    deadline = time.monotonic() + 60
    while not (mails := [mail for outbox in outboxes for mail in outbox.mails(user.email)]):
        assert time.monotonic() < deadline, "no mail"
        time.sleep(0.05)
    time.sleep(0.3)  # a second one would come as soon
    assert [len(outbox.mails(user.email)) for outbox in outboxes].count(0) == len(outboxes) - 1
    text = mails[0].get_body(("plain",))
    assert text is not None
    assert "15 minutes" in text.get_content()
    return next(pin for outbox in outboxes for pin in outbox.pins(user.email))


@pytest.mark.parametrize("server", [AHEAD, BEHIND])
def test_a_mail_on_lease_is_left_alone_and_one_that_waits_is_not_sent_early(
    skewed: Fleet, user: User, server: int
) -> None:
    """An hour ahead a lease of two minutes would be over, and so would be a PIN's quarter of an hour."""
    phone = user.device()
    mail = "SELECT id, %s, 'pin', '{}', n.now, n.now + 900000, n.now + 100000, 7 FROM sync.users, (SELECT %s::bigint) n(now)"
    user.connection.execute(
        "INSERT INTO sync.mails (user_id, id, template, details, created, expires, next_try, tries)"
        + mail.replace("%s", "gen_random_uuid()", 1)
        + " WHERE email = %s",
        (wall_clock(), user.email),
    )
    other = to(phone, skewed.wires[server])
    somebody = User(skewed.wires[server].send, "main", user.connection)
    somebody.device()
    other.forgotten_password(somebody.email)  # has this server look into its queue
    _mailed_pin(skewed, somebody)
    [left] = user.connection.execute(
        "SELECT tries FROM sync.mails m JOIN sync.users u ON u.id = m.user_id WHERE email = %s", [user.email]
    ).fetchall()
    assert left["tries"] == 7
    user.connection.execute("DELETE FROM sync.mails")


@pytest.fixture(scope="module")
def limited(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """With limits on guessing."""
    url = postgres.create_database("instances_limited")
    directory: Path = tmp_path_factory.mktemp("limited")
    with fleet(directory, url, (3600, -3600), configuration(url)) as servers:
        yield servers


def test_guesses_are_counted_together(limited: Fleet) -> None:
    """20 different wrong passwords per account and address in 15 minutes, wherever they are tried."""
    phone = Device(limited.wire.send, "main")
    phone.register(email := new_email(), "correct horse", new=True)

    def guess(wire: Wire, number: int) -> int:
        credentials = base64.b64encode(f"{email}:guess {number}".encode()).decode()
        return wire.send(Request("/login/main", encode({"clientId": phone.client_id}), f"Basic {credentials}")).status

    ahead, behind = limited.wires
    assert [guess(ahead if number % 2 else behind, number) for number in range(20)] == [403] * 20
    assert guess(ahead, 20) == guess(behind, 20) == 429


def test_the_servers_take_it_to_be_other_times(skewed: Fleet, user: User) -> None:
    credentials = base64.b64encode(f"{user.email}:{user.password}".encode()).decode()
    phone = user.device()
    told = []
    for wire in skewed.wires:
        answer = to(phone, wire).call("/login/main", {"clientId": phone.client_id}, f"Basic {credentials}")
        told.append(round((answer["expires_on"] - 86_400_000 - wall_clock()) / 3_600_000))
    assert told == [1, 0, -1]
