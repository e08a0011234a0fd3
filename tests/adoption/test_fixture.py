"""A server starts on a database that sync_server_ts has written, and its devices go on as if nothing had happened."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from adoption import old_tables
from adoption.conftest import NUMBERS
from adoption.old_devices import NAMES, old_device, pulled
from adoption.old_tables import WRITTEN
from conftest import Process, start_server
from device import Device, Unauthorized
from postgres import Postgres
from users import look_into
from wire import Wire

DELETES = dict.fromkeys(WRITTEN["never_sent_deletes"], "D")
MISSED = "ea63fc95-4b29-458f-a29b-d78f21a16b16"  # pushed by Ann's tablet while her phone was syncing
BROUGHT_BACK = WRITTEN["brought_back"]  # by the tablet, before the phone's last sync: nobody can tell that it was sent
LISTS = WRITTEN["same_guid_two_tables"]


class Moved:
    """A server on a database of each form, taken over at its first start."""

    def __init__(self, process: Process, urls: dict[str, str]) -> None:
        self.process = process
        self.urls = urls
        self.wire = Wire(process.url)

    def device(self, name: str, form: str) -> Device:
        return old_device(name, self.wire.send, form.lower())

    def query(self, form: str, text: str, *values: object) -> list[dict[str, Any]]:
        with look_into(self.urls[form]) as connection:
            return connection.execute(text.encode(), values).fetchall()


@pytest.fixture(scope="module")
def moved(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    urls = {form: postgres.create_database(f"moved_{form.lower()}_{next(NUMBERS)}") for form in old_tables.FORMS}
    before = {}
    for form, url in urls.items():
        old_tables.load(url, form)
        before[form] = old_tables.contents(url)
    realms = {form.lower(): url for form, url in urls.items()}
    config = {"server": {"bcrypt_rounds": 4}, "db": {"realms": realms}}
    process = start_server(tmp_path_factory.mktemp("moved"), config, environment={"RATE_LIMIT_DISABLE": "1"})
    found = Moved(process, urls)
    yield found
    found.wire.close()
    assert process.stop() == 0
    assert "Traceback" not in process.log
    assert "@example.com" not in process.log.lower()
    assert {form: old_tables.contents(url) for form, url in urls.items()} == before, "the old tables are only read"


EXPECTED = {
    # the phone deleted these itself; its cursor is past them and it must not hear of them
    "ann": {BROUGHT_BACK: "U", MISSED: "I"},
    "bea": {},
    "bea2": {LISTS: "I"},
    "carl": {},
    "dora": {},
}


@pytest.mark.parametrize("form", old_tables.FORMS)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_device_gets_what_it_has_missed_and_nothing_twice(moved: Moved, form: str, name: str) -> None:
    device = moved.device(name, form)
    device.sync()
    assert pulled(device) == EXPECTED[name]
    device.sync()
    assert pulled(device) == {}


@pytest.mark.parametrize("form", old_tables.FORMS)
def test_deletes_that_were_never_sent_are_sent(moved: Moved, form: str) -> None:
    tablet = moved.device("ann2", form)
    tablet.sync()
    # the last two: versions of its own, above the cursor of the phone that may have missed them
    assert pulled(tablet) == {**DELETES, BROUGHT_BACK: "U", MISSED: "I"}


@pytest.mark.parametrize("form", old_tables.FORMS)
def test_a_device_goes_on_without_knowing_of_the_move(moved: Moved, form: str) -> None:
    phone, tablet = moved.device("bea", form), moved.device("bea2", form)
    phone.save("todos", "e8e72789-1eb2-4109-a91c-2439d5ab8b4d", {"title": "after the move ✓"})
    phone.sync()
    tablet.sync()
    assert tablet.state.rows["todos", "e8e72789-1eb2-4109-a91c-2439d5ab8b4d"] == {"title": "after the move ✓"}
    tablet.delete("todos", "e8e72789-1eb2-4109-a91c-2439d5ab8b4d")
    tablet.sync()
    phone.sync()
    assert pulled(phone) == {"e8e72789-1eb2-4109-a91c-2439d5ab8b4d": "D"}


@pytest.mark.parametrize("form", old_tables.FORMS)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "carl2"])
def test_an_old_token_is_refused_and_the_stored_password_opens(moved: Moved, form: str, name: str) -> None:
    device = moved.device(name, form)
    old_refresh = device.state.refresh
    with pytest.raises(Unauthorized):
        device.call(f"/login/{device.realm}/refreshToken", {"refreshToken": old_refresh})
    with pytest.raises(Unauthorized):
        device.call(f"/pull/{device.realm}", device.body([], 0, None), f"Bearer {device.state.access}")
    device.login()
    assert device.state.refresh != old_refresh
    (user,) = moved.query(
        form, "SELECT password_hash FROM sync.users WHERE lower(email) = lower(%s)", device.state.email
    )
    assert user["password_hash"].startswith("$2b$04$"), "the hash is renewed at the first login"
    device.login()


@pytest.mark.parametrize("form", old_tables.FORMS)
def test_a_wrong_password_stays_wrong(moved: Moved, form: str) -> None:
    device = moved.device("bea", form)
    device.state.password = "passwörd ✓"
    with pytest.raises(Unauthorized):
        device.sync()


@pytest.mark.parametrize("form", old_tables.FORMS)
def test_the_account_that_synced_last_gets_the_address(moved: Moved, form: str) -> None:
    with pytest.raises(Unauthorized):
        moved.device("carl2", form).login()
    moved.device("carl", form).login()
    findings = moved.query(
        form, "SELECT user_id::text FROM sync.adoption_findings WHERE kind = 'address_differs_in_case'"
    )
    assert findings == [{"user_id": "075c4a2b-1984-40ed-8bb0-0a753fb23023"}]


@pytest.mark.parametrize("form", old_tables.FORMS)
def test_a_new_device_gets_the_live_rows(moved: Moved, form: str) -> None:
    known = moved.device("ann", form)
    new = Device(moved.wire.send, form.lower(), tables=("notes", "todos", "lists"))
    new.register(known.state.email, known.state.password, new=False)
    new.sync()
    assert set(pulled(new).values()) <= {"I", "U"}
    assert len(pulled(new)) == 54
    assert new.state.rows["notes", "923a7369-94e3-4f91-9a61-dbe22e44158b"]["title"] == "Note 7 \N{EN DASH} è ü 漢字 🙂"
    assert new.state.rows["notes", "923a7369-94e3-4f91-9a61-dbe22e44158b"]["big"] == 9007199254741000
    assert ("notes", WRITTEN["shared_guid"]) not in new.state.rows, "that content is Bea's"


@pytest.mark.parametrize("form", old_tables.FORMS)
def test_a_key_in_upper_case_comes_back_as_the_device_writes_it(moved: Moved, form: str) -> None:
    device = moved.device("carl", form)
    device.state.cursor = 0
    device.sync()
    upper, never_there = WRITTEN["uppercase_guid"], "ee92b445-88a9-4e3c-971a-80e977671f6c"
    assert pulled(device) == {upper: "I", never_there: "D"}
    assert device.state.rows == {("todos", upper): {"title": "upper case key"}}


@pytest.mark.parametrize("form", old_tables.FORMS)
def test_an_account_left_in_the_middle_of_a_sync_is_free(moved: Moved, form: str) -> None:
    device = moved.device("dora", form)
    device.save("notes", str(uuid.uuid4()), {"title": "at last"})
    device.sync()
    with pytest.raises(Unauthorized):  # PINs are not taken over
        device.change_password("487135", "new password")


@pytest.mark.parametrize("form", old_tables.FORMS)
def test_what_could_not_be_taken_over_is_written_down(moved: Moved, form: str) -> None:
    findings = moved.query(
        form, "SELECT kind, tablename, rowguid FROM sync.adoption_findings WHERE rowguid IS NOT NULL"
    )
    assert {(finding["kind"], finding["tablename"], finding["rowguid"]) for finding in findings} == {
        ("content_of_another_user", "notes", WRITTEN["shared_guid"]),
        ("content_of_another_table", "todos", LISTS),
        ("no_content", "todos", WRITTEN["nul_guid"]),
    }
    (run,) = moved.query(form, "SELECT finished_at, report::json AS report FROM sync.adoptions")
    assert run["finished_at"] is not None
    assert (run["report"]["done"]["rows"], run["report"]["done"]["deletes"]) == (86, 7)
