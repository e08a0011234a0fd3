"""What is inflated while other calls wait is little, however much a few bytes stand for."""

from __future__ import annotations

import gzip

import pytest

from sync_server.errors import MalformedEncoding
from sync_server.receiving import inflate, inflate_small

LITTLE = 64 * 1024


@pytest.mark.parametrize("size", [0, 1, 1000, LITTLE - 1])
def test_a_little_is_inflated_at_once(size: int) -> None:
    assert inflate_small(gzip.compress(b"x" * size)) == b"x" * size


@pytest.mark.parametrize("size", [LITTLE + 1, 40 * 1024 * 1024])
def test_much_is_not(size: int) -> None:
    bomb = gzip.compress(b"x" * size)
    assert len(bomb) < LITTLE
    at_once = inflate_small(bomb) is not None  # what fails is not to be shown
    assert not at_once
    assert len(inflate(bomb, size)) == size


def test_nor_are_several_members() -> None:
    assert inflate_small(gzip.compress(b"x") * 2) is None


def test_nor_is_what_has_been_cut_off() -> None:
    """It is refused with the rest, which says what is wrong."""
    assert inflate_small(gzip.compress(b"x" * 1000)[:-1]) is None


def test_what_is_no_gzip_is_refused_at_once() -> None:
    with pytest.raises(MalformedEncoding):
        inflate_small(b'{"clientId": 1}')
