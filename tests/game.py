"""Several devices of several users and all that can befall them, move by move, with the model in step (see twin.py)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from device import Device, Key, State, unhindered, wall_clock
from dialects import OldDevice
from twin import Twin, canonical
from users import User
from wire import (
    Answer,
    Crash,
    Request,
    Send,
    Transport,
    crash_after,
    crash_before,
    direct,
    encode,
    lose_answer,
    lose_request,
)

YEAR = 365 * 86_400_000
SKEWS = [0, 0, -500, 500, 3, -YEAR, YEAR, 60_000]
"""ms by which the devices' clocks are wrong. Time in the game begins a minute ago, so the last is about right."""
KEYS: list[Key] = [(table, f"{number}") for table in ("todos", "notes") for number in range(4)]  # one guid, two tables
FAULTS: dict[str, Transport] = {
    "lose the request": lose_request,
    "lose the answer": lose_answer,
    "crash before": crash_before,
    "crash after": crash_after,
}
PARTS = 3  # changes in one push, so that a few edits make several


@dataclass
class Plan:
    """What befalls a sync. Its exchanges are counted from 0: pull, push, cancelSync, or more where there are parts or
    repetitions; those that fetch tokens are counted apart."""

    faults: Mapping[int, str] = field(default_factory=dict)
    token_faults: Mapping[int, str] = field(default_factory=dict)
    others: Mapping[int, int] = field(default_factory=dict)
    """Devices that sync before an exchange arrives, by its number."""
    operator: Mapping[int, int] = field(default_factory=dict)
    """What an operator brings back before an exchange arrives."""
    crash_step: int | None = None
    database_crash: int | None = None
    """Before which exchange the database crashes."""


@dataclass
class Player:
    """A device in the game."""

    device: Device
    skew: int
    stragglers: list[Request] = field(default_factory=list)
    backup: State | None = None
    busy: bool = False
    sent: int = 0

    @property
    def refreshes(self) -> bool:
        """Clients up to 1.3 use a token for a day, so their late copies cannot be told from new calls."""
        return not isinstance(self.device, OldDevice)


class Household:
    """A user with the devices of a game and one that joins when it is over."""

    def __init__(self, user: User, skews: list[int], now: Callable[[], int]) -> None:
        self.user, self.twin, self.now = user, Twin(user), now
        self.players = [self._player(skew, old=index == 2) for index, skew in enumerate(skews)]
        self.fresh = user.device(send=self.twin.send, part=PARTS)

    def _player(self, skew: int, *, old: bool) -> Player:
        kind = OldDevice if old else Device
        player = Player(self.user.join(kind(self.twin.send, self.user.realm, part=PARTS)), skew)
        player.device.clock = lambda: self.now() + skew
        return player


