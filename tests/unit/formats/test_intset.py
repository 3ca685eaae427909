"""Intsets are read and written in each size of integers, and refused where anything in them is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import blocks
from kvserver.formats.intset import read_intset, write_intset

integers = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-40_000, 40_000)


@given(st.sets(integers))
def test_what_was_written_is_read_in_order(numbers: set[int]) -> None:
    assert read_intset(write_intset(numbers)) == sorted(numbers)


@pytest.mark.parametrize(
    ("number", "size"),
    [(0, 2), (32_767, 2), (-32_768, 2), (32_768, 4), (-32_769, 4), (2**31 - 1, 4), (-(2**31), 4), (2**31, 8),
     (-(2**31) - 1, 8), (2**63 - 1, 8), (-(2**63), 8)],
)  # fmt: skip
def test_farthest_integer_decides_the_size(number: int, size: int) -> None:
    assert write_intset([5, number, 1]) == blocks.intset(sorted([5, number, 1]), size)


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1])
def test_integer_of_more_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        write_intset([number])


@pytest.mark.parametrize("size", [2, 4, 8])
def test_larger_size_than_needed_is_read(size: int) -> None:
    assert read_intset(blocks.intset([-1, 0, 7], size)) == [-1, 0, 7]


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\2\0\0\0\0\0\0", blocks.intset([1, 2], 2)[:-1], blocks.intset([1, 2], 2) + b"\0", blocks.intset([1], 3)),
        *(blocks.intset([1, 2], 2, count=count) for count in (0, 1, 3, 1 << 31, (1 << 32) - 1)),
        *(blocks.intset(numbers, 4) for numbers in ([2, 1], [1, 1], [1, 3, 2], [-1, -2])),
    ],
)
def test_damaged_intset_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="the"):
        read_intset(data)
