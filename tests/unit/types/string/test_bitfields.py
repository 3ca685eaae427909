"""Integers of every width are read and written like the digits of one long binary number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.sessions import START_MS, run, text
from kvserver.state.session import Session
from kvserver.types.string.bitfields import Field

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


fields = st.builds(
    lambda is_signed, width, offset: Field(is_signed, width if is_signed else min(width, 63), offset),
    st.booleans(),
    st.integers(1, 64),
    st.integers(0, 70),
)


def digits(string: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in string)


@given(st.binary(max_size=20), fields)
def test_field_is_its_digits_and_zeros_behind_the_end(string: bytes, field: Field) -> None:
    text = digits(string).ljust(200, "0")[field.offset : field.offset + field.width]
    number = int(text, 2)
    if field.is_signed and text[0] == "1":
        number -= 1 << field.width
    assert field.read(string) == number
    assert field.least <= number <= field.greatest


@given(st.binary(min_size=20, max_size=20), fields, st.data())
def test_written_field_is_read_and_nothing_else_changes(string: bytes, field: Field, data: st.DataObject) -> None:
    number = data.draw(st.integers(field.least, field.greatest))
    changed = bytearray(string)
    field.write(changed, number)
    assert field.read(changed) == number
    before, after = digits(string), digits(bytes(changed))
    assert len(before) == len(after)
    assert (before[: field.offset], before[field.offset + field.width :]) == (
        after[: field.offset],
        after[field.offset + field.width :],
    )


@given(fields, st.integers(-(2**65), 2**65))
def test_overflow_wraps_saturates_or_fails(field: Field, number: int) -> None:
    fits = field.least <= number <= field.greatest
    wrapped = field.fit(number, b"WRAP")
    assert wrapped is not None
    assert (wrapped - number) % (1 << field.width) == 0
    assert field.least <= wrapped <= field.greatest
    assert field.fit(number, b"SAT") == min(max(number, field.least), field.greatest)
    assert field.fit(number, b"FAIL") == (number if fits else None)


def test_operations_run_in_order(session: Session) -> None:
    assert run(session, "BITFIELD", "k", "INCRBY", "i5", 100, 1, "GET", "u4", 0) == [1, 0]
    assert run(session, "BITFIELD", "k", "SET", "u8", "#1", 255, "GET", "u8", "#1", "SET", "u8", 8, 7) == [0, 255, 255]
    assert run(session, "BITFIELD", "k") == []


def test_overflow_holds_for_what_follows_it(session: Session) -> None:
    words: list[str | int] = [
        "OVERFLOW",
        "SAT",
        "INCRBY",
        "u2",
        0,
        5,
        "OVERFLOW",
        "FAIL",
        "INCRBY",
        "u2",
        0,
        1,
        "INCRBY",
        "u2",
        2,
        1,
    ]
    assert run(session, "BITFIELD", "k", *words) == [3, None, 1]
    assert run(session, "BITFIELD", "k", "INCRBY", "u2", 0, 1) == [0]


def test_unsigned_field_set_to_a_negative_number(session: Session) -> None:
    assert run(session, "BITFIELD", "k", "SET", "u4", 0, -1, "GET", "u4", 0) == [0, 15]
    assert run(session, "BITFIELD", "k", "OVERFLOW", "FAIL", "SET", "u4", 0, -1) == [None]
    assert run(session, "BITFIELD", "k", "OVERFLOW", "SAT", "SET", "u4", 8, -1, "GET", "u4", 8) == [0, 15]


def test_signed_field_saturates_as_in_redis(session: Session) -> None:
    """Redis saturates to the wrong end for the lowest numbers of 64 bits, and so does this server."""
    words = [("OVERFLOW", "SAT", "SET", "i8", 0, number, "GET", "i8", 0) for number in (-(2**63), -(2**63) + 127, 2**63 - 1)]
    assert [run(session, "BITFIELD", "k", *each) for each in words] == [[0, 127], [127, 127], [127, 127]]
    assert run(session, "BITFIELD", "k", "OVERFLOW", "SAT", "SET", "i8", 0, -(2**63) + 128, "GET", "i8", 0) == [127, -128]
    assert run(session, "BITFIELD", "l", "SET", "i64", 0, -(2**63), "GET", "i64", 0) == [0, -(2**63)]


def test_string_grows_for_writes_only(session: Session) -> None:
    assert run(session, "BITFIELD", "k", "GET", "u8", 100) == [0]
    assert run(session, "EXISTS", "k") == 0
    run(session, "BITFIELD", "k", "SET", "u8", 8, 0)
    assert run(session, "GET", "k") == b"\0\0"
    assert session.keyspace.records.take() == [[b"BITFIELD", b"k", b"SET", b"u8", b"8", b"0"]]
    run(session, "BITFIELD", "k", "SET", "u8", 8, 0, "GET", "u8", 500)
    assert session.keyspace.records.take() == []


@pytest.mark.parametrize("kind", ["u64", "i65", "u0", "i0", "i", "8", "U8", "u08", "u+8", ""])
def test_type_that_is_none_is_refused(session: Session, kind: str) -> None:
    assert text(run(session, "BITFIELD", "k", "GET", kind, 0)).startswith("ERR Invalid bitfield type.")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("GET", "u8"), "ERR syntax error"),
        (("SET", "u8", 0), "ERR syntax error"),
        (("NOSUCH",), "ERR syntax error"),
        (("OVERFLOW", "NOSUCH"), "ERR Invalid OVERFLOW type specified"),
        (("GET", "u8", "-1"), "ERR bit offset is not an integer or out of range"),
        (("GET", "u8", "#x"), "ERR bit offset is not an integer or out of range"),
        (("GET", "u8", "#536870912"), "ERR bit offset is not an integer or out of range"),
        (("SET", "u8", 0, "x"), "ERR value is not an integer or out of range"),
    ],
)
def test_errors_change_nothing(session: Session, words: tuple[str | int, ...], error: str) -> None:
    assert text(run(session, "BITFIELD", "k", "SET", "u8", 0, 1, *words)) == error
    assert run(session, "EXISTS", "k") == 0


def test_read_only_variant_reads(session: Session) -> None:
    run(session, "SET", "k", "a")
    assert run(session, "BITFIELD_RO", "k", "GET", "u8", 0, "OVERFLOW", "SAT") == [97]
    assert text(run(session, "BITFIELD_RO", "k", "SET", "u8", 0, 1)) == "ERR BITFIELD_RO only supports the GET subcommand"


def test_json_is_read_but_not_changed(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "[]")
    assert run(session, "BITFIELD", "k", "GET", "u8", 0) == [ord("[")]
    assert text(run(session, "BITFIELD", "k", "SET", "u8", 0, 1)) == WRONG_TYPE


def test_expiry_is_kept(session: Session) -> None:
    run(session, "SET", "k", "a", "PXAT", START_MS + 50)
    run(session, "BITFIELD", "k", "SET", "u8", 0, 1)
    assert run(session, "PTTL", "k") == 50
    assert session.keyspace.records.take()[-1][0] == b"BITFIELD"
