"""Ids are read as Redis reads them; the case file of streams compares many more of them with redis-server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.errors import CommandError
from kvserver.types.stream.ids import (
    FIRST,
    LAST,
    MOST,
    Id,
    after,
    before,
    following,
    parse,
    parse_bound,
    parse_interval,
    parse_open,
    text_of,
)

numbers = st.integers(0, MOST)


@given(numbers, numbers)
def test_id_is_read_back(milliseconds: int, sequence: int) -> None:
    identity = milliseconds, sequence
    assert parse(text_of(identity)) == parse_bound(text_of(identity)) == identity
    following_one = after(identity)
    assert following_one is None if identity == LAST else before(following_one or FIRST) == identity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"5", (5, 7)),
        (b"007", (7, 7)),
        (b" +5-\t6", (5, 6)),
        (b"5--06", (5, MOST - 5)),
        (b"5\0-3", (5, 7)),
        (b"0-0", FIRST),
        *((text, None) for text in (b"5--6", b"-", b"+", b"", b"-5", b"5-", b"5-*", b"x", b"5 ", b"1-1-1", b"(5", b"1" * 128)),
        *((text, None) for text in (b"18446744073709551616", b"0-18446744073709551616", b"5-\xb2")),
    ],
)
def test_id_is_what_redis_reads(text: bytes, expected: Id | None) -> None:
    if expected is not None:
        assert parse(text, 7) == expected
        return
    with pytest.raises(CommandError, match=r"^ERR Invalid stream ID specified as stream command argument$"):
        parse(text, 7)


def test_sequence_number_may_be_open() -> None:
    assert parse_open(b"5-*") == ((5, 0), True)
    assert parse_open(b"5-3") == ((5, 3), False)
    for text in (b"*-*", b"5-**", b"-*", b"5-3-*"):
        with pytest.raises(CommandError):
            parse_open(text)


def test_interval_has_its_bounds_unless_they_are_exclusive() -> None:
    assert parse_interval(b"-", b"+") == (FIRST, LAST)
    assert parse_interval(b"5", b"6") == ((5, 0), (6, MOST))
    assert parse_interval(b"(5", b"(6") == ((5, 1), (6, MOST - 1))
    assert parse_interval(b"(5-18446744073709551615", b"(6-0") == ((6, 0), (5, MOST))
    with pytest.raises(CommandError, match=r"^ERR invalid start ID for the interval$"):
        parse_interval(b"(18446744073709551615-18446744073709551615", b"+")
    with pytest.raises(CommandError, match=r"^ERR invalid end ID for the interval$"):
        parse_interval(b"-", b"(0-0")
    with pytest.raises(CommandError, match="Invalid stream ID"):
        parse_interval(b"(-", b"+")


def test_id_that_is_given_comes_behind_the_last_one() -> None:
    assert following((5, 3), 7) == (7, 0)
    assert following((7, 3), 7) == (7, 4)
    assert following((9, MOST), 7) == (10, 0)
