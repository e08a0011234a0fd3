"""The short way where nobody else has changed the space since the device's cursor: push_quietly, begin_pull_quietly.

What it stores and answers is what the long way would (G1-G7), and the token's promise of it is a hint, which the statements
do not believe.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from postgres import Postgres
from sync_server import migrations
from sync_server.accounts import standing
from sync_server.accounts.tokens import Device
from sync_server.database import Tx
from sync_server.errors import PullFirst, ReadOnly, TokenRejected
from sync_server.sync import engine, pages, pushing
from sync_server.sync.protocol import Change, Pull, Push

T = TypeVar("T")


class Told(Tx):
    """Notes which statements were run, and which of them found nothing to do."""

    names: list[str]

    async def one(self, kind: type[Any], name: str, parameters: Mapping[str, Any]) -> Any:
        found = await super().one(kind, name, parameters)
        self.names.append(name if found is not None else f"no {name}")
        return found


class Realm:
    """A migrated database and a connection to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._runner = asyncio.Runner()
        self.connection: psycopg.AsyncConnection[tuple[Any, ...]] = self._runner.run(
            psycopg.AsyncConnection.connect(url, autocommit=True)
        )
        self.tx = Told(self.connection, "sync")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        self.tx.names = []
        return self._runner.run(work)

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Its rows."""

        async def work() -> list[tuple[Any, ...]]:
            cursor = await self.connection.execute(query.encode(), values)
            return await cursor.fetchall() if cursor.description else []

        return self.run(work())

    def close(self) -> None:
        self._runner.run(self.connection.close())
        self._runner.close()


@pytest.fixture(scope="module")
def realm(postgres: Postgres) -> Iterator[Realm]:
    url = postgres.create_database("quiet")
    migrations.migrate(url)
    realm = Realm(url)
    yield realm
    realm.close()


@dataclass
class Phone:
    """A client whose calls reach the engine as pull and push do."""

    realm: Realm
    space: uuid.UUID
    hinted: bool = True
    """Whether its tokens promise what is so; else nothing."""
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    cursor: int = 0

    def __post_init__(self) -> None:
        self.realm.sql("INSERT INTO sync.clients (id, user_id) VALUES (%s, %s)", self.id, self.space)
        self.realm.sql("INSERT INTO sync.syncs (client_id, first_number, sync_number) VALUES (%s, 0, 0)", self.id)

    def token(self, *, promised: bool = False) -> Device:
        """As a refresh gives it; or one that promises quiet whatever is so."""
        device = Device("main", self.space, self.id, epoch=0, session=0, sync_number=0, token_id=uuid.uuid4().hex)
        [found] = self.realm.run(standing._of_devices(self.realm.tx, [device]))  # noqa: SLF001 - without a pool
        assert found is not None
        return replace(device, sync_number=found.sync_number, quiet=self.hinted and (promised or bool(found.quiet)))

    def pull(self, pending: Sequence[Change] = (), token: Device | None = None) -> pages.Page:
        return self.realm.run(self._pull(Pull(self.cursor, pending, digest(pending)), token or self.token()))

    async def _pull(self, pull: Pull, token: Device) -> pages.Page:
        tx = self.realm.tx
        begun = None
        for durably in (False, True) if pull.last_sync else (True,):
            begun = begun or await engine.begin_pull_at_once(tx, token, pull, durably=durably)
        if begun is None:
            async with self.realm.connection.transaction():
                begun = await engine.begin_pull(tx, token, pull)
        return begun[1]

    def push(self, *changes: Change, partial: bool = False, token: Device | None = None) -> int | None:
        token = token or self.token()
        answer = self.realm.run(self._push(Push(partial, changes, (), digest(changes)), token))
        self.cursor = self.cursor if answer is None else answer
        return answer

    async def _push(self, push: Push, token: Device) -> int | None:
        pushed = await pushing.push_at_once(self.realm.tx, token, push)
        if pushed is None:
            async with self.realm.connection.transaction():
                pushed = await pushing.push(self.realm.tx, token, push)
        return pushed.cursor

    def sync(self, *changes: Change) -> list[str]:
        """The names of its statements."""
        token = self.token()
        self.pull(changes, token)
        names = self.realm.tx.names
        token = self.token()
        self.push(*changes, token=token)
        return names + self.realm.tx.names


def home(realm: Realm, phones: int = 1, *, hinted: bool = True) -> list[Phone]:
    """Phones of a new user."""
    space = uuid.uuid4()
    realm.sql("INSERT INTO sync.spaces (id) VALUES (%s)", space)
    columns = "(id, space_id, email, email_key, name, password_hash)"
    realm.sql(f"INSERT INTO sync.users {columns} VALUES (%s, %s, %s, %s, '', '')", space, space, str(space), str(space))
    return [Phone(realm, space, hinted) for _ in range(phones)]


def edit(guid: str, date: int | None, title: str | None, operation: str = "U") -> Change:
    data = None if title is None else Raw(json.dumps({"title": title}).encode())
    return Change("D" if title is None else operation, guid, "todos", date, data)


def digest(changes: Sequence[Change]) -> str:
    return repr([(c.rowguid, c.operation, c.client_date, bytes(c.row_data or b"")) for c in changes])


MILK, BREAD = edit("1", 1, "milk"), edit("2", 2, "bread")
QUIET = ["begin_pull_quietly", "push_quietly"]
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
LOCK = "SELECT 1 FROM sync.clients c JOIN sync.syncs y ON y.client_id = c.id WHERE c.id = %s FOR UPDATE"


async def until_one_waits(other: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
    """Of the connections to the database, for a lock."""
    while (await (await other.execute(WAITING)).fetchall())[0][0] != 1:  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0.01)


async def as_a_pool(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Tried again where the database asks for it, as it does where isolation is serializable."""
    try:
        return await work()
    except psycopg.errors.SerializationFailure:
        return await work()


