"""Joined strings are those that they were, all and some of them, and narrow numbers are as small as they can be."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.types.stream.joined import join, narrow, split, split_some


@given(st.lists(st.binary(max_size=9).map(lambda text: text.replace(b"\0", b"")), min_size=1, max_size=70), st.data())
def test_strings_are_joined_and_split(strings: list[bytes], data: st.DataObject) -> None:
    found = join(strings)
    assert found is not None
    joined, begins = found
    assert split(joined) == strings
    start = data.draw(st.integers(0, len(strings)))
    stop = data.draw(st.integers(start, len(strings)))
    assert split_some(joined, begins, start, stop) == strings[start:stop]


@pytest.mark.parametrize("strings", [[], [b"\0"], [b"a", b"b\0c"], [b"x" * 2_000, b"y" * 49]])
def test_what_can_not_be_told_apart_or_is_long_is_not_joined(strings: list[bytes]) -> None:
    assert join(strings) is None


@pytest.mark.parametrize(
    ("most", "size"), [(0, 1), (255, 1), (256, 2), (65_535, 2), (65_536, 4), (2**32 - 1, 4), (2**32, 8), (2**64 - 1, 8)]
)
def test_numbers_take_as_many_bytes_as_the_greatest_needs(most: int, size: int) -> None:
    numbers = narrow(array("Q", [1, most, 0]))
    assert (numbers.tolist(), numbers.itemsize) == ([1, most, 0], size)
    assert len(narrow(array("Q"))) == 0
