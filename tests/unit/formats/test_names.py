"""names: each byte string has one name in JSON, and no other name is read as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.documents import AWKWARD_BYTES, AWKWARD_TEXTS
from kvserver.formats.names import bytes_of, is_plain, name_of

byte_strings = st.binary(max_size=8) | st.sampled_from(AWKWARD_BYTES)


@given(byte_strings)
def test_name_is_read_as_what_it_was_made_of(data: bytes) -> None:
    assert bytes_of(name_of(data)) == data
    assert is_plain(data) == (name_of(data).encode() == data)


@given(st.text(max_size=8) | st.sampled_from(AWKWARD_TEXTS))
def test_no_other_name_is_read(name: str) -> None:
    data = bytes_of(name)
    assert data is None or name_of(data) == name


@pytest.mark.parametrize(
    ("data", "name"), [(b"a", "a"), (b"\x80", "$kvs:gA=="), (b"$kvs:", "$kvs:JGt2czo="), ("é".encode(), "é"), (b"", "")]
)
def test_names_of_some(data: bytes, name: str) -> None:
    assert name_of(data) == name
    assert bytes_of(name) == data


@pytest.mark.parametrize("name", ["$kvs:", "$kvs:YQ==", "$kvs:gB==", "$kvs:gA=", "$kvs:gA==\n", "\ud800", "$kvs:é"])
def test_these_are_no_names(name: str) -> None:
    assert bytes_of(name) is None