def rows_of(phone: Phone) -> dict[str, str | None]:
    return dict(phone.realm.sql("SELECT rowguid, row_data FROM sync.rows WHERE space_id = %s", phone.space))


# When it is taken.


def test_a_device_that_is_alone_takes_the_short_way(realm: Realm) -> None:
    [phone] = home(realm)
    assert phone.sync(MILK)[1:] == ["push_quietly"], "a first pull must be remembered durably"
    assert phone.sync(MILK, BREAD) == QUIET
    assert phone.sync(edit("1", 1, "cream")) == QUIET, "of the same date"
    assert rows_of(phone) == {"1": '{"title": "cream"}', "2": '{"title": "bread"}'}


def test_parts_take_it_one_after_the_other(realm: Realm) -> None:
    [phone] = home(realm)
    phone.sync(MILK)
    phone.pull()
    for number in range(3):
        assert phone.push(edit(f"{number}", 5, "x"), partial=True) is None
        assert realm.tx.names == ["push_quietly"]
    phone.push(edit("9", 5, "x"))
    assert realm.tx.names == ["push_quietly"]
    assert phone.cursor == realm.sql("SELECT clock FROM sync.spaces WHERE id = %s", phone.space)[0][0]
    assert phone.sync(BREAD) == QUIET


def test_a_sync_without_changes_has_a_shorter_one_still(realm: Realm) -> None:
    [phone] = home(realm)
    phone.sync(MILK)
    before = phone.cursor
    assert phone.sync() == ["begin_pull_quietly", "push_nothing_quietly"]
    assert phone.cursor == before
    assert realm.sql("SELECT count(*) FROM sync.syncs WHERE client_id = %s AND sync_started IS NULL", phone.id) == [
        (1,)
    ]
    realm.sql("UPDATE sync.users SET role = 'viewer' WHERE id = %s", phone.space)
    assert phone.sync() == ["begin_pull_quietly", "push_nothing_quietly"]


def test_deletes_take_the_long_way(realm: Realm) -> None:
    """The history keeps what they replaced."""
    [phone] = home(realm)
    phone.sync(MILK)
    assert phone.sync(BREAD, edit("1", 3, None)) == ["begin_pull_quietly", "push_changes"]


