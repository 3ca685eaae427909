"""Both forms of what reads parts of RDB files give the same, whatever the bytes are, and what is declared takes no memory."""

from __future__ import annotations

import random
import tracemalloc
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import dumps
from helpers.leaves import assert_frees_all, each_end_of_memory, each_form, forms
from kvserver._speedups.rdb_parts import length_at, number_at, string_head_at
from kvserver._speedups.rdb_strings import write_length, write_string

LIMIT = 10_000
TIME = (1_700_000_000_123).to_bytes(8, "little")

strings = st.binary(max_size=20) | st.integers(-(2**33), 2**33).map(b"%d".__mod__) | st.just(b"x" * 300)
written = strings.map(write_string) | st.sampled_from([b"ab" * 200, b"\0" * 300]).map(lambda text: dumps.compressed(text)[1:])
numbers = st.integers(0, 2**64 - 1) | st.integers(0, 300)
# What a shape of these characters reads.
parts = {"s": written, "n": numbers.map(write_length), "3": st.binary(min_size=3, max_size=3), "8": st.just(TIME)}
shapes = st.lists(st.sampled_from([*parts]), min_size=1, max_size=3)
shaped = shapes.flatmap(
    lambda shape: st.tuples(
        st.just("".join(shape).encode()),
        st.lists(st.tuples(*(parts[character] for character in shape)).map(b"".join), max_size=5),
    )
)


def result(form: Any, *arguments: Any) -> Any:
    """What a form of a leaf returns, or that it refuses."""
    try:
        return form(*arguments)
    except ValueError:
        return "refused"


def same(name: str, data: bytes, *arguments: Any) -> Any:
    """What all forms return for the data as bytes and as a bytearray."""
    results = [result(form, kind(data), *arguments) for form in forms(name).values() for kind in (bytes, bytearray)]
    assert all(found == results[0] for found in results), results
    return results[0]


@given(shaped, st.binary(max_size=3), st.binary(max_size=3))
def test_items_are_read(made: tuple[bytes, list[bytes]], before: bytes, behind: bytes) -> None:
    shape, rounds = made
    data = before + b"".join(rounds) + behind
    items, position = same("items_at", data, len(before), shape, len(rounds), LIMIT)
    assert position == len(data) - len(behind)
    assert len(items) == len(rounds) * len(shape)
    for length in range(len(before), position):
        assert same("items_at", data[:length], len(before), shape, len(rounds), LIMIT) == "refused"


@given(shaped, st.binary(max_size=3), st.binary(max_size=3))
def test_rounds_are_passed_as_far_as_they_are_whole(made: tuple[bytes, list[bytes]], before: bytes, behind: bytes) -> None:
    shape, rounds = made
    data = before + b"".join(rounds)
    assert same("pass_rounds", data + behind, len(before), shape, len(rounds), LIMIT) == (0, len(data))
    if rounds:
        short = len(data) - len(rounds[-1])
        for length in range(short, len(data)):
            assert same("pass_rounds", data[:length], len(before), shape, len(rounds), LIMIT) == (1, short)


@settings(max_examples=300)
@given(st.binary(max_size=40), st.sampled_from([b"s", b"n", b"ss", b"s8", b"ns3"]), st.sampled_from([1, 5, 2**63, 2**64 - 1]))
def test_any_bytes_are_read_alike(data: bytes, shape: bytes, rounds: int) -> None:
    same("items_at", data, 0, shape, rounds, LIMIT)
    same("pass_rounds", data, 0, shape, rounds, LIMIT)


@settings(max_examples=200)
@given(st.lists(written, min_size=1, max_size=8).map(b"".join), st.randoms(use_true_random=False))
def test_damaged_bytes_are_read_alike(data: bytes, rng: random.Random) -> None:
    damaged = bytearray(data)
    damaged[rng.randrange(len(data))] = rng.choice((0, 0x40, 0x80, 0x81, 0xC3, 0xFC, 0xFF, rng.randrange(256)))
    same("items_at", bytes(damaged), 0, b"ss", 2, LIMIT)
    same("pass_rounds", bytes(damaged), 0, b"ss", 2, LIMIT)


def test_compressed_string_over_the_limit_is_refused() -> None:
    bomb = dumps.compressed(b"a" * 5_000)[1:]
    assert same("items_at", bomb, 0, b"s", 1, 5_000) == ([b"a" * 5_000], len(bomb))
    assert same("items_at", bomb, 0, b"s", 1, 4_999) == "refused"
    assert same("pass_rounds", bomb, 0, b"s", 1, 4_999) == (1, 0)
    long_key = write_string(b"k" * 5_000)
    assert same("items_at", long_key, 0, b"s", 1, 10) == ([b"k" * 5_000], len(long_key))


@pytest.mark.parametrize(
    "data", [b"\xc3\x02\x80\x1f\xff\xff\xff\0a", b"\x80\xff\xff\xff\xff", b"\x81" + b"\xff" * 8, b"\1a" * 3]
)
@each_form("items_at")
def test_what_is_only_declared_takes_no_memory(leaf: Any, data: bytes) -> None:
    tracemalloc.start()
    try:
        with suppress(ValueError):
            leaf(data, 0, b"s", 2**63, 2**40)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "items_at": (b"\3abc\xc0\1\5" + dumps.compressed(b"ab" * 200)[1:], 0, b"ss", 1, LIMIT),
    "pass_rounds": (b"\3abc\xc0\1" * 3, 0, b"ss", 3, LIMIT),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_nothing_is_kept(name: str) -> None:
    data, _, *others = ARGUMENTS[name]
    for form in forms(name).values():
        assert_frees_all(partial(form, data, 0, *others), data)
        assert_frees_all(partial(result, form, b"\3ab", 0, *others))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_memory_may_end_anywhere(name: str) -> None:
    whole = forms(name)["pure"](*ARGUMENTS[name])
    leaf = forms(name).get("compiled")
    if leaf is None:
        pytest.skip("the leaves are pure here")
    ended = [found for _, found in each_end_of_memory(lambda: (None, lambda: leaf(*ARGUMENTS[name])))]
    assert all(found is None or found == whole for found in ended)
    assert ended[-1] == whole


@pytest.mark.parametrize("name", ARGUMENTS)
def test_leaf_refuses_what_its_twin_is_never_given(name: str) -> None:
    leaf = forms(name).get("compiled")
    if leaf is None:
        pytest.skip("the leaves are pure here")
    for wrong in ((), (b"",), ("text", *ARGUMENTS[name][1:]), (*ARGUMENTS[name][:2], b"[x", *ARGUMENTS[name][3:])):
        with pytest.raises(TypeError):
            leaf(*wrong)


def test_head_of_a_string_tells_what_it_takes() -> None:
    assert string_head_at(b"\3ab", 0) == (1, 3, 3)
    assert string_head_at(b"x\xc2", 1) == (2, 4, 0)
    assert string_head_at(b"\xc3\5\x41\0", 0) == (4, 5, 256)
    assert [string_head_at(data, 0) for data in (b"", b"\x40", b"\xc3", b"\xc3\5", b"\xc3\5\x41")] == [None] * 5
    assert length_at(b"\xc5", 0) == (5, True, 1)
    assert number_at(b"\x81" + b"\xff" * 8, 0) == (2**64 - 1, 9)
    for data in (b"\xc4", b"\x82", b"\xc3\xc0\1"):
        with pytest.raises(ValueError, match=r"encoding|length"):
            string_head_at(data, 0)
