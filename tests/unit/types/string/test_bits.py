"""Bits are counted, found and combined as by a reference that looks at one bit after the other."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.sessions import Server, run, text
from kvserver.state.session import Session
from kvserver.types.string.bits import combined, first_bit

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NO_OFFSET = "ERR bit offset is not an integer or out of range"
NO_BIT = "ERR bit is not an integer or out of range"


def bits_of(value: bytes) -> list[int]:
    return [byte >> shift & 1 for byte in value for shift in range(7, -1, -1)]


def test_setbit_gives_what_was_there_and_fills_with_zeros(session: Session) -> None:
    assert run(session, "SETBIT", "k", 7, 1) == 0
    assert run(session, "GET", "k") == b"\x01"
    assert run(session, "SETBIT", "k", 7, 0) == 1
    assert run(session, "SETBIT", "k", 20, 1) == 0
    assert run(session, "GET", "k") == b"\0\0\x08"
    assert run(session, "SETBIT", "zeros", 20, 0) == 0
    assert run(session, "GET", "zeros") == b"\0\0\0"


def test_setbit_that_changes_nothing_writes_nothing(session: Session) -> None:
    run(session, "SETBIT", "k", 9, 1)
    assert session.keyspace.records.take() == [[b"SETBIT", b"k", b"9", b"1"]]
    assert run(session, "SETBIT", "k", 9, 1) == 1
    assert run(session, "SETBIT", "k", 3, 0) == 0
    assert session.keyspace.records.take() == []


def test_getbit_looks_at_one_bit(session: Session) -> None:
    run(session, "SET", "k", b"\x81\x01")
    assert [run(session, "GETBIT", "k", offset) for offset in range(20)] == [*bits_of(b"\x81\x01"), 0, 0, 0, 0]
    assert run(session, "GETBIT", "missing", 0) == 0


@pytest.mark.parametrize("offset", ["-1", "x", "", "1.0", "#1", "4294967296", "9223372036854775807"])
def test_offset_that_is_none_is_refused(session: Session, offset: str) -> None:
    assert text(run(session, "SETBIT", "k", offset, 1)) == NO_OFFSET
    assert text(run(session, "GETBIT", "k", offset)) == NO_OFFSET
    assert run(session, "EXISTS", "k") == 0


@pytest.mark.parametrize("bit", ["2", "-1", "x", "01"])
def test_bit_that_is_none_is_refused(session: Session, bit: str) -> None:
    assert text(run(session, "SETBIT", "k", 0, bit)) == NO_BIT


def test_offset_ends_with_the_greatest_string(server: Server, session: Session) -> None:
    server.state.config.proto_max_bulk_len = 10
    assert run(session, "SETBIT", "k", 79, 1) == 0
    assert text(run(session, "SETBIT", "k", 80, 1)) == NO_OFFSET
    assert run(session, "STRLEN", "k") == 10


def test_json_is_read_but_not_changed(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "[1]")
    assert run(session, "GETBIT", "k", 1) == 1
    assert run(session, "BITCOUNT", "k") == sum(bits_of(b"[1]"))
    assert run(session, "BITPOS", "k", 1) == 1
    assert run(session, "BITOP", "NOT", "to", "k") == 3
    assert text(run(session, "SETBIT", "k", 0, 1)) == WRONG_TYPE


values = st.binary(max_size=12) | st.sampled_from([b"\xff" * 3, b"\0" * 3, b"\xff\0", b"\0\xff"])
positions = st.integers(-110, 110)


def limits(start: int, end: int, length: int) -> tuple[int, int]:
    return (max(start + length, 0) if start < 0 else start), (max(end + length, 0) if end < 0 else end)


@given(values, positions, positions, st.sampled_from(["BIT", "BYTE", "byte"]))
def test_bitcount_counts_what_is_in_the_range(value: bytes, start: int, end: int, unit: str) -> None:
    session = Server().session()
    run(session, "SET", "k", value)
    each = 1 if unit == "BIT" else 8
    first, last = limits(start, end, len(value) * 8 // each)
    bits = bits_of(value)
    expected = 0 if end < start < 0 else sum(bits[first * each : (last + 1) * each])
    assert run(session, "BITCOUNT", "k", start, end, unit) == expected
    assert run(session, "BITCOUNT", "k") == sum(bits)


@given(values, st.sampled_from([0, 1]), positions, positions, st.sampled_from(["BIT", "BYTE"]))
def test_bitpos_finds_the_first_in_the_range(value: bytes, bit: int, start: int, end: int, unit: str) -> None:
    session = Server().session()
    run(session, "SET", "k", value)
    each = 1 if unit == "BIT" else 8
    first, last = limits(start, end, len(value) * 8 // each)
    bits = bits_of(value)
    found = [place for place in range(len(bits)) if first * each <= place < (last + 1) * each and bits[place] == bit]
    assert run(session, "BITPOS", "k", bit, start, end, unit) == (found[0] if found else -1)


def test_bitpos_of_zeros_behind_the_string(session: Session) -> None:
    run(session, "SET", "k", b"\xff\xff")
    assert run(session, "BITPOS", "k", 0) == 16
    assert run(session, "BITPOS", "k", 0, 1) == 16
    assert run(session, "BITPOS", "k", 0, 0, -1) == -1
    assert run(session, "BITPOS", "k", 0, 5) == -1
    assert run(session, "BITPOS", "missing", 0) == 0
    assert run(session, "BITPOS", "missing", 1) == -1
    run(session, "SET", "k", "")
    assert run(session, "BITPOS", "k", 0) == -1


def test_long_strings_are_searched_and_counted_whole(session: Session) -> None:
    value = bytes(3_000_000) + b"\x10" + b"\xff" * 3_000_000
    run(session, "SET", "k", value)
    assert run(session, "BITPOS", "k", 1) == 8 * 3_000_000 + 3
    assert run(session, "BITCOUNT", "k") == 1 + 8 * 3_000_000
    assert run(session, "BITCOUNT", "k", 8 * 3_000_000 + 3, -2, "BIT") == 8 * 3_000_000
    assert first_bit(value, 0, range(8 * 3_000_001, 8 * len(value))) is None


@given(st.sampled_from([b"AND", b"OR", b"XOR"]), st.lists(values, min_size=1, max_size=4))
def test_bitop_combines_bit_by_bit(operation: bytes, sources: list[bytes]) -> None:
    longest = max(map(len, sources))
    columns = zip(*(source.ljust(longest, b"\0") for source in sources), strict=True)
    combine = {b"AND": int.__and__, b"OR": int.__or__, b"XOR": int.__xor__}[operation]
    assert combined(operation, sources) == bytes(reduce(combine, column) for column in columns)


@given(values)
def test_bitop_not_inverts_every_bit(value: bytes) -> None:
    assert combined(b"NOT", [value]) == bytes(255 - byte for byte in value)


def test_bitop_stores_a_string_without_an_expiry(server: Server, session: Session) -> None:
    run(session, "SET", "a", "abc")
    run(session, "SET", "to", "x", "PX", 10)
    assert run(session, "BITOP", "or", "to", "a", "missing") == 3
    assert run(session, "GET", "to") == b"abc"
    assert run(session, "PTTL", "to") == -1
    assert server.keyspace.records.take()[-1] == [b"BITOP", b"or", b"to", b"a", b"missing"]


def test_bitop_of_nothing_removes_the_target(session: Session) -> None:
    run(session, "SET", "to", "x")
    session.keyspace.records.take()
    assert run(session, "BITOP", "AND", "to", "missing", "gone") == 0
    assert run(session, "EXISTS", "to") == 0
    assert run(session, "BITOP", "AND", "to", "missing") == 0
    assert session.keyspace.records.take() == [[b"DEL", b"to"]]


def test_bitop_errors(session: Session) -> None:
    assert text(run(session, "BITOP", "NAND", "to", "a")) == "ERR syntax error"
    assert text(run(session, "BITOP", "NOT", "to", "a", "b")) == "ERR BITOP NOT must be called with a single source key."