def test_what_another_device_has_pushed_ends_it_until_it_was_pulled(realm: Realm) -> None:
    phone, tablet = home(realm, 2)
    phone.sync(MILK)
    assert tablet.sync(BREAD)[-1] == "push_changes", "its pull has brought something"
    assert phone.sync(MILK) == ["begin_pull_with_pending", "push_changes"]
    assert phone.sync(edit("3", 3, "tea")) == QUIET
    assert not {"begin_pull_quietly", "push_quietly"} & set(tablet.sync(edit("4", 4, "jam")))


# What was promised and is not so any more.


def test_g2_a_pull_whose_token_promised_quiet_hears_of_what_came_since(realm: Realm) -> None:
    phone, tablet = home(realm, 2)
    phone.sync(MILK)
    token = phone.token()
    tablet.sync(*(edit(f"row {number:04}", 9, "x") for number in range(pages.PART_ROWS + 1)))
    assert token.quiet
    page = phone.pull([edit("row 0003", 99, "mine"), edit("row 0005", 0, "mine")], token)
    assert realm.tx.names[0] == "begin_pull_quietly"
    told = [line["rowguid"] for line in json.loads(b"[%b]" % page.lines)]
    assert told == [f"row {number:04}" for number in range(pages.PART_ROWS) if number != 3], "the newer edit will win"
    assert page.next is not None
    assert page.delivered == pages.PART_ROWS - 1


@pytest.mark.parametrize(("date", "kept"), [(5, "theirs"), (20, "mine")])
def test_g4_a_push_whose_token_promised_quiet_meets_what_came_since(realm: Realm, date: int, kept: str) -> None:
    phone, tablet = home(realm, 2)
    phone.sync(MILK)
    tablet.sync()
    phone.pull()
    token = phone.token()
    tablet.sync(edit("1", 10, "theirs"))
    phone.push(edit("1", date, "mine"), token=token)
    assert token.quiet
    assert realm.tx.names == ["no push_quietly", "push_changes"]
    assert rows_of(phone) == {"1": json.dumps({"title": kept})}
    assert len(realm.sql("SELECT 1 FROM sync.overridden WHERE space_id = %s", phone.space)) == 1
    assert b"theirs" in phone.pull().lines or kept == "mine"


def test_g2_the_end_of_a_sync_without_changes_does_not_pass_over_what_came_since(realm: Realm) -> None:
    phone, tablet = home(realm, 2)
    phone.sync(MILK)
    tablet.sync()
    phone.pull()
    token = phone.token()
    tablet.sync(BREAD)
    phone.push(token=token)
    assert token.quiet
    assert realm.tx.names == ["no push_nothing_quietly", "push_changes"]
    assert b"bread" in phone.pull().lines


@pytest.mark.parametrize(("date", "kept"), [(5, "theirs"), (20, "mine")])
def test_g4_so_does_one_whose_pull_has_brought_something_all_the_same(realm: Realm, date: int, kept: str) -> None:
    """The device keeps its token for the whole sync, as clients up to 1.3 do."""
    phone, tablet = home(realm, 2)
    phone.sync(MILK)
    tablet.sync()
    token = phone.token()
    tablet.sync(edit("1", 10, "theirs"))
    mine = edit("1", date, "mine")
    phone.pull([mine], token)
    phone.push(mine, token=token)
    assert token.quiet
    assert realm.tx.names == ["no push_quietly", "push_changes"]
    assert rows_of(phone) == {"1": json.dumps({"title": kept})}
    assert len(realm.sql("SELECT 1 FROM sync.overridden WHERE space_id = %s", phone.space)) == 1


@pytest.mark.parametrize("changes", [(), (BREAD,)])
@pytest.mark.parametrize("claim", ["epoch", "session", "user_id"])
def test_g8_what_a_token_claims_is_looked_at(realm: Realm, claim: str, changes: tuple[Change, ...]) -> None:
    [phone] = home(realm)
    phone.sync(MILK)
    phone.pull()
    wrong = uuid.uuid4() if claim == "user_id" else 1
    with pytest.raises(TokenRejected):
        phone.push(*changes, token=replace(phone.token(), **{claim: wrong}))
    assert set(rows_of(phone)) == {"1"}


