"""Long strings of RDB files come in pieces, are expanded in steps, and are refused if they are none."""

from __future__ import annotations

import random

import pytest

from helpers import dumps
from kvserver.data.steps import at_once
from kvserver.errors import DumpInvalid
from kvserver.formats.rdb_longstring import LONG_BYTES, LongString

LIMIT = 1 << 20
COMPRESSED = 0xC3
VALUE = b"0123456789abcdef" * 20_000


def lzf(value: bytes) -> bytes:
    """The items alone, without type and lengths."""
    return dumps.compressed(value)[12:]


def gathered(first_byte: int, stored: bytes, length: int) -> LongString:
    string = LongString.begin(first_byte, len(stored), length, LIMIT)
    assert string
    rng = random.Random(length)
    position = 0
    while string.left:
        size = min(rng.randrange(1, 9_000), string.left)
        string.take(memoryview(stored)[position : position + size])
        position += size
    return string


@pytest.mark.parametrize(("first_byte", "stored"), [(0x80, VALUE), (COMPRESSED, lzf(VALUE))])
def test_string_that_comes_in_pieces_is_whole_in_the_end(first_byte: int, stored: bytes) -> None:
    assert at_once(gathered(first_byte, stored, len(VALUE)).value()) == VALUE


def test_string_is_expanded_in_steps() -> None:
    steps = gathered(COMPRESSED, lzf(VALUE), len(VALUE)).value()
    assert sum(1 for _ in steps) == -(-len(VALUE) // (1 << 16))


def test_string_that_is_short_or_too_long_is_left_to_others() -> None:
    assert LongString.begin(0x80, LONG_BYTES, LONG_BYTES, LIMIT) is None
    assert LongString.begin(COMPRESSED, 5, LIMIT + 1, LIMIT) is None
    assert LongString.begin(COMPRESSED, LIMIT + 1, LIMIT, LIMIT) is None
    assert LongString.begin(COMPRESSED, 5, LIMIT, LIMIT)


@pytest.mark.parametrize(
    ("stored", "length"),
    [(lzf(VALUE), len(VALUE) - 1), (lzf(VALUE), len(VALUE) + 1), (lzf(VALUE)[:-1], len(VALUE)), (b"\x20\x05" * 9, 1 << 17)],
)
def test_what_is_no_string_of_that_length_is_refused(stored: bytes, length: int) -> None:
    with pytest.raises(DumpInvalid):
        at_once(gathered(COMPRESSED, stored, length).value())


def test_no_more_is_expanded_than_the_string_may_have() -> None:
    bomb = b"\x00a" + b"\xe0\xff\x00" * 100_000
    steps = gathered(COMPRESSED, bomb, LONG_BYTES + 1).value()
    with pytest.raises(DumpInvalid):
        assert sum(1 for _ in steps) <= 2
