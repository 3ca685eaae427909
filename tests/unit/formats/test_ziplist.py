"""Ziplists are read in every encoding, and refused where anything in them is wrong."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import blocks
from kvserver.formats.ziplist import read_ziplist

strings = st.binary(max_size=80)


@given(st.lists(strings), st.integers(0, 254))
def test_strings_are_read(values: list[bytes], long_from: int) -> None:
    assert read_ziplist(blocks.ziplist(map(blocks.ziplist_string, values), long_from=long_from)) == values


@pytest.mark.parametrize("length", [0, 63, 64, 251, 252, 253, 16_383, 16_384, 70_000])
def test_lengths_at_the_borders_of_their_encodings(length: int) -> None:
    values = [b"x" * length, b"a"]
    assert read_ziplist(blocks.ziplist(map(blocks.ziplist_string, values))) == values


def test_integers_are_read() -> None:
    entries, values = zip(*blocks.ZIPLIST_INTEGERS, strict=True)
    assert read_ziplist(blocks.ziplist(entries)) == list(values)


def test_count_of_65535_says_nothing() -> None:
    assert len(read_ziplist(blocks.ziplist([b"\xf1"] * 300, count=65_535))) == 300


def made_of(entries: bytes, tail: int = 10, count: int = 1) -> bytes:
    """A ziplist of the bytes of its entries."""
    return struct.pack("<IIH", 11 + len(entries), tail, count) + entries + b"\xff"


ONE = blocks.ziplist([b"\3abc"])


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xff", ONE + b"\xff", ONE[:-1], ONE[:-1] + b"\0", b"\x0a\0\0\0\x0a\0\0\0\0\xff"),
        *(made_of(b"\0\3abc", count=count) for count in (0, 2, 65_534)),
        *(made_of(b"\0\3abc", tail=tail) for tail in (0, 9, 11, 16, 2**32 - 1)),
        *map(made_of, (b"\1\3abc", b"\0", b"\xfe\0\0\0\0", b"\xfe\0", b"\xff\3abc", b"\0\3ab", b"\0\3abcd")),
        *(made_of(b"\0\3abc" + bytes((previous,)) + b"\1d", tail=15, count=2) for previous in (0, 4, 6)),
        *map(made_of, (b"\0\x04abc", b"\0\x7f\xffabc", b"\0\x80\xff\xff\xff\xffabc", b"\0\x80\0", b"\0\x40")),
        *map(made_of, (b"\0\xc1\0\0", b"\0\xef\0\0", b"\0\xff", b"\0\xc0\0", b"\0\xd0\0\0\0", b"\0\xe0", b"\0\xfe")),
    ],
)  # fmt: skip
def test_damaged_ziplist_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"the|an"):
        read_ziplist(data)


@given(st.lists(strings, max_size=5), st.data())
def test_any_data_is_read_or_refused(values: list[bytes], draw: st.DataObject) -> None:
    data = blocks.ziplist(map(blocks.ziplist_string, values))
    position = draw.draw(st.integers(10, len(data) - 1))
    damage = draw.draw(st.binary(max_size=3))
    changed = data[:position] + damage + data[position + len(damage) :]
    for candidate in (changed, made_of(changed[10:-1], count=65_535), made_of(data[10:position]), data[:position]):
        with suppress(ValueError):
            assert all(type(string) is bytes for string in read_ziplist(candidate))