@pytest.mark.parametrize("changes", [(), (MILK,)])
def test_a_push_of_an_earlier_sync_is_told_by_its_number(realm: Realm, changes: tuple[Change, ...]) -> None:
    [phone] = home(realm)
    phone.sync(MILK)
    phone.pull()
    token = phone.token()
    phone.push(BREAD)
    phone.pull()
    with pytest.raises(PullFirst):
        phone.push(*changes, token=token)
    assert realm.tx.names[0].startswith("no push_")


def test_g2_another_devices_push_between_two_parts_is_heard_of(realm: Realm) -> None:
    phone, tablet = home(realm, 2)
    phone.sync(MILK)
    tablet.sync()
    phone.pull()
    phone.push(edit("1", 3, "part"), partial=True)
    token = phone.token()
    tablet.pull()
    tablet.push(BREAD)
    phone.push(edit("3", 3, "end"), token=token)
    assert realm.tx.names == ["no push_quietly", "push_changes"]
    assert b"bread" in phone.pull().lines


def test_g2_a_push_that_waited_for_the_space_looks_at_its_clock_anew(realm: Realm) -> None:
    """What it saw before it waited was quiet."""
    [phone] = home(realm)
    phone.sync(MILK)
    phone.pull()
    token = phone.token()

    async def wait_and_push() -> pushing.Pushed | None:
        async with await psycopg.AsyncConnection.connect(realm.url, autocommit=True) as other:
            async with other.transaction():
                await other.execute("UPDATE sync.spaces SET clock = clock + 1 WHERE id = %s", [phone.space])
                push = Push(is_partial=False, changes=[BREAD], unstorable=(), digest="")
                pushed = asyncio.create_task(as_a_pool(lambda: pushing.push_at_once(realm.tx, token, push)))
                await until_one_waits(other)
            return await pushed

    assert realm.run(wait_and_push()) is not None
    assert realm.tx.names == ["no push_quietly", "push_changes"]


def test_g5_a_push_that_waited_for_the_part_before_it_sees_what_that_has_stored(realm: Realm) -> None:
    """It goes on by the short way, with a snapshot of before."""
    [phone] = home(realm)
    phone.sync(MILK)
    phone.pull()
    token = phone.token()
    part = Push(is_partial=True, changes=[edit("1", 3, "cream"), BREAD], unstorable=(), digest="")
    end = Push(is_partial=False, changes=[edit("1", 2, "whey"), BREAD, edit("3", 3, "tea")], unstorable=(), digest="")

    async def push_both() -> pushing.Pushed | None:
        async with await psycopg.AsyncConnection.connect(realm.url, autocommit=True) as other:
            async with other.transaction():
                assert await pushing.push_at_once(Tx(other, "sync"), token, part)
                pushed = asyncio.create_task(as_a_pool(lambda: pushing.push_at_once(realm.tx, token, end)))
                await until_one_waits(other)
            return await pushed

    pushed = realm.run(push_both())
    assert realm.tx.names == ["push_quietly"]
    assert rows_of(phone) == {"1": '{"title": "whey"}', "2": '{"title": "bread"}', "3": '{"title": "tea"}'}
    recorded = realm.sql(
        "SELECT stamp, rowguid FROM sync.history WHERE space_id = %s ORDER BY stamp, ordinal", phone.space
    )
    assert [guid for _, guid in recorded] == ["1", "1", "2", "1", "3"]
    assert pushed is not None
    assert pushed.cursor == recorded[-1][0]
    assert [(pushed.cursor,)] == realm.sql("SELECT clock FROM sync.spaces WHERE id = %s", phone.space)


