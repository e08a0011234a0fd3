"""The sync algorithm as an executable model, with simulated devices that play random histories on it.

`Space` is the oracle of the tests: what docs and SQL say in their own way, it says in the fewest lines. `python
tests/model.py [runs] [first_seed]` plays random histories (edits, syncs, crashes of devices at any step and of the
database, lost requests and answers, the client's resend of every failed call, copies of requests that arrive much later,
skewed clocks, restored backups of devices and of the server, devices that join or come back as new clients, that sync in
the middle of each other's syncs, pruned tombstones, versions that an operator brings back and syncs that one ends), lets
the devices come to rest, and checks that all hold the same rows (G1-G3, G5, G6).
Standard library only.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

Key = tuple[str, str]  # (tablename, rowguid)
Change = tuple[str, int, Any]  # (operation, clientdate, data); no data: the row is gone on the device
Pending = Mapping[Key, tuple[str, int]]  # what a pull says of the device's changes: operation and clientdate
PART = 3  # changes in one part of a push; the real client's is 100
OPERATOR = "00000000-0000-0000-0000-000000000000"  # the client of restored versions: no device has this id


@dataclass
class Row:
    operation: str
    data: Any
    client_date: int  # as the device sent it
    rank: int  # what conflicts are decided by; only ever rises
    stamp: int  # position in the space's order of changes: the push,
    ordinal: int  # then the change within it
    client: str


@dataclass(frozen=True)
class Token:
    """An access token: it carries the number of the client's latest sync when it was issued."""

    sync_number: int
    id: int


@dataclass
class Sync:
    from_: int
    to: int
    request: Any
    token: Token  # of the pull that began it
    stale: bool = False  # begun two minutes ago: another pull may take its place


@dataclass
class Client:
    first_stamp: int | None = None
    acknowledged: int | None = None  # no cursor that may still come is lower, as far as is known
    last_push: tuple[Any, int] | None = None
    # what is not durable: the numbers of syncs since the database's last crash, and the one under way
    first_number: int = 0
    sync_number: int = 0
    sync: Sync | None = None


@dataclass(frozen=True)
class Delivered:
    """A row as a pull answers it."""

    key: Key
    operation: str
    data: Any
    client_date: int
    client: str


class Refused(Exception):
    """The call is answered with an error; nothing has changed."""


class TokenRejected(Refused):
    """The device gets itself another token and tries again."""


