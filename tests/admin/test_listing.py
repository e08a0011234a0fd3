"""Lists: pages, filters and sorting, on the example of users."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from admin.people import NewPerson, Person, data, refused


@pytest.fixture(scope="module")
def tag() -> str:
    """What the names of this module's people have in common."""
    return uuid4().hex


@pytest.fixture(scope="module")
def many(new_person: NewPerson, tag: str) -> list[Person]:
    """Seven people, two of whom have the same name."""
    roles = ["user", "viewer", "user", "technician", "user", "user", "user"]
    return [new_person(role, name=f"{letter} {tag.upper()}") for role, letter in zip(roles, "CADBBEF", strict=True)]


def walk(admin: Person, **parameters: Any) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    found: list[dict[str, Any]] = []
    wanted, cursor = parameters, None
    while True:
        wanted = {**parameters, "cursor": cursor} if cursor else parameters
        answer = admin.call("GET", admin.users(), params=wanted)
        found += data(answer)
        pagination = answer.json()["meta"]["pagination"]
        assert pagination["limit"] == parameters["limit"]
        assert len(data(answer)) <= parameters["limit"]
        cursor = pagination["next"]
        if cursor is None:
            assert pagination["total"] == len(found)
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
@pytest.mark.parametrize("sort", ["email", "name", "created_at", "-created_at"])
def test_pages_give_everybody_once_and_in_order(
    admin: Person, many: list[Person], tag: str, sort: str, limit: int
) -> None:
    found = walk(admin, search=tag, sort=sort, limit=limit)
    assert sorted(user["id"] for user in found) == sorted(person.id for person in many)
    key = sort.removeprefix("-")
    values = [(user[key], user["id"]) for user in found]
    assert values == sorted(values, reverse=sort.startswith("-"))


def test_somebody_new_does_not_shift_the_pages(admin: Person, new_person: NewPerson) -> None:
    tag = uuid4().hex
    people = [new_person("user", name=f"{number} {tag}") for number in (1, 2, 4)]
    first = admin.call("GET", admin.users(), params={"search": tag, "sort": "name", "limit": 2}).json()
    new_person("user", name=f"0 {tag}")
    third = new_person("user", name=f"3 {tag}")
    cursor = first["meta"]["pagination"]["next"]
    second = admin.get(admin.users(), search=tag, sort="name", limit=2, cursor=cursor)
    assert [user["id"] for user in first["data"] + second] == [people[0].id, people[1].id, third.id, people[2].id]


def test_search_looks_into_address_and_name_in_any_case(admin: Person, many: list[Person], tag: str) -> None:
    assert {user["id"] for user in admin.get(admin.users(), search=f"b {tag}")} == {many[3].id, many[4].id}
    address = many[0].email.upper()
    assert [user["id"] for user in admin.get(admin.users(), search=address)] == [many[0].id]
    assert admin.get(admin.users(), search="%") == admin.get(admin.users(), search="_") == []


def test_filters_narrow_the_list(admin: Person, many: list[Person], tag: str) -> None:
    assert [user["id"] for user in admin.get(admin.users(), search=tag, role="technician")] == [many[3].id]
    admin.connection.execute("UPDATE sync.users SET active = false WHERE id = %s", [many[2].id])
    assert [user["id"] for user in admin.get(admin.users(), search=tag, active=False)] == [many[2].id]
    assert len(admin.get(admin.users(), search=tag, active=True)) == 6


def test_a_user_is_shown_with_what_an_operator_needs(admin: Person, user: Any) -> None:
    phone, _ = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    [found] = admin.get(admin.users(), search=user.email)
    assert (found["email"], found["role"], found["active"], found["devices"]) == (user.email, "user", True, 2)
    assert found["last_sync"] > found["created_at"]
    assert found["last_sync"].endswith("Z")
    assert "password" not in str(found).lower()


@pytest.mark.parametrize(
    "wrong",
    [
        {"sort": "password_hash"},
        {"sort": "email; DROP TABLE sync.users"},
        {"role": "king"},
        {"active": "perhaps"},
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "many"},
        {"search": "x" * 256},
    ],
)
def test_filters_and_sorting_are_validated(admin: Person, wrong: dict[str, str]) -> None:
    details = refused(admin.call("GET", admin.users(), params=wrong), 422, "invalid")
    assert list(details["fields"]) == list(wrong)


def test_a_filter_that_there_is_not_is_refused(admin: Person) -> None:
    """It would else show more than was asked for."""
    details = refused(admin.call("GET", admin.users(), params={"rol": "admin"}), 422, "invalid")
    assert list(details["fields"]) == ["rol"]


def test_a_cursor_belongs_to_its_list(admin: Person, many: list[Person], tag: str) -> None:
    assert many
    first = {"search": tag, "sort": "name", "limit": 2}
    cursor = admin.call("GET", admin.users(), params=first).json()["meta"]["pagination"]["next"]
    for changed in ({"sort": "email"}, {"search": tag[:-1]}, {"role": "user"}):
        refused(admin.call("GET", admin.users(), params={**first, **changed, "cursor": cursor}), 400, "invalid_cursor")
    for wrong in ("x", "", cursor[:-2], "A" + cursor[1:], cursor + "AA", "😀", "\0"):
        refused(admin.call("GET", admin.users(), params={**first, "cursor": wrong}), 400, "invalid_cursor")
    assert admin.call("GET", admin.users(), params={**first, "limit": 5, "cursor": cursor}).is_success


@pytest.mark.parametrize("text", ["\0", "\ud800".encode("utf-8", "surrogatepass"), b"\xff"])
def test_strange_text_is_no_fault(admin: Person, text: Any) -> None:
    answer = admin.call("GET", admin.users(), params={"search": text})
    assert answer.status_code in (200, 400, 422), answer.text