@pytest.mark.parametrize("at_once", [True, False])
def test_g1_a_pull_that_saw_an_old_clock_forgets_how_far_the_pushes_of_before_have_come(
    realm: Realm, at_once: bool
) -> None:
    """While it was held up its client has finished syncs, the first of which has brought what had come since that clock."""
    if realm.sql("SHOW transaction_isolation") != [("read committed",)]:
        pytest.skip("no statement goes on there after it has seen an old clock")
    phone, tablet = home(realm, 2)
    phone.sync(MILK)
    tablet.sync()
    phone.sync(BREAD)
    tablet.sync()
    token, theirs, held_up = phone.token(), tablet.token(), Pull(phone.cursor, [], "held up")

    async def sync(tx: Tx, token: Device, cursor: int, change: Change) -> int:
        assert await engine.begin_pull_at_once(tx, token, Pull(cursor, [], ""), durably=False)
        token = replace(token, sync_number=token.sync_number + 1, quiet=True)
        pushed = await pushing.push_at_once(
            tx, token, Push(is_partial=False, changes=[change], unstorable=(), digest="")
        )
        assert pushed is not None
        assert pushed.cursor is not None
        return pushed.cursor

    async def begin() -> pages.PullUnderWay:
        if at_once:
            begun = await engine.begin_pull_at_once(realm.tx, token, held_up, durably=False)
            assert begun is not None
            return begun[0]
        async with realm.connection.transaction():
            return (await engine.begin_pull(realm.tx, token, held_up))[0]

    async def begin_late() -> pages.PullUnderWay:
        async with await psycopg.AsyncConnection.connect(realm.url, autocommit=True) as other:
            async with other.transaction():
                await other.execute(LOCK, [phone.id])
                begun = asyncio.create_task(begin())
                await until_one_waits(other)
                tx = Tx(other, "sync")
                await sync(tx, theirs, tablet.cursor, edit("1", 10, "theirs"))
                cursor = await sync(tx, token, phone.cursor, edit("3", 3, "tea"))
                await sync(tx, replace(token, sync_number=token.sync_number + 1), cursor, edit("4", 4, "jam"))
            return await begun

    assert realm.run(begin_late()).to == phone.cursor
    phone.push(edit("1", 5, "mine"), token=replace(phone.token(), quiet=True))
    assert realm.tx.names == ["no push_quietly", "push_changes"]
    assert rows_of(phone)["1"] == '{"title": "theirs"}'
    assert b"theirs" in phone.pull().lines


@pytest.mark.parametrize("changes", [(), (BREAD,)])
def test_a_space_that_was_put_back_to_a_backup_is_not_quiet(realm: Realm, changes: tuple[Change, ...]) -> None:
    """The device may have heard of more than there is."""
    [phone] = home(realm)
    phone.sync(MILK)
    phone.pull()
    token = phone.token()
    realm.sql("UPDATE sync.spaces SET restored = clock + 1 WHERE id = %s", phone.space)
    phone.push(*changes, token=token)
    assert realm.tx.names[0].startswith("no push_")
    assert realm.tx.names[1:] == ["push_changes"]


def test_a_viewer_may_not_push_quietly_either(realm: Realm) -> None:
    [phone] = home(realm)
    phone.sync(MILK)
    realm.sql("UPDATE sync.users SET role = 'viewer' WHERE id = %s", phone.space)
    phone.pull()
    with pytest.raises(ReadOnly):
        phone.push(BREAD)
    assert set(rows_of(phone)) == {"1"}


def test_g5_a_push_that_comes_again_stores_nothing_again(realm: Realm) -> None:
    [phone] = home(realm)
    phone.sync(MILK)
    phone.pull()
    token = phone.token()
    phone.push(BREAD, partial=True, token=token)
    phone.push(BREAD, partial=True, token=token)
    assert realm.tx.names == ["push_quietly"]
    answer = phone.push(BREAD, token=token)
    assert phone.push(BREAD, token=token) == answer
    assert len(realm.sql("SELECT 1 FROM sync.history WHERE space_id = %s", phone.space)) == 2
    with pytest.raises(PullFirst):
        phone.push(MILK, token=token)


# Both ways are one.


class Move(NamedTuple):
    """A sync of a phone, which may break off. `meanwhile`: what the other one pushes between its pull and its push, or
    between its token and its pull (`early`).
    """

    phone: int
    parts: list[list[Change]]
    meanwhile: list[Change]
    early: bool
    whole: bool
    again: bool
    one_token: bool
    """Whether it keeps its token, as clients up to 1.3 do."""
    promised: bool
    """Whether its tokens promise quiet, be it so or not (where any do)."""