class Game:
    """A game of these users, who have no devices yet."""

    def __init__(self, users: list[User], skews: list[int]) -> None:
        self.time = wall_clock() - 60_000
        self.values = 0
        self.story: list[str] = []
        self.households = [Household(user, skews, lambda: self.time) for user in users]
        self.players = [(household, player) for household in self.households for player in household.players]

    # Moves.

    def write(self, number: int, key: Key) -> None:
        _, player = self._tell("write", number, key)
        self.values += 1
        known = key in player.device.state.rows
        edit = player.device.update if known else player.device.insert
        edit(*key, {"title": f"{self.values}"})

    def delete(self, number: int, key: Key) -> None:
        _, player = self._tell("delete", number, key)
        if key in player.device.state.rows:
            player.device.delete(*key)

    def sync(self, number: int, plan: Plan) -> None:
        _, player = self._tell("sync", number, plan)
        player.busy = True
        player.device.transport = self._transport(player, plan)
        player.device.step = _crash_at(plan.crash_step)
        player.device.tries_to_sync()
        player.busy = False

    def straggle(self, number: int, which: int) -> None:
        """A copy of a request that was held up somewhere arrives."""
        household, player = self._tell("straggle", number, which)
        if player.stragglers:
            household.twin.send(player.stragglers.pop(which % len(player.stragglers)))

    def back_up(self, number: int) -> None:
        _, player = self._tell("back up", number)
        player.backup = player.device.backup()

    def restore(self, number: int) -> None:
        _, player = self._tell("restore", number)
        if player.backup is not None:
            player.device.restore(player.backup)

    def come_back(self, number: int, *, with_cursor: bool) -> None:
        """The device leaves and registers as another client. It begins anew, or goes on from where it was."""
        household, player = self._tell("come back", number, with_cursor)
        device, before = player.device, player.device.backup()
        device.transport = direct
        device.unregister()
        assert before.client_id is not None
        household.twin.space.clients.pop(before.client_id, None)
        device.register(household.user.email, household.user.password, new=False)
        if with_cursor:
            device.state.cursor, device.state.log = before.cursor, before.log
        player.backup = None  # nobody knows its client any more

    def two_minutes_pass(self, number: int) -> None:
        household, player = self._tell("two minutes pass", number)
        self._age(household, player)

    def database_crashes(self, number: int) -> None:
        household, _ = self._tell("database crashes", number)
        household.twin.crash()

    def server_clock_leaps(self, number: int, milliseconds: int) -> None:
        """The user's calls reach a server whose clock is ahead."""
        household, _ = self._tell("server clock leaps", number, milliseconds)
        household.twin.space.clock += milliseconds
        household.user.set_clock(household.twin.space.clock)

    def bring_back(self, number: int, which: int) -> None:
        """An operator brings back a version that was replaced or lost, or deletes a row."""
        household, _ = self._tell("bring back", number, which)
        lines = [*household.user.overridden(), *household.user.rows().values()]
        if lines:
            line = lines[which % len(lines)]
            row_data = None if which >= len(lines) else line["row_data"]
            household.twin.bring_back((line["tablename"], line["rowguid"]), row_data)

    def prune(self, number: int, age: int) -> None:
        """The server forgets what is older than `age` ms, as far as it may. The history stays."""
        household, _ = self._tell("prune", number, age)
        household.twin.prune(age)

    def _tell(self, move: str, number: int, *details: object) -> tuple[Household, Player]:
        self.time += 7  # edits never share a millisecond
        self.story.append(f"{move} {number % len(self.players)} {' '.join(map(str, details))}")
        return self.players[number % len(self.players)]

    def _age(self, household: Household, player: Player) -> None:
        household.user.two_minutes_pass(player.device)
        client = household.twin.space.clients.get(player.device.client_id)
        if client is not None and client.sync is not None:
            client.sync.stale = True

    def _transport(self, player: Player, plan: Plan) -> Transport:
        numbers, token_numbers = itertools.count(), itertools.count()

        def transport(request: Request, send: Send) -> Answer:
            if request.path.startswith("/login"):
                fault = plan.token_faults.get(next(token_numbers))
            else:
                number = next(numbers)
                self._keep_a_copy(player, request)
                self._sync_of_another(plan.others.get(number))
                if number in plan.operator:
                    self.bring_back(self._number(player), plan.operator[number])
                if number == plan.database_crash:
                    self.database_crashes(self._number(player))
                fault = plan.faults.get(number)
            return FAULTS[fault](request, send) if fault else send(request)

        return transport

    def _number(self, player: Player) -> int:
        return next(number for number, (_, each) in enumerate(self.players) if each is player)

    @staticmethod
    def _keep_a_copy(player: Player, request: Request) -> None:
        """Of every other request, so that it may arrive once more, much later."""
        player.sent += 1
        if player.refreshes and player.sent % 2:
            player.stragglers.append(request)

    def _sync_of_another(self, number: int | None) -> None:
        if number is not None and not self.players[number % len(self.players)][1].busy:
            self.sync(number, Plan())

    # The end.

    def come_to_rest(self) -> None:
        """All faults end, everybody syncs; raises AssertionError unless all hold what the model says."""
        for household in self.households:
            for player in household.players:
                player.device.transport, player.device.step = direct, unhindered
                self._age(household, player)
            for _ in range(2):
                for player in household.players:
                    player.device.sync()
            household.twin.check_acknowledged()
            household.fresh.sync()
            expected = household.twin.live_rows()
            for device in [household.fresh, *(player.device for player in household.players)]:
                assert rows_of(device) == expected
            self._stays_at_rest(household)

    @staticmethod
    def _stays_at_rest(household: Household) -> None:
        before = (household.user.history(), household.user.overridden(), household.user.clock)
        for player in household.players:
            player.device.sync()
            assert not player.device.pulled
        assert (household.user.history(), household.user.overridden(), household.user.clock) == before


def rows_of(device: Device) -> dict[Key, Any]:
    """A device's rows as the model has them."""
    rows = device.state.rows.items()
    return {key: canonical(encode({"rowguid": key[1], **row}).decode()) for key, row in rows}


def _crash_at(number: int | None) -> Callable[[str], None]:
    steps = 0

    def step(_name: str) -> None:
        nonlocal steps
        if steps == number:
            raise Crash
        steps += 1

    return step
