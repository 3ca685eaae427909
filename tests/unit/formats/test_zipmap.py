"""Zipmaps are read with long lengths and unused bytes, and refused where anything in them is wrong."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import blocks
from kvserver.formats.zipmap import read_zipmap

pairs_of_strings = st.lists(st.tuples(st.binary(max_size=10), st.binary(max_size=10)))


@given(pairs_of_strings, st.integers(0, 255))
def test_pairs_are_read(pairs: list[tuple[bytes, bytes]], unused: int) -> None:
    assert read_zipmap(blocks.zipmap(pairs, unused)) == pairs


@pytest.mark.parametrize("length", [253, 254, 255, 70_000])
def test_long_strings_are_read(length: int) -> None:
    pairs = [(b"f" * length, b"v" * length), (b"a", b"b")]
    assert read_zipmap(blocks.zipmap(pairs, 1)) == pairs


@pytest.mark.parametrize("count", [253, 254, 300])
def test_count_of_many_fields_says_nothing(count: int) -> None:
    assert len(read_zipmap(blocks.zipmap([(b"f", b"v")] * count))) == count


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
    with pytest.raises(ValueError, match=r"the|an"):
        read_zipmap(data)


@given(pairs_of_strings, st.data())
def test_any_data_is_read_or_refused(pairs: list[tuple[bytes, bytes]], draw: st.DataObject) -> None:
    data = blocks.zipmap(pairs)
    position = draw.draw(st.integers(0, len(data) - 1))
    damage = draw.draw(st.binary(max_size=3))
    for candidate in (data[:position] + damage + data[position + len(damage) :], data[:position], data[:position] + b"\xff"):
        with suppress(ValueError):
            assert all(type(field) is type(value) is bytes for field, value in read_zipmap(candidate))
