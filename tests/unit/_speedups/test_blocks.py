"""Ziplists, zipmaps and intsets are read in every encoding, by both forms alike, and refused where anything is wrong."""

from __future__ import annotations

import struct
from functools import partial
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import blocks
from helpers.leaves import assert_frees_all, each_end_of_memory, forms
from kvserver.formats.intset import write_intset

strings = st.binary(max_size=80)
pairs_of_strings = st.lists(st.tuples(st.binary(max_size=10), st.binary(max_size=10)))
integers = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-40_000, 40_000)


def result(form: Any, data: bytes) -> Any:
    try:
        return form(data)
    except ValueError:
        return "refused"


def read(name: str, data: bytes) -> Any:
    """What both forms of a leaf read, or that both refuse it."""
    results = [result(form, data) for form in forms(name).values()]
    assert all(found == results[0] for found in results), results
    return results[0]


@given(st.lists(strings), st.integers(0, 254))
def test_strings_of_ziplists_are_read(values: list[bytes], long_from: int) -> None:
    assert read("read_ziplist", blocks.ziplist(map(blocks.ziplist_string, values), long_from=long_from)) == values


@pytest.mark.parametrize("length", [0, 63, 64, 251, 252, 253, 16_383, 16_384, 70_000])
def test_lengths_in_ziplists_at_the_borders_of_their_encodings(length: int) -> None:
    values = [b"x" * length, b"a"]
    assert read("read_ziplist", blocks.ziplist(map(blocks.ziplist_string, values))) == values


def test_integers_of_ziplists_are_read() -> None:
    entries, values = zip(*blocks.ZIPLIST_INTEGERS, strict=True)
    assert read("read_ziplist", blocks.ziplist(entries)) == list(values)


def test_count_of_65535_in_a_ziplist_says_nothing() -> None:
    assert len(read("read_ziplist", blocks.ziplist([b"\xf1"] * 300, count=65_535))) == 300


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
    assert read("read_ziplist", data) == "refused"


@given(st.lists(strings, max_size=5), st.data())
def test_any_data_is_read_as_a_ziplist_alike(values: list[bytes], draw: st.DataObject) -> None:
    data = blocks.ziplist(map(blocks.ziplist_string, values))
    position = draw.draw(st.integers(10, len(data) - 1))
    damage = draw.draw(st.binary(max_size=3))
    changed = data[:position] + damage + data[position + len(damage) :]
    for candidate in (changed, made_of(changed[10:-1], count=65_535), made_of(data[10:position]), data[:position]):
        read("read_ziplist", candidate)


@given(pairs_of_strings, st.integers(0, 255))
def test_pairs_of_zipmaps_are_read(pairs: list[tuple[bytes, bytes]], unused: int) -> None:
    assert read("read_zipmap", blocks.zipmap(pairs, unused)) == list(chain.from_iterable(pairs))


@pytest.mark.parametrize("length", [253, 254, 255, 70_000])
def test_long_strings_of_zipmaps_are_read(length: int) -> None:
    pairs = [(b"f" * length, b"v" * length), (b"a", b"b")]
    assert read("read_zipmap", blocks.zipmap(pairs, 1)) == list(chain.from_iterable(pairs))


@pytest.mark.parametrize("count", [253, 254, 300])
def test_count_of_many_fields_says_nothing(count: int) -> None:
    assert len(read("read_zipmap", blocks.zipmap([(b"f", b"v")] * count))) == 2 * count


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\0", b"\xff", blocks.zipmap([(b"f", b"v")], count=2), blocks.zipmap([(b"f", b"v")]) + b"\xff"),
        *(b"\1\xff", b"\1\1\xff", b"\1\1f\xff", b"\1\1f\1\xff", b"\1\1f\1\0\xff", b"\1\1f\1\1v\xff", b"\1\1f\2\0v\xff"),
        *(b"\1\xfav\0\xff", b"\1\xfe\1\xff", b"\1\xfe\xff\xff\xff\xfff\1\0v\xff"),
        *(b"\1\1f\xfe\xff\xff\xff\xff\0v\xff", b"\1\1f\xff\1\0\0\0\0v\xff"),
    ],
)  # fmt: skip
def test_damaged_zipmap_is_refused(data: bytes) -> None:
    assert read("read_zipmap", data) == "refused"


@given(pairs_of_strings, st.data())
def test_any_data_is_read_as_a_zipmap_alike(pairs: list[tuple[bytes, bytes]], draw: st.DataObject) -> None:
    data = blocks.zipmap(pairs)
    position = draw.draw(st.integers(0, len(data) - 1))
    damage = draw.draw(st.binary(max_size=3))
    for candidate in (data[:position] + damage + data[position + len(damage) :], data[:position], data[:position] + b"\xff"):
        read("read_zipmap", candidate)


@given(st.sets(integers))
def test_integers_of_intsets_are_read_in_order(numbers: set[int]) -> None:
    assert read("read_intset", write_intset(numbers)) == [b"%d" % number for number in sorted(numbers)]


@pytest.mark.parametrize("size", [2, 4, 8])
def test_larger_size_than_needed_is_read(size: int) -> None:
    assert read("read_intset", blocks.intset([-1, 0, 7], size)) == [b"-1", b"0", b"7"]


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\2\0\0\0\0\0\0", blocks.intset([1, 2], 2)[:-1], blocks.intset([1, 2], 2) + b"\0", blocks.intset([1], 3)),
        *(blocks.intset([1, 2], 2, count=count) for count in (0, 1, 3, 1 << 31, (1 << 32) - 1)),
        *(blocks.intset(numbers, 4) for numbers in ([2, 1], [1, 1], [1, 3, 2], [-1, -2])),
    ],
)
def test_damaged_intset_is_refused(data: bytes) -> None:
    assert read("read_intset", data) == "refused"


@given(st.sets(integers, max_size=5), st.binary(max_size=3), st.integers(0, 40))
def test_any_data_is_read_as_an_intset_alike(numbers: set[int], damage: bytes, position: int) -> None:
    data = write_intset(numbers)
    read("read_intset", data[:position] + damage + data[position + len(damage) :])
    read("read_intset", data[:position])


SOUND = {
    "read_ziplist": blocks.ziplist([blocks.ziplist_string(b"a" * 70), b"\xf1", b"\xc0\1\1"]),
    "read_zipmap": blocks.zipmap([(b"f", b"v"), (b"", b"x" * 300)], 3),
    "read_intset": blocks.intset([-70_000, 1, 5], 4),
}


@pytest.mark.parametrize("name", SOUND)
def test_nothing_is_kept_and_memory_may_end(name: str) -> None:
    data = SOUND[name]
    whole = read(name, data)
    assert whole != "refused"
    for form in forms(name).values():
        assert_frees_all(partial(form, data), data)
        assert_frees_all(partial(result, form, data[:-2] + b"\0\0"))
    leaf = forms(name).get("compiled")
    if leaf is not None:
        ended = [found for _, found in each_end_of_memory(lambda: (None, lambda: leaf(data)))]
        assert all(found in (None, whole) for found in ended)
        assert ended[-1] == whole
        mistakes: list[tuple[object, ...]] = [(), ("text",), (bytearray(data),), (data, 1)]
        for wrong in mistakes:
            with pytest.raises(TypeError):
                leaf(*wrong)