@dataclass
class Space:
    """The rows that sync together, and what the server remembers of the clients that sync them."""

    clock: int = 0
    rows: dict[Key, Row] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    overridden: list[tuple[Key, str, Change]] = field(default_factory=list)  # with the client whose version lost
    restored: int = 0  # cursors below it were given out before the server was put back to a backup
    recorded: dict[Key, Row] = field(default_factory=dict)  # those that the history still knows
    applied: int = 0
    tokens: int = 0

    def pass_two_minutes(self) -> None:
        for client in self.clients.values():
            client.sync = client.sync and replace(client.sync, stale=True)

    def register(self, client_id: str) -> None:
        """Also of one that an operator had removed; what is said with its former tokens is refused."""
        self.clients[client_id] = self._numbered_anew(Client())

    def crash(self) -> None:
        """The database crashes: of the syncs under way nothing is left, and what had a token from before begins none."""
        self.clients = {client_id: self._numbered_anew(client) for client_id, client in self.clients.items()}

    def stop(self, client_id: str) -> None:
        """An operator ends the sync under way. As after a crash, no copy of its pull may begin another one."""
        client = self.clients[client_id]
        if client.sync is not None:
            client.sync = None
            client.sync_number += 1
            client.first_number = client.sync_number

    def _numbered_anew(self, client: Client) -> Client:
        """With numbers that no token has."""
        self.tokens += 1
        number = 1_000_000_000 * self.tokens
        return replace(client, first_number=number, sync_number=number, sync=None)

    def refresh(self, client_id: str) -> Token:
        self.tokens += 1
        return Token(self.clients[client_id].sync_number, self.tokens)

    def pull(self, token: Token, client_id: str, cursor: int, pending: Pending) -> list[Delivered]:
        client = self.clients[client_id]
        if not client.first_number <= token.sync_number <= client.sync_number:
            # Maybe a copy of a pull of before the crash. If it began a sync, up to a later clock, the device's next token
            # would carry that one's number, and it would never hear of what came in between the two.
            raise TokenRejected
        request = (cursor, tuple(sorted(pending.items())))
        if client.sync is None or self._may_take_over(client, client.sync, token, request):
            self._begin(client, Sync(min(cursor, self.clock), self.clock, request, token), cursor)
        elif client.sync.request != request or (client.sync.stale and token != client.sync.token):
            raise Refused("already syncing")
        elif token.sync_number == client.sync_number and token != client.sync.token:
            # A new attempt, for its token was issued since, not a copy. What the attempt before has sent, and may have been
            # held up, must not mix with it: what a pull says of the device's changes does not tell their data.
            self._begin(client, replace(client.sync, token=token), cursor)
        assert client.sync is not None
        assert client.first_stamp is not None
        sync, first_stamp = client.sync, client.first_stamp
        since = sync.from_
        anew = self._knows_more(client, cursor, sync.to)
        if anew:
            since = first_stamp = 0
        ordered = sorted(self.rows.items(), key=lambda item: (item[1].stamp, item[1].ordinal))
        return [
            Delivered(key, row.operation, row.data, row.client_date, row.client)
            for key, row in ordered
            if since < row.stamp <= sync.to
            and (
                self._wanted(client_id, sync.from_, first_stamp, row, pending.get(key))
                # pushed before, when it was not answered: then the device may have applied a version that won, and is lost
                or (anew and key in pending and row.client == client_id and pending[key][1] == row.client_date)
            )
        ]

    @staticmethod
    def _may_take_over(client: Client, sync: Sync, token: Token, request: Any) -> bool:
        """Whether a pull may take the place of a sync that was begun two minutes ago, and may still be under way.

        A copy of an earlier pull may not, nor one of the very pull: the device's next token would carry the number of the
        copy's sync, and it would never hear of what came in between the two.
        """
        if token.sync_number == client.sync_number:
            return sync.stale
        return sync.stale and token == sync.token and request != sync.request  # of a client that keeps its token

    def _knows_more(self, client: Client, cursor: int, to: int) -> bool:
        """Whether a device may hold what the server has lost: then all that the server has is sent, whatever the cursor.

        So are, with the next pull, its own changes of this sync: it may have broken off a sync, its first one even, after it
        had applied a version that won; in the restored space its edit may win.
        """
        was_here = client.first_stamp is not None and client.first_stamp < self.restored
        return cursor > to or (cursor < self.restored and (cursor > 0 or was_here))

    def _begin(self, client: Client, sync: Sync, cursor: int) -> None:
        client.sync_number += 1
        if client.first_stamp is None:  # with a cursor the device has had another client here: it may hold rows
            client.first_stamp = 0 if cursor > 0 else sync.to
        if self._knows_more(client, cursor, sync.to):
            client.acknowledged = 0
            self._bring_back(0)
        else:
            if client.acknowledged is None or sync.from_ < client.acknowledged or client.sync is not None:
                client.acknowledged = sync.from_  # else when it ends, so that most syncs begin without anything durable
            self._bring_back(max(sync.from_, client.first_stamp))
        client.sync = sync

    @staticmethod
    def _wanted(client_id: str, from_: int, first_stamp: int, row: Row, pending: tuple[str, int] | None) -> bool:
        """Whether a pull delivers a row that changed since the cursor."""
        if pending is not None:
            return row.client != client_id and pending[1] <= row.rank and row.stamp > from_
        return row.operation != "D" or row.stamp > first_stamp

    def prune(self, oldest: int) -> int:
        """Forget tombstones up to the stamp `oldest` that every client that has ever pulled is known to have heard of.

        What is known of a client is the cursor that it sent, not the one that it was given: the answer may get lost. A
        client that pulls for the first time gets live rows only. How many were forgotten.
        """
        horizon = min(
            [oldest, *(client.acknowledged or 0 for client in self.clients.values() if client.first_stamp is not None)]
        )
        gone = {key: row for key, row in self.rows.items() if row.operation == "D" and row.stamp <= horizon}
        for key, row in gone.items():
            del self.rows[key]
            self.recorded[key] = row
        return len(gone)

    def forget_history(self, oldest: int) -> None:
        self.recorded = {key: row for key, row in self.recorded.items() if row.stamp > oldest}

    def _bring_back(self, after: int) -> None:
        """For a device that was restored from a backup older than what was pruned: the tombstones, from the history."""
        for key, row in self.recorded.items():
            if row.stamp > after and key not in self.rows:
                self.rows[key] = replace(row, rank=min(row.client_date, row.stamp))

    def put_back(self, backup: Space, beyond: int) -> None:
        """The database is what it was when it was copied, but stamps go on `beyond` all that were ever handed out, and
        what was said to devices is void.
        """
        vars(self).update(vars(copy.deepcopy(backup)) | {"tokens": self.tokens})
        self.clock = self.restored = beyond
        for client in self.clients.values():
            client.last_push, client.acknowledged = None, 0
            # it may have pulled rows since the backup that are deleted there, and says nothing of them before it ends a sync
            client.first_stamp = 0
        self.crash()  # tokens of before the restore are void; here their numbers say so

    def belongs(self, token: Token, client: Client) -> bool:
        """Whether a call is part of the sync under way, not a straggler of an earlier one."""
        return client.sync is not None and (token == client.sync.token or token.sync_number == client.sync_number)

    def push(
        self, token: Token, client_id: str, cursor: int, changes: Mapping[Key, Change], partial: bool, now: int
    ) -> int | None:
        """`changes` in the order of their last occurrence; `now` is the server's clock in ms.

        The cursor only serves to know the same request again: what counts is the one of the pull.
        """
        client = self.clients[client_id]
        request = (cursor, tuple(changes.items()), partial)
        if client.sync is None or not self.belongs(token, client):
            if client.sync is None and client.last_push and client.last_push[0] == request:
                return client.last_push[1]
            raise Refused("You should pull before pushing")
        stamp = max(now, self.clock + 1)
        for ordinal, (key, change) in enumerate(changes.items()):
            if self._store(client.sync, client_id, key, change, now, stamp, ordinal):
                self.applied += 1
                self.clock = stamp
        if partial:
            return None
        to = client.sync.to
        others = any(row.stamp > to and row.client != client_id for row in self.rows.values())
        answer = to if others or self._knows_more(client, client.sync.from_, to) else self.clock
        client.last_push = (request, answer)
        # only now, so that a sync begins without anything durable
        client.acknowledged = max(client.acknowledged or 0, client.sync.from_)
        client.sync = None
        return answer

    def _store(self, sync: Sync, client_id: str, key: Key, change: Change, now: int, stamp: int, ordinal: int) -> bool:
        """Apply the rules for one change; False if the stored version stays."""
        operation, client_date, data = change
        if data is None:  # no member that is not null: the row is gone on the device
            operation = "D"
        incoming = (operation, client_date, data)
        rank = min(client_date, now)
        if stored := self.rows.get(key):
            version = (stored.operation, stored.client_date, stored.data)
            if stored.client == client_id:
                if version == incoming:
                    return False
            elif stored.stamp > sync.from_:  # neither had seen the other's
                if client_date <= stored.rank:
                    if not says_the_same(incoming, version):
                        self._lost(key, client_id, incoming)
                    return False
                self._lost(key, stored.client, version)
            rank = max(rank, stored.rank + 1)
        self.rows[key] = Row(operation, data, client_date, rank, stamp, ordinal, client_id)
        return True

    def _lost(self, key: Key, client_id: str, change: Change) -> None:
        """Keep a version that lost; the same one, pushed again, is recorded once (G5)."""
        if (key, client_id, change) not in self.overridden:
            self.overridden.append((key, client_id, change))

    def restore(self, key: Key, data: Any, now: int) -> bool:
        """An operator brings back a version (no data: the row is to be gone); False if that is how it is already.

        It is what a device would do that has just joined, has pulled all there is, and pushes an edit, in one moment.
        What it replaces is kept all the same: the operator may have been wrong.
        """
        stored = self.rows.get(key)
        before = None if stored is None or stored.operation == "D" else stored.data
        if data == before:
            return False
        stamp = max(now, self.clock + 1)
        rank = now
        if stored is not None:
            self._lost(key, stored.client, (stored.operation, stored.client_date, stored.data))
            rank = max(now, stored.rank + 1)
        operation = "D" if data is None else "I" if before is None else "U"
        self.rows[key] = Row(operation, data, stamp, rank, stamp, 0, OPERATOR)
        self.clock = stamp
        self.applied += 1
        return True

    def cancel(self, token: Token, client_id: str) -> None:
        client = self.clients[client_id]
        if self.belongs(token, client):
            client.sync = None