edits = st.builds(
    edit,
    st.sampled_from(["1", "2", "3", '"\u2028\U0001f9a9']),
    st.integers(-3, 9),
    st.sampled_from(["a", "b", "c", "d", "e", None]),
    st.sampled_from(["I", "U"]),
)
pushes = st.lists(edits, max_size=3, unique_by=lambda change: change.rowguid)
moves = st.builds(
    Move,
    st.integers(0, 1),
    st.lists(pushes, min_size=1, max_size=3),
    st.one_of(st.just([]), st.just([]), pushes),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


BROKEN_OFF = "UPDATE sync.syncs SET sync_started = NULL, sync_from = NULL, sync_to = NULL"


def play(phones: Sequence[Phone], story: Sequence[Move]) -> list[Any]:
    """What the phones are answered."""
    told: list[Any] = []
    for move in story:
        phone, other = phones[move.phone], phones[1 - move.phone]
        phone.realm.sql(BROKEN_OFF)
        token = phone.token(promised=move.promised)
        if move.early:
            told += interfere(other, move.meanwhile)
        pending = {change.rowguid: change for part in move.parts for change in part}
        told += [told_by(phone.pull(list(pending.values()), token).lines)]
        if not move.early:
            told += interfere(other, move.meanwhile)
        for number, part in enumerate(move.parts, 1):
            partial = number < len(move.parts) or not move.whole
            token = token if move.one_token else phone.token(promised=move.promised)
            told += [phone.push(*part, partial=partial, token=token) for _ in range(1 + move.again)]
    return told


def interfere(other: Phone, changes: Sequence[Change]) -> list[Any]:
    return [told_by(other.pull(changes).lines), other.push(*changes)] if changes else []


def told_by(lines: bytes) -> list[Any]:
    return [(line["serverdate"], line["rowguid"], repr(line["rowData"])) for line in json.loads(b"[%b]" % lines)]


STORED = {
    "rows": "stamp, ordinal, client_id, operation, tablename, rowguid, row_data, client_date, rank",
    "history": "stamp, ordinal, client_id, operation, tablename, rowguid, old_data, client_date, user_id = space_id",
    "overridden": "stamp, 0, client_id, operation, tablename, rowguid, row_data, client_date",
    "spaces": "clock, pruned, restored",
}
BY_ROW = "rowguid, stamp, client_date, operation, row_data"
ORDERS = {"rows": BY_ROW, "history": "stamp, ordinal", "overridden": BY_ROW, "spaces": "id"}
OF_CLIENTS = "push_answer, acknowledged, first_stamp, push_digest, y.sync_from, y.sync_to, y.sync_digest"


def stored(phones: Sequence[Phone]) -> list[Any]:
    realm, space = phones[0].realm, phones[0].space
    found: list[Any] = []
    for table, columns in STORED.items():
        key = "id" if table == "spaces" else "space_id"
        found.append(realm.sql(f"SELECT {columns} FROM sync.{table} WHERE {key} = %s ORDER BY {ORDERS[table]}", space))
    of_clients = f"SELECT {OF_CLIENTS} FROM sync.clients c JOIN sync.syncs y ON y.client_id = c.id WHERE c.id = %s"
    return [*found, *(realm.sql(of_clients, phone.id) for phone in phones)]


def alike(found: Any, phones: Sequence[Phone]) -> Any:
    """Without what differs from user to user: clients by their numbers, stamps by their order."""
    names: dict[Any, Any] = {phone.id: number for number, phone in enumerate(phones)}
    stamps = sorted({value for value in _flat(found) if isinstance(value, int) and value > 10**12})
    names |= {stamp: f"stamp {number}" for number, stamp in enumerate(stamps)}

    def told(value: Any) -> Any:
        return [told(each) for each in value] if isinstance(value, list | tuple) else names.get(value, value)

    return told(found)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for each in value:
            yield from _flat(each)
    else:
        yield value


@settings(max_examples=40, deadline=None, derandomize=True)
@given(story=st.lists(moves, min_size=1, max_size=6))
def test_g3_the_short_way_and_the_long_one_store_and_answer_the_same(realm: Realm, story: list[Move]) -> None:
    short, long = home(realm, 2), home(realm, 2, hinted=False)
    seen = [alike([play(phones, story), stored(phones)], phones) for phones in (short, long)]
    assert seen[0] == seen[1]
