"""Strings are read and written in each encoding of Redis's payloads, and payloads that are none are refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import dumps
from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import BAD_FORMAT, CHECKSUM_WRONG, NEWEST_VERSION_READ, VERSION, Reader, dump, load

LIMIT = 1 << 20
integers = st.integers(-(2**33), 2**33).map(lambda number: b"%d" % number)


@given(st.binary(max_size=300) | integers)
def test_what_was_dumped_is_loaded(value: bytes) -> None:
    assert load(dump(value), LIMIT) == value


@pytest.mark.parametrize("length", [0, 1, 63, 64, 16_383, 16_384, 70_000])
def test_lengths_at_the_borders_of_their_encodings(length: int) -> None:
    assert load(dump(b"x" * length), LIMIT) == b"x" * length


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (b"0", dumps.integer(0, 1)),
        (b"127", dumps.integer(127, 1)),
        (b"-128", dumps.integer(-128, 1)),
        (b"128", dumps.integer(128, 2)),
        (b"-32768", dumps.integer(-32768, 2)),
        (b"32768", dumps.integer(32768, 4)),
        (b"2147483647", dumps.integer(2**31 - 1, 4)),
        (b"-2147483648", dumps.integer(-(2**31), 4)),
        (b"2147483648", dumps.plain(b"2147483648", 1)),
        (b"-0", dumps.plain(b"-0", 1)),
        (b"+1", dumps.plain(b"+1", 1)),
        (b"01", dumps.plain(b"01", 1)),
        (b"", dumps.plain(b"", 1)),
        (b"x" * 64, dumps.plain(b"x" * 64, 2)),
        (b"x" * 16_384, dumps.plain(b"x" * 16_384, 5)),
    ],
)
def test_string_is_written_as_redis_writes_it(value: bytes, body: bytes) -> None:
    assert dump(value) == dumps.sealed(body)


@pytest.mark.parametrize("size", [2, 5, 9])
def test_longer_lengths_than_needed_are_read(size: int) -> None:
    assert load(dumps.sealed(dumps.plain(b"abc", size)), LIMIT) == b"abc"


def test_compressed_string_is_read() -> None:
    value = b"kvserver " * 1_000
    body = dumps.compressed(value)
    assert len(body) < 200
    assert load(dumps.sealed(body), LIMIT) == value


def test_what_stands_behind_the_value_is_ignored_as_in_redis() -> None:
    assert load(dumps.sealed(dumps.plain(b"abc") + b"more"), LIMIT) == b"abc"


def refusal(payload: bytes, max_bytes: int = LIMIT) -> str:
    with pytest.raises(DumpInvalid) as caught:
        load(payload, max_bytes)
    return str(caught.value)


@pytest.mark.parametrize("length", range(30))
def test_payload_that_was_cut_is_refused(length: int) -> None:
    whole = dump(b"twenty bytes of text")
    assert refusal(whole[:length]) == CHECKSUM_WRONG


def test_every_flipped_bit_is_seen() -> None:
    whole = dump(b"some text")
    for position in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        assert refusal(bytes(damaged)) == CHECKSUM_WRONG


def test_versions_up_to_that_of_redis_8_are_read() -> None:
    assert refusal(dumps.sealed(dumps.plain(b"a"), version=NEWEST_VERSION_READ + 1)) == CHECKSUM_WRONG
    for version in (1, VERSION, NEWEST_VERSION_READ):
        assert load(dumps.sealed(dumps.plain(b"a"), version=version), LIMIT) == b"a"


@pytest.mark.parametrize("body", dumps.CUT_BODIES + dumps.BROKEN_BODIES)
def test_body_that_makes_no_sense_is_refused(body: bytes) -> None:
    assert refusal(dumps.sealed(body)) == BAD_FORMAT


def test_value_that_is_not_read_is_named() -> None:
    payload = dumps.sealed(b"\6\1a")
    assert refusal(payload) == "the payload holds a module's value, which this server does not have"


def test_lengths_and_bytes_are_read_in_turn_up_to_the_end() -> None:
    reader = Reader(b"\x05\x41\x00abc")
    assert (reader.length(), reader.length()) == (5, 256)
    with pytest.raises(DumpInvalid, match=BAD_FORMAT):
        reader.take(4)
    with pytest.raises(DumpInvalid, match=BAD_FORMAT):
        reader.end()
    assert reader.take(3) == b"abc"
    reader.end()
    with pytest.raises(DumpInvalid, match=BAD_FORMAT):
        reader.length()
    with pytest.raises(DumpInvalid, match=BAD_FORMAT):
        Reader(b"\xc0\1").length()


def test_compressed_string_longer_than_allowed_is_not_made() -> None:
    bomb = dumps.compressed(b"a" * 5_000)
    assert load(dumps.sealed(bomb), 5_000) == b"a" * 5_000
    assert refusal(dumps.sealed(bomb), 4_999) == BAD_FORMAT


@given(st.binary(max_size=40))
def test_any_body_is_loaded_or_refused(body: bytes) -> None:
    with suppress(DumpInvalid):
        load(dumps.sealed(b"\0" + body), LIMIT)
