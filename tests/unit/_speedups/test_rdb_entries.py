"""Both forms of what reads keys of RDB files give the same, whatever the bytes are, up to what is not whole or no key."""

from __future__ import annotations

import random
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvserver.types
from helpers import dumps
from helpers.leaves import assert_frees_all, each_end_of_memory, forms
from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver.data.kinds import load_of_dump
from kvserver.formats.listpack import write_listpack
from kvserver.formats.rdb_shape import Extent

# The kinds are found where these are imported.
assert kvserver.types

LIMIT = 10_000
TIME = (1_700_000_000_123).to_bytes(8, "little")
LOADS = [load_of_dump(number) for number in range(256)]
WAYS = tuple(None if load is None else (load.shape, load.packing) for load in LOADS)

strings = st.binary(max_size=20) | st.integers(-(2**33), 2**33).map(b"%d".__mod__) | st.just(b"x" * 300)
written = strings.map(write_string) | st.sampled_from([b"ab" * 200, b"\0" * 300]).map(lambda text: dumps.compressed(text)[1:])
numbers = st.integers(0, 2**64 - 1) | st.integers(0, 300)
items = st.one_of(
    st.tuples(st.sampled_from([b"\1", b"\2"]), numbers.map(write_length)),
    st.tuples(st.just(b"\3"), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(b"\4"), st.just(TIME)),
    st.tuples(st.just(b"\5"), written),
).map(b"".join)
scores = st.sampled_from([b"\xfd", b"\xfe", b"\xff"]) | st.binary(max_size=5).map(lambda text: bytes((len(text),)) + text)
PARTS = {
    "s": written,
    "n": numbers.map(write_length),
    "t": scores,
    "m": st.lists(items, max_size=3).map(lambda some: b"".join(some) + b"\0"),
    **{str(size): st.binary(min_size=size, max_size=size) for size in range(1, 10)},
}


@st.composite
def shaped(draw: st.DrawFn, shape: str) -> bytes:
    """Bytes of this shape."""
    made, place = b"", 0
    while place < len(shape):
        if shape[place] == "[":
            depth, closing = 1, place
            while depth:
                closing += 1
                depth += (shape[closing] == "[") - (shape[closing] == "]")
            rounds = draw(st.lists(shaped(shape[place + 1 : closing]), max_size=2))
            made += write_length(len(rounds)) + b"".join(rounds)
            place = closing
        else:
            made += draw(PARTS[shape[place]])
        place += 1
    return made


heads = st.sampled_from([b"", b"\xf8\x41\0", b"\xf9\7"]) | st.sampled_from(
    [b"\xfc" + TIME, b"\xfd\1\2\3\4", b"\xfc" + b"\xff" * 8, b"\xfd\xff\xff\xff\xff"]
)
SOME = [number for number, load in enumerate(LOADS) if load is not None]
entries = st.sampled_from(SOME).flatmap(
    lambda kind: st.tuples(heads, heads, st.just(bytes((kind,))), written, shaped((WAYS[kind] or (b"",))[0].decode())).map(
        b"".join
    )
)


class Entry(NamedTuple):
    database: int
    key: bytes
    value: bytes | str
    expires_at_ms: int | None
    idle_s: int | None
    frequency: int | None


def same(data: bytes, *arguments: Any) -> Any:
    """What all forms return for the data as bytes and as a bytearray."""
    results = [form(kind(data), *arguments, Entry, 3) for form in forms("entries_at").values() for kind in (bytes, bytearray)]
    assert all(found == results[0] for found in results), results
    assert all(type(entry) is Entry for entries, *_ in results for entry in entries)
    return results[0]


@settings(deadline=None)
@given(st.lists(entries, max_size=5), st.integers(0, 6), st.sampled_from([b"", b"\xff", b"\xfe\0", b"\5\1a", b"\0\1"]))
def test_keys_are_read(made: list[bytes], most: int, behind: bytes) -> None:
    data = b"ab" + b"".join(made)
    found, _, position = same(data + behind, 2, WAYS, most, LIMIT)
    assert len(found) == min(most, len(made))
    assert position == 2 + sum(map(len, made[:most]))
    if made:
        for length in range(2, 2 + len(made[0])):
            assert same(data[:length], 2, WAYS, most, LIMIT) == ([], [], 2)


def test_each_part_of_a_key_is_found() -> None:
    data = b"\xfc" + TIME + b"\xf8\x41\0" + b"\xf9\7" + b"\0\1k\xc0\5" + b"\xfd\1\0\0\0" + b"\x10\xc0\1\3abc" + b"\xff"
    found, bodies, position = same(data, 0, WAYS, 10, LIMIT)
    assert found == [
        Entry(3, b"k", b"5", 1_700_000_000_123, 256, 7),
        Entry(3, b"1", b"\3abc", 1_000, None, None),
    ]
    assert bodies == [(1, 16, 27)]
    assert position == len(data) - 1


@pytest.mark.parametrize("compressed", [b"\xc3\3\5\xe0\xff\x08", b"\xc3\3\5\1ab", b"\xc3\2\2\5a"])
def test_string_that_is_compressed_wrongly_ends_it(compressed: bytes) -> None:
    for damaged in (b"\0\1k" + compressed, b"\0" + compressed + b"\1v"):
        assert same(b"\0\1a\1b" + damaged + b"\0\1c\1d", 0, WAYS, 10, LIMIT) == ([Entry(3, b"a", b"b", *[None] * 3)], [], 5)


