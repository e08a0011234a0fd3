"""Room is counted once a second while there is much; each who is let in by what is known counts as being there."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from sync_server.room import Room


class Door:
    """A room with a clock that stands still, and who is in it, as far as a count can see."""

    def __init__(self, most: int) -> None:
        self.most, self.now = most, 1000.0
        self.room = Room(lambda: self.now)
        self.inside: set[UUID] = set()
        self.counts = 0

    def comes(self, client: UUID | None = None, *, arrives: bool = True) -> bool:
        """Whether one more is let in. `arrives`: a count can see it at once."""
        client = client or uuid4()
        if not self.room.suffices(self.most) and self.count(client) >= self.most:
            return False
        number = self.room.enter(client)
        if arrives:
            self.inside.add(client)
            self.room.entered(number)
        return True

    def count(self, client: UUID) -> int:
        self.counts += 1
        glance = self.room.glance()
        return self.room.note(glance, len(self.inside - glance.entering - {client}), client)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 9, 100])
@pytest.mark.parametrize("arrives", [True, False])
def test_of_all_that_come_at_once_as_many_are_let_in_as_there_may_be(most: int, arrives: bool) -> None:
    door = Door(most)
    assert [door.comes(arrives=arrives) for _ in range(3 * most)] == [True] * most + [False] * 2 * most


@pytest.mark.parametrize("most", [1, 2, 3, 20])
def test_one_who_has_left_makes_room_at_once(most: int) -> None:
    door = Door(most)
    while door.comes():
        pass
    door.inside.pop()
    assert door.comes()
    assert not door.comes()


def test_while_there_is_much_room_it_is_counted_once_a_second() -> None:
    door = Door(100)
    for _ in range(10):
        assert all(door.comes() for _ in range(50))
        door.inside.clear()
        door.now += 1.0
    assert door.counts == 10


def test_beyond_half_of_it_each_is_counted() -> None:
    door = Door(100)
    assert all(door.comes() for _ in range(100))
    assert door.counts == 1 + 50
    door.inside.clear()
    door.comes()
    assert all(door.comes() for _ in range(49))
    assert door.counts == 1 + 50 + 1


def test_nobody_comes_in_before_the_first_count() -> None:
    """Others, or this process before it was started anew, may have let in as many as there may be."""
    room = Room(lambda: 0.0)
    assert not any(room.suffices(100) for _ in range(10))


def test_a_count_that_fails_lets_in_no_more_than_half_for_ever() -> None:
    door = Door(100)
    assert door.comes()
    let_in = 1
    for _ in range(1000):
        door.now += 0.5
        if door.room.suffices(100):
            door.room.entered(door.room.enter(uuid4()))
            let_in += 1
    assert let_in == 50


def test_a_count_that_takes_long_does_not_forget_who_was_let_in_meanwhile() -> None:
    door = Door(100)
    assert door.comes()
    door.now += 1.0
    assert not door.room.suffices(100)  # who has to count
    slow = door.room.glance()
    assert all(door.comes(arrives=False) for _ in range(49))
    assert not door.room.suffices(100)
    assert door.room.note(slow, 1, uuid4()) == 50
    assert not door.room.suffices(100)


def test_an_earlier_count_that_ends_later_does_not_hide_a_later_one() -> None:
    door = Door(100)
    assert not door.room.suffices(100)
    slow = door.room.glance()
    assert all(door.comes() for _ in range(60))
    door.room.note(slow, 0, uuid4())
    assert not door.room.suffices(100)
    door.inside.clear()
    door.comes()
    assert door.room.suffices(100)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_clients_own_sync_is_no_hindrance(most: int) -> None:
    door = Door(most)
    mine = uuid4()
    assert door.comes(mine)
    while door.comes():
        pass
    assert len(door.inside) == most
    assert all(door.comes(mine) for _ in range(3))


def test_one_who_comes_twice_at_once_is_one() -> None:
    door = Door(1)
    mine = uuid4()
    assert door.comes(mine, arrives=False)
    assert door.comes(mine, arrives=False)
    assert not door.comes()