def says_the_same(change: Change, other: Change) -> bool:
    """Whether both leave the same row, or none, behind."""
    return (change[0] == "D") == (other[0] == "D") and change[2] == other[2]


class Crash(Exception):
    pass


class Lost(Exception):
    pass


class World:
    """A space, its time, and the servers that hand out its stamps, whose clocks differ."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.space, self.now = rng, Space(), 1000

    def push(
        self, token: Token, client_id: str, cursor: int, changes: Mapping[Key, Change], partial: bool
    ) -> int | None:
        self.now += self.rng.choice([0, 0, 1, 5])
        now = self.now - self.rng.choice([0, 0, 0, 50])
        return self.space.push(token, client_id, cursor, changes, partial, now)

    def operate(self, devices: list[Device], key: Key, *, with_history: bool) -> None:
        if self.rng.random() < 0.5:
            self.prune(devices, with_history=with_history)
        else:
            self.restore(key)

    def restore(self, key: Key) -> None:
        """An operator brings back some version, lost or not, or deletes the row."""
        self.now += 1
        versions = [change[2] for lost, _, change in self.space.overridden if lost == key]
        self.space.restore(key, self.rng.choice([None, -self.now, *versions]), self.now - self.rng.choice([0, 0, 50]))

    def put_back(self, backup: Space) -> set[Key]:
        """Restore the server's backup; the rows that it does not know again."""
        lost = (self.space.rows.keys() | self.space.recorded.keys()) - backup.rows.keys()
        self.now += 5
        self.space.put_back(backup, max(self.now, self.space.clock) + 1)
        return lost

    def prune(self, devices: list[Device], *, with_history: bool) -> None:
        """At any moment, and up to any age. But where the history goes with the tombstones, only up to an age that no
        backup has, nor a device that is about to come back as a new client: what they sent before says nothing.
        """
        oldest = self.space.clock - self.rng.choice([0, 0, 5, 50, 500])
        if with_history:
            oldest = min([oldest, *(cursor for device in devices for cursor in device.untold())])
            self.space.forget_history(oldest)
        self.space.prune(oldest)