def test_small_collections_are_packed() -> None:
    pairs = write_string(write_listpack([b"a", b"1", b"b", b"2"]))
    many = write_string(write_listpack([b"%d" % number for number in range(200)]))
    data = b"\x10\1k" + pairs + b"\x11\1k" + pairs + b"\x12\1k\1\2" + pairs + b"\x10\1k" + many
    found, bodies, position = same(data, 0, WAYS, 10, LIMIT)
    assert bodies == [(3, 16, position - len(many))]
    assert [entry.value for entry in found] == ["h\0a\x011\0b\x012\0", "z\0a\x011\0b\x012\0", "l\0a\x001\0b\x002\0", many]
    assert position == len(data)
    without = tuple(way and (way[0], b"") for way in WAYS)
    found, bodies, position = same(data, 0, without, 10, LIMIT)
    assert [(place, kind) for place, kind, _ in bodies] == [(0, 16), (1, 17), (2, 18), (3, 16)]
    assert [entry.value for entry in found] == [pairs, pairs, b"\1\2" + pairs, many]
    assert position == len(data)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SOME), st.data())
def test_bodies_end_where_their_shape_does(kind: int, draw: st.DataObject) -> None:
    way = WAYS[kind]
    assert way
    body = draw.draw(shaped(way[0].decode()))
    found, bodies, position = same(bytes((kind,)) + b"\1k" + body + b"\1more", 0, WAYS, 1, LIMIT)
    assert position == 3 + len(body)
    extent = Extent(way[0], LIMIT)
    assert extent.is_whole(bytearray(body + b"\1more"), 0)
    assert extent.size == len(body)
    assert bodies == ([] if kind == 0 or isinstance(found[0].value, str) else [(0, kind, 3)])
    assert same(bytes((kind,)) + b"\1k" + body, 0, WAYS, 1, len(body) - 1) == ([], [], 0)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.sampled_from(SOME))
def test_any_bytes_are_read_alike(data: bytes, kind: int) -> None:
    same(data, 0, WAYS, 10, LIMIT)
    same(bytes((kind,)) + b"\1k" + data, 0, WAYS, 10, LIMIT)


@settings(max_examples=300, deadline=None)
@given(st.lists(entries, min_size=1, max_size=4).map(b"".join), st.randoms(use_true_random=False))
def test_damaged_bytes_are_read_alike(data: bytes, rng: random.Random) -> None:
    damaged = bytearray(data)
    damaged[rng.randrange(len(data))] = rng.choice((0, 1, 0x40, 0x80, 0x81, 0xC3, 0xFC, 0xFF, rng.randrange(256)))
    same(bytes(damaged), 0, WAYS, 10, LIMIT)


def test_string_over_the_limit_ends_it() -> None:
    bomb = dumps.compressed(b"a" * 5_000)[1:]
    for kind in (b"\0", b"\2\1"):
        data = kind[:1] + b"\1k" + kind[1:] + bomb
        assert same(data, 0, WAYS, 1, 5_000)[2] == len(data)
        assert same(data, 0, WAYS, 1, 4_999) == ([], [], 0)
    assert same(b"\0" + write_string(b"k" * 5_000) + b"\0", 0, WAYS, 1, 4_999) == ([], [], 0)


ARGUMENTS: tuple[Any, ...] = (
    (b"\xfc" + TIME + b"\xf8\5\xf9\7\0\1k\1v" + b"\x10\1k\3abc" + b"\2\1k\2\1a\1b") * 2,
    *(0, WAYS, 9, LIMIT),
)


def test_nothing_is_kept_and_memory_may_end() -> None:
    data, _, *others = ARGUMENTS
    for form in forms("entries_at").values():
        assert_frees_all(partial(form, data, 0, *others, Entry, 0), data, Entry)
        assert_frees_all(partial(form, b"\3ab", 0, *others, Entry, 0))
    whole = same(*ARGUMENTS)
    leaf = forms("entries_at").get("compiled")
    if leaf is not None:
        found = None
        # None of them is kept, so that a later call takes no more memory than an earlier one.
        for _, found in each_end_of_memory(lambda: (None, lambda: leaf(*ARGUMENTS, Entry, 3))):
            assert found is None or found == whole
        assert found == whole


@pytest.mark.parametrize(
    "ways", [b"x" * 256, WAYS[:-1], (None,) * 255 + (b"s",), (None,) * 255 + ((b"s", b"h"),), (None,) * 255 + (("s", b""),)]
)
def test_leaf_refuses_what_its_twin_is_never_given(ways: Any) -> None:
    leaf = forms("entries_at").get("compiled")
    if leaf is None:
        pytest.skip("the leaves are pure here")
    for wrong in ((), (b"",), (b"", 0, ways, 1, 1, Entry, 0), ("text", 0, WAYS, 1, 1, Entry, 0)):
        with pytest.raises(TypeError):
            leaf(*wrong)


class Attributed(tuple[Any, ...]):
    """A tuple that has more than its items."""


@pytest.mark.parametrize("kind", [list, dict, Attributed, (), None])
def test_leaf_makes_nothing_but_tuples(kind: Any) -> None:
    leaf = forms("entries_at").get("compiled")
    if leaf is None:
        pytest.skip("the leaves are pure here")
    for wrong in ((b"", 0, WAYS, 1, 1, kind, 0),):
        with pytest.raises(TypeError):
            leaf(*wrong)
