"""Compressed data comes back, and data that is not whole does not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import dumps
from helpers.leaves import assert_frees_all, each_form, forms
from kvserver._speedups.lzf import MOST_DISTANCE


def decompress(data: bytes, length: int) -> bytes:
    """What both forms give for the data, or the ValueError that both raise."""
    results: list[bytes | ValueError] = []
    for form in forms("decompress").values():
        try:
            results.append(form(data, length))
        except ValueError as error:
            results.append(error)
    if all(isinstance(found, ValueError) for found in results):
        raise ValueError(*map(str, results))
    assert all(found == results[0] for found in results), results
    assert isinstance(results[0], bytes)
    return results[0]


pieces = st.sampled_from([b"a", b"abc", b"\0" * 300, b"0123456789" * 4, bytes(range(256))])
repetitive = st.lists(pieces, min_size=1, max_size=6).map(b"".join)


def lzf(value: bytes) -> bytes:
    """The items alone, without type and lengths."""
    return dumps.compressed(value)[12:]


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=200) | repetitive)
def test_what_was_compressed_comes_back(value: bytes) -> None:
    assert decompress(lzf(value), len(value)) == value


def test_reference_may_reach_into_what_it_makes() -> None:
    assert decompress(b"\x00a\xe0\xff\x00", 1 + 264) == b"a" * 265
    assert decompress(b"\x02abc\xa0\x02", 3 + 7) == b"abcabcabca"


@given(st.integers(1, 300), st.integers(3, 264), st.integers(0, 20))
def test_reference_of_any_length_and_distance(distance: int, count: int, before: int) -> None:
    start = bytes(number % 251 for number in range(before + distance))
    literals = b"".join(
        bytes((len(piece) - 1,)) + piece for at in range(0, len(start), 32) for piece in (start[at : at + 32],)
    )
    high, low = divmod(distance - 1, 256)
    length = bytes((min(count - 2, 7) << 5 | high,)) + (bytes((count - 9,)) if count >= 9 else b"")
    made = bytearray(start)
    for _ in range(count):
        made.append(made[-distance])
    assert decompress(literals + length + bytes((low,)), len(made)) == made


@pytest.mark.parametrize(
    "data", [b"\x05ab", b"\x20", b"\xe0", b"\xe0\x01", b"\x00a\x20\x01", b"\x20\x00", b"\x00a\x21\x00", b""]
)
@pytest.mark.parametrize("length", [0, 1, 3, 4, 100])
def test_data_that_ends_early_or_points_before_its_start_is_refused(data: bytes, length: int) -> None:
    with pytest.raises(ValueError, match=r"data|reference"):
        decompress(data, length)


@given(st.binary(max_size=40), st.integers(0, 100))
def test_any_bytes_give_the_declared_length_or_an_error(data: bytes, length: int) -> None:
    with suppress(ValueError):
        assert len(decompress(data, length)) == length


@each_form("decompress")
def test_another_length_than_declared_is_refused_before_it_is_made(leaf: Callable[[bytes, int], bytes]) -> None:
    bomb = b"\x00a" + b"\xe0\xff\x00" * 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="another length"):
            leaf(bomb, 1_000)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    with pytest.raises(ValueError, match="another length"):
        leaf(b"\x00a", 2)


@each_form("decompress")
def test_declared_length_takes_no_memory(leaf: Callable[[bytes, int], bytes]) -> None:
    tracemalloc.start()
    try:
        for length in (1 << 29, (1 << 63) - 1):
            with pytest.raises(ValueError, match="another length"):
                leaf(b"\x00a", length)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
    assert_frees_all(lambda: leaf(b"\x00a\xe0\xff\x00", 265))


def in_parts(form: Callable[..., tuple[bytes, int]], data: bytes, most: int) -> bytes:
    output, position = b"", 0
    while position < len(data):
        part, position = form(data, position, output[-MOST_DISTANCE:], most)
        assert 0 < len(part) < most + 300
        output += part
    return output


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=300) | repetitive.map(lambda value: value * 40), st.integers(1, 5_000))
def test_parts_are_what_is_decompressed_at_once(value: bytes, most: int) -> None:
    for form in forms("decompress_part").values():
        assert in_parts(form, lzf(value), most) == value


@each_form("decompress_part")
def test_part_that_is_none_is_refused(leaf: Callable[..., tuple[bytes, int]]) -> None:
    for data in (b"\x05ab", b"\xe0", b"\xe0\x01"):
        with pytest.raises(ValueError, match="ends inside"):
            leaf(data, 0, b"abc", 10)
    with pytest.raises(ValueError, match="before the start"):
        leaf(b"\x20\x03", 0, b"abc", 10)
    assert leaf(b"\x20\x02", 0, b"abc", 10) == (b"abc", 2)
    assert leaf(b"\x00a", 2, b"abc", 10) == (b"", 2)
    assert leaf(b"\x00a\x00b", 0, b"", 1) == (b"a", 2)
    assert_frees_all(lambda: leaf(b"\x00a\xe0\xff\x00", 0, b"", 265))
