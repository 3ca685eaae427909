"""Both forms of what reads and writes listpacks give the same, of sound ones and of any bytes."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers import blocks
from helpers.leaves import assert_frees_all, each_end_of_memory, forms, same
from kvserver._speedups.listpacks import length_copy, write_entry
from kvserver.formats.listpack import write_listpack

NUMBERS = [near + sign * (1 << bits) for bits in (7, 12, 15, 23, 31, 62) for sign in (1, -1) for near in (-1, 0)]
LENGTHS = [0, 63, 64, 125, 126, 127, 4_095, 4_096, 16_377, 16_378, 16_379]
strings = (
    st.binary(max_size=20)
    | st.sampled_from(NUMBERS).map(b"%d".__mod__)
    | st.sampled_from(LENGTHS).map(lambda length: b"x" * length)
)


def read(data: bytes) -> Any:
    """What both forms read, or that both refuse it."""
    results: list[Any] = []
    for form in forms("read_listpack").values():
        try:
            results.append(form(data))
        except ValueError:
            results.append("refused")
    assert all(found == results[0] for found in results), results
    return results[0]


AWKWARD = [b"", b"-", b"-0", b"00", b"01", b"+1", b"1 ", b"9" * 18, b"9" * 19, b"9" * 20, b"9" * 21]
AWKWARD += [b"%d" % number for number in (2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, -(2**64))]


@given(st.lists(strings | st.sampled_from(AWKWARD) | st.integers(-(2**65), 2**65).map(b"%d".__mod__), max_size=10))
@example(AWKWARD)
def test_entries_are_written_alike(some: list[bytes]) -> None:
    assert same("write_entries", some) == b"".join(map(write_entry, some))
    assert read(write_listpack(some)) == some


@given(st.lists(strings, max_size=10))
def test_strings_come_back(some: list[bytes]) -> None:
    data = write_listpack(some)
    assert read(data) == some
    for length in (0, 5, len(data) // 2, len(data) - 1):
        assert read(data[:length]) == "refused"


@settings(max_examples=300)
@given(st.lists(strings, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_damaged_ones_are_read_alike(some: list[bytes], rng: random.Random) -> None:
    data = bytearray(write_listpack(some))
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(data))
        data[place] = rng.choice((0, 0x7F, 0x80, 0xC0, 0xE0, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF, rng.randrange(256)))
    read(bytes(data))
    # With the right length in front, so that the entries are looked at.
    data[:4] = len(data).to_bytes(4, "little")
    data[-1] = 0xFF
    read(bytes(data))


@settings(max_examples=300)
@given(st.binary(max_size=30), st.sampled_from([0, 1, 2, 65_535]))
def test_any_entries_are_read_alike(entries: bytes, count: int) -> None:
    read((7 + len(entries)).to_bytes(4, "little") + count.to_bytes(2, "little") + entries + b"\xff")


@pytest.mark.parametrize("length", [1, 127, 128, 16_382, 16_383, 2_097_150, 2_097_151, 268_435_454, 268_435_455])
def test_copy_of_a_length_is_read_backwards(length: int) -> None:
    assert length_copy(length) == blocks.backwards(length)


def test_long_entries_have_their_copies() -> None:
    for length in (2_097_145, 2_097_146):
        assert read(write_listpack([b"x" * length, b"a"])) == [b"x" * length, b"a"]


def test_nothing_is_kept_and_memory_may_end() -> None:
    some = [b"12", b"x" * 100, b"-70000", b"a"]
    data = write_listpack(some)
    damaged = data[:-2] + b"\x05\xff"
    for form in forms("read_listpack").values():
        assert_frees_all(partial(form, data), data)
    assert read(damaged) == "refused"
    assert_frees_all(partial(read, damaged))
    leaf = forms("read_listpack").get("compiled")
    if leaf is not None:
        ended = [found for _, found in each_end_of_memory(lambda: (None, lambda: leaf(data)))]
        assert all(found in (None, some) for found in ended)
        assert ended[0] is None
        assert ended[-1] == some
        mistakes: list[tuple[object, ...]] = [(), ("text",), (bytearray(data),), (data, 1)]
        for wrong in mistakes:
            with pytest.raises(TypeError):
                leaf(*wrong)


def test_nothing_is_kept_of_what_is_written() -> None:
    some = [b"12", b"x" * 100, b"-70000", b"a"]
    for form in forms("write_entries").values():
        assert_frees_all(partial(form, some), *some)
    leaf = forms("write_entries").get("compiled")
    if leaf is not None:
        ended = [found for _, found in each_end_of_memory(lambda: (None, lambda: leaf(some)))]
        assert all(found in (None, leaf(some)) for found in ended)
        mistakes: list[tuple[object, ...]] = [(), ("text",), (["text"],), ((b"a",),), ([], 1)]
        for wrong in mistakes:
            with pytest.raises(TypeError):
                leaf(*wrong)
