"""Listpacks are read in every encoding, written as Redis writes them, and refused where anything in them is wrong."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import blocks
from kvserver._speedups.listpacks import read_listpack, write_entry
from kvserver.formats.listpack import (
    entries_size,
    entry_size,
    integer_size,
    integers_size,
    write_listpack,
)

BITS = (7, 8, 12, 15, 23, 31, 63)
# The integers around the borders of all encodings.
BORDERS = sorted({sign * (1 << bits) + near for bits in BITS for sign in (1, -1) for near in (-1, 0, 1)})
integers = st.integers(-(1 << 64), 1 << 64) | st.integers(-200, 200) | st.sampled_from(BORDERS)
strings = st.binary(max_size=80) | integers.map(b"%d".__mod__)


@given(st.lists(strings))
def test_what_was_written_is_read(values: list[bytes]) -> None:
    data = write_listpack(values)
    assert read_listpack(data) == values
    assert data[6:-1] == b"".join(map(write_entry, values))


@pytest.mark.parametrize(
    "length", [0, 63, 64, 125, 126, 127, 4_095, 4_096, 16_377, 16_378, 16_379, 70_000, 2_097_145, 2_097_146]
)
def test_lengths_at_the_borders_of_their_encodings(length: int) -> None:
    value = b"x" * length
    assert write_listpack([value, b"a"]) == blocks.listpack([blocks.listpack_string(value), b"\x81a"])
    assert read_listpack(write_listpack([value, b"a"])) == [value, b"a"]


# An entry in each encoding of integers, and its decimal.
INTEGERS = (
    *((bytes((number,)), b"%d" % number) for number in (0, 1, 127)),
    *((struct.pack(">H", 0xC000 | number & 0x1FFF), b"%d" % number) for number in (128, 4_095, -1, -4_096)),
    *((struct.pack("<Bh", 0xF1, number), b"%d" % number) for number in (4_096, -4_097, 32_767, -32_768)),
    *((b"\xf2" + number.to_bytes(3, "little", signed=True), b"%d" % number) for number in (32_768, (1 << 23) - 1, -(1 << 23))),
    *((struct.pack("<Bi", 0xF3, number), b"%d" % number) for number in (1 << 23, (1 << 31) - 1, -(1 << 31))),
    *((struct.pack("<Bq", 0xF4, number), b"%d" % number) for number in (1 << 31, (1 << 63) - 1, -(1 << 63))),
)


@pytest.mark.parametrize(("entry", "value"), INTEGERS)
def test_decimal_of_an_integer_is_written_as_an_integer(entry: bytes, value: bytes) -> None:
    assert write_listpack([value]) == blocks.listpack([entry])
    assert read_listpack(blocks.listpack([entry])) == [value]


def test_longer_encodings_than_needed_are_read() -> None:
    entries = [b"\xc0\x01", b"\xf1\x01\0", b"\xf2\x01\0\0", b"\xf3\x01\0\0\0", b"\xf4\xff" + b"\xff" * 7, b"\xe0\x01a"]
    assert read_listpack(blocks.listpack([*entries, b"\xf0\x02\0\0\0bc"])) == [b"1", b"1", b"1", b"1", b"-1", b"a", b"bc"]


@pytest.mark.parametrize(
    "value",
    [b"-", b"-0", b"+1", b"01", b"1 ", b" 1", b"1_0", b"--1", b"-01", b"0x1", b"9223372036854775808", b"1" * 21, b"\xb2"],
)
def test_what_only_looks_like_an_integer_stays_a_string(value: bytes) -> None:
    assert write_listpack([value]) == blocks.listpack([blocks.listpack_string(value)])


def test_count_of_many_entries_says_nothing() -> None:
    for count in (65_534, 65_535, 65_536):
        data = write_listpack([b"1"] * count)
        assert data == blocks.listpack([b"\1"] * count, count=min(count, 65_535))
        assert len(read_listpack(data)) == count


def test_listpack_without_entries() -> None:
    assert write_listpack([]) == b"\7\0\0\0\0\0\xff"
    assert read_listpack(b"\7\0\0\0\0\0\xff") == []


def relengthed(data: bytes) -> bytes:
    """The same with its length in its head."""
    return struct.pack("<I", len(data)) + data[4:]


def made_of(entry: bytes) -> bytes:
    """A listpack of the bytes of one entry."""
    return relengthed(b"\0\0\0\0\1\0" + entry + b"\xff")


ONE = blocks.listpack([b"\x83abc"])


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xff", ONE + b"\xff", relengthed(ONE + b"\xff"), relengthed(ONE[:-1]), ONE[:-1] + b"\0"),
        *(blocks.listpack([b"\x83abc"], count=count) for count in (0, 2, 65_534)),
        *(made_of(entries) for entries in (b"\x83abc\5", b"\x83abc", b"\x83ab", b"\x80", b"\0\2", b"\x81")),
        # Lengths that reach into the end, behind it, and far behind it.
        *(made_of(entries) for entries in (b"\x84abc\4", b"\xbfabc\4", b"\xefabc\4")),
        *(blocks.listpack([b"\xf0" + length + b"abc"]) for length in (b"\4\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80")),
        *(blocks.listpack([bytes((encoding,)) + b"\1\0\0\0\0\0\0\0"]) for encoding in (0xF5, 0xFE, 0xFF)),
        *(blocks.listpack([entry]) for entry in (b"\xc1", b"\xe0", b"\xf0", b"\xf1\0", b"\xf2\0", b"\xf3\0", b"\xf4\0")),
        # The copy of the length of a longer entry: another one, and one whose last byte is the end of the listpack.
        made_of(b"\xe1\x00" + b"x" * 256 + b"\2\x83"),
        made_of(b"\xe0\xfd" + b"x" * 253 + b"\1"),
    ],
)  # fmt: skip
def test_damaged_listpack_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"the|an"):
        read_listpack(data)


@given(st.lists(strings, max_size=5).map(write_listpack), st.data())
def test_any_data_is_read_or_refused(data: bytes, draw: st.DataObject) -> None:
    position = draw.draw(st.integers(0, len(data) - 1))
    damage = draw.draw(st.binary(max_size=3))
    changed = data[:position] + damage + data[position + len(damage) :]
    for candidate in (changed, relengthed(changed), data[:position], relengthed(data[:position] + b"\xff")):
        with suppress(ValueError):
            assert all(type(string) is bytes for string in read_listpack(candidate))


def test_a_thousand_lies_about_lengths_allocate_nothing() -> None:
    huge = blocks.listpack([b"\xf0\xff\xff\xff\x7f"] * 1_000)
    with pytest.raises(ValueError, match=r"copy|inside"):
        read_listpack(huge)


@given(st.lists(strings | st.integers(0, 5_000).map(b"x".__mul__), max_size=8))
def test_sizes_of_strings_are_those_of_their_entries(some: list[bytes]) -> None:
    assert entries_size(some) == sum(map(len, map(write_entry, some))) == sum(map(entry_size, some))


@given(st.lists(st.integers(0, 1 << 64) | st.sampled_from([each for each in BORDERS if each >= 0])))
def test_sizes_of_integers_in_order_are_those_of_each(numbers: list[int]) -> None:
    assert integers_size(sorted(numbers)) == sum(map(integer_size, numbers))


def test_size_of_an_integer_is_that_of_its_entry() -> None:
    for number in (each for each in BORDERS if -(1 << 63) <= each < 1 << 63):
        bits = number % (1 << 64)
        assert (
            integer_size(number) == integer_size(bits) == integer_size(bits - (1 << 64)) == len(write_entry(b"%d" % number))
        ), number