class Device:
    """One installed app: its rows, its log of unsynced edits (with the client's rules), its cursor."""

    def __init__(self, name: str, world: World, rng: random.Random) -> None:
        self.name, self.world, self.space, self.rng = name, world, world.space, rng
        self.rows: dict[Key, Any] = {}
        self.log: dict[Key, list[tuple[str, int]]] = {}
        self.cursor = 0
        self.skew = rng.choice([0, 0, -500, 500, 3, 100_000])
        self.faulty = True
        self.refreshes = rng.random() < 0.8  # clients up to 1.3 keep a token for a day
        self.token: Token | None = None
        self.crashes = rng.random() < 0.5  # the database, while it sends
        self.backup: Any = None
        self.stragglers: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.register()

    def untold(self) -> list[int]:
        """Cursors of which the server cannot know that they may come. One of before it was put back needs all there is."""
        cursors = [self.cursor, self.backup[2]] if self.backup else []
        if self.space.clients[self.name].first_stamp is None:
            cursors.append(self.cursor)
        return [cursor if cursor >= self.space.restored else 0 for cursor in cursors]

    def register(self) -> None:
        """As a client that is new here: it begins anew, with all that it has as new rows, or goes on from its cursor."""
        self.space.register(self.name)
        self.token, self.stragglers = None, []
        self.backup = None  # nobody knows its client any more
        if self.cursor == 0 or self.rng.random() < 0.5:
            self.cursor = 0
            for key in self.rows:
                self.log.setdefault(key, []).append(("I", self.world.now + self.skew))

    def write(self, key: Key, value: Any) -> None:
        entries = self.log.setdefault(key, [])
        date = self.world.now + self.skew
        new = key not in self.rows
        self.rows[key] = value
        if new:
            entries.append(("I", date))
        elif entries and entries[0][0] == "I":
            return  # the client keeps the insert and its date
        else:
            del entries[:1]
            entries.append(("U", date))

    def delete(self, key: Key) -> None:
        if key not in self.rows:
            return
        del self.rows[key]
        entries = self.log.setdefault(key, [])
        if entries and entries.pop(0)[0] == "I":
            if not entries:
                del self.log[key]
            return  # never synced, as far as the device knows
        entries.append(("D", self.world.now + self.skew))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Send a request; on any failure send it once more, as sync_client does (gzip, then plain)."""
        sent = self._request(arguments)
        if (
            self.faulty and self.refreshes and self.rng.random() < 0.1
        ):  # an old client's late copies look like new calls
            self.stragglers.append((function, copy.deepcopy(sent)))
        for last_try in (False, True):
            self._perhaps_crash()
            luck = self.rng.random() if self.faulty else 1.0
            if luck < 0.02:
                raise Crash
            if luck < 0.04:
                continue  # the request was lost
            try:
                answer = function(*sent)
            except TokenRejected:
                self.token = self.space.refresh(self.name)
                return function(self.token, *sent[1:])
            except Refused:
                if last_try:
                    raise
                continue
            if luck < 0.08:
                continue  # the answer was lost
            if luck < 0.10:
                raise Crash
            return answer
        raise Lost

    def _perhaps_crash(self) -> None:
        if self.faulty and self.crashes and self.rng.random() < 0.03:
            self.space.crash()

    def _request(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.faulty and self.rng.random() < 0.02:
            self.space.pass_two_minutes()
        if self.refreshes or self.token is None:
            self.token = self.space.refresh(self.name)
        return (self.token, self.name, *arguments)

    def sync(self, meanwhile: Callable[[], object] = lambda: None) -> bool:
        try:
            self._exchange(meanwhile)
            done = True
        except Crash:
            return False
        except (Lost, Refused):
            done = False
        with suppress(Crash, Lost):
            self.call(self.space.cancel)
        return done

    def _exchange(self, meanwhile: Callable[[], object]) -> None:
        pending = {key: entries[-1] for key, entries in self.log.items() if entries}
        captured = {
            key: (operation, date, self.rows.get(key) if operation != "D" else None)
            for key, (operation, date) in pending.items()
        }
        for row in self.call(self.space.pull, self.cursor, pending):
            if self.faulty and self.rng.random() < 0.01:
                raise Crash
            if row.operation == "D":
                self.rows.pop(row.key, None)
            else:
                self.rows[row.key] = row.data
        items = list(captured.items())
        parts = [items[i : i + PART] for i in range(0, len(items), PART)] or [[]]
        answer = None
        for number, part in enumerate(parts, start=1):
            if self.faulty and self.rng.random() < 0.03:
                self.space.stop(self.name)
            if self.faulty and self.rng.random() < 0.3:
                meanwhile()
            self.straggle()
            answer = self.call(self.world.push, self.cursor, dict(part), number < len(parts))
        if self.faulty and self.rng.random() < 0.02:
            raise Crash
        assert answer is not None
        self.log, self.cursor = {}, answer

    def befall(self) -> None:
        """A backup of the device is taken, or restored; or it has to register anew, as an operator had removed it."""
        luck = self.rng.random()
        if luck < 0.25:
            self.backup = copy.deepcopy((self.rows, self.log, self.cursor))
        elif luck < 0.4:
            self.register()
        elif self.backup:
            self.rows, self.log, self.cursor = copy.deepcopy(self.backup)

    def straggle(self) -> None:
        """A copy of an old request, held up somewhere, reaches the server at last."""
        if self.stragglers and self.faulty and self.rng.random() < 0.2:
            function, arguments = self.stragglers.pop(self.rng.randrange(len(self.stragglers)))
            with suppress(Refused):
                function(*arguments)


class Backups:
    """Backups of the server. `lost`: rows that it may not know again at all, with the stamp at which it was put back."""

    def __init__(self, world: World, devices: list[Device], probability: float) -> None:
        self.world, self.devices, self.probability = world, devices, probability
        self.taken: Space | None = None
        self.lost: dict[Key, int] = {}
        self.failure: str | None = None

    def perhaps_take_or_restore(self) -> None:
        if not self.probability or self.world.rng.random() >= self.probability:
            return
        if self.taken is None:
            self.taken = copy.deepcopy(self.world.space)
            return
        self.lost |= dict.fromkeys(self.world.put_back(self.taken), self.world.space.restored)
        for device in self.devices:
            if device.name not in self.world.space.clients:
                device.register()
        self.taken = None
        self.failure = self.failure or nothing_unpushed_is_lost(self.world, self.devices)


def play(seed: int, *, restores: bool = False) -> str | None:
    """One random history; a description of what went wrong, or None. `restores`: the server is put back to backups, too."""
    rng = random.Random(seed)
    world = World(rng)
    devices = [Device(f"device{number}", world, rng) for number in range(2 + seed % 3)]
    keys = [(table, str(number)) for table in ("todos", "notes") for number in range(4)]  # the same guid in two tables
    forgetful = rng.random() < 0.5  # the history is pruned, too
    backups = Backups(world, devices, probability=0.05 * restores)

    def operate() -> None:
        world.operate(devices, rng.choice(keys), with_history=forgetful)

    for step in range(20 + seed % 80):
        device = rng.choice(devices)
        world.now += rng.choice([0, 1, 10])
        backups.perhaps_take_or_restore()
        luck = rng.random()
        if luck < 0.12:
            device.delete(rng.choice(keys))
        elif luck < 0.5:
            device.write(rng.choice(keys), step)
        elif luck < 0.91:
            others: list[Callable[[], object]] = [other.sync for other in devices if other is not device]
            device.sync(meanwhile=rng.choice([operate, *others]))
        elif luck < 0.95:
            operate()
        elif luck < 0.96:
            device.straggle()
        elif luck < 0.965:
            devices[devices.index(device)] = Device(f"installed anew at {step}", world, rng)
        else:
            device.befall()
    return backups.failure or come_to_rest(f"seed {seed}", world, devices, backups.lost)


def nothing_unpushed_is_lost(world: World, devices: list[Device]) -> str | None:
    """All sync after the server was put back: the edits that they had not pushed are stored, or kept."""
    for device in world.rng.sample(devices, len(devices)):
        pending = {
            key: None if entries[-1][0] == "D" else device.rows.get(key)
            for key, entries in device.log.items()
            if entries
        }
        device.faulty, device.stragglers = False, []
        if not device.sync():
            return f"{device.name} cannot sync after a restore"
        device.faulty = True
        for key, data in pending.items():
            row = world.space.rows.get(key)
            stored = row is not None and row.data == data
            kept = any(each == key and change[2] == data for each, _, change in world.space.overridden)
            if not stored and not kept:
                return f"{device.name} has lost {key} {data}"
    return None


def come_to_rest(story: str, world: World, devices: list[Device], lost: Mapping[Key, int]) -> str | None:
    """Sync without faults until nothing is left to say; a description of what differs then, or None.

    Of rows that the server has `lost` altogether it cannot tell devices anything: they stay where they are. A tombstone from
    before, brought back from the history for another device, is older than what was lost.
    """
    for device in devices:
        device.faulty = False
        world.space.clients[device.name].sync = None  # two minutes have passed
    for _ in range(2):
        for device in devices:
            if not device.sync():
                return f"{story}: {device.name} cannot sync"
    applied = world.space.applied
    fresh = Device("fresh", world, world.rng)
    fresh.faulty = False
    fresh.sync()
    rows = world.space.rows
    live = {key: row.data for key, row in rows.items() if row.operation != "D"}
    for device in [*devices, fresh]:
        unknown = {key for key, since in lost.items() if key not in rows or rows[key].stamp < since}
        if {key: data for key, data in device.rows.items() if key not in unknown} != live:
            return f"{story}: {device.name} holds {device.rows}, the server {live}"
        device.sync()
    return f"{story}: not at rest" if world.space.applied != applied else None


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    failures = [failure for seed in range(first, first + runs) if (failure := play(seed, restores=bool(seed % 2)))]
    sys.stdout.write("".join(f"{failure}\n" for failure in failures[:5]))
    sys.stdout.write(f"{runs - len(failures)} passed, {len(failures)} failed\n")
    sys.exit(bool(failures))
