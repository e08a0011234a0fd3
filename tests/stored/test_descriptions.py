"""clientDescription may be anything; something is made out of it where that is possible."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_server.stored import descriptions
from sync_server.stored.descriptions import Description


@pytest.mark.parametrize(
    ("details", "found"),
    [
        (None, Description()),
        ("", Description()),
        ("Ann's phone", Description(name="Ann's phone")),
        ('"Ann"', Description(name="Ann")),
        ("[1, 2]", Description()),
        ("{}", Description()),
        (
            '{"name":"Ann\'s phone","systemName":"iOS","systemVersion":"17.1","model":"iPhone","appVersion":"1.4.2"}',
            Description("Ann's phone", "iPhone", "iOS", "17.1", "1.4.2"),
        ),
        ('{"NAME": 7, "version": true, "os": {"x": 1}}', Description(name="7")),
        ('{"name": "' + "x" * 200 + '"}', Description(name="x" * 100)),
        ('{"name": "  "}', Description()),
    ],
)
def test_what_is_there_is_made_out(details: str | None, found: Description) -> None:
    assert descriptions.read(details) == found


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(str))
def test_it_never_fails(details: Any) -> None:
    assert isinstance(descriptions.read(details), Description)


def test_nesting_without_end_is_no_fault() -> None:
    assert descriptions.read("[" * 100_000).model is None
