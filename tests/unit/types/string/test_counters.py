"""INCR and its kin count on strings, on JSON integers, and at the ends of 64 bits."""

from __future__ import annotations

import pytest

from helpers.sessions import START_MS, Server, run, text
from kvserver.formats.codec import JSONText
from kvserver.state.session import Session

NOT_AN_INTEGER = "ERR value is not an integer or out of range"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
OVERFLOW = "ERR increment or decrement would overflow"


def test_counter_begins_at_zero(session: Session) -> None:
    assert run(session, "INCR", "k") == 1
    assert run(session, "DECR", "l") == -1
    assert run(session, "INCRBY", "m", 5) == 5
    assert run(session, "DECRBY", "n", 5) == -5
    assert run(session, "INCRBYFLOAT", "f", "0.5") == b"0.5"
    assert run(session, "GET", "k") == b"1"


@pytest.mark.parametrize("before", [0, 1, -1, 9, 10, -10, 10**17, 10**18 - 1, 10**18, -(10**18), 2**63 - 2, -(2**63)])
def test_incr_adds_one(session: Session, before: int) -> None:
    run(session, "SET", "k", before)
    assert run(session, "INCR", "k") == before + 1
    assert run(session, "GET", "k") == b"%d" % (before + 1)


@pytest.mark.parametrize("value", ["", "01", "00", "+1", " 1", "1 ", "1_0", "-0", "1.0", "x", "9223372036854775808", "٣"])
@pytest.mark.parametrize("words", [("INCR",), ("DECR",), ("INCRBY", 1), ("DECRBY", 1)])
def test_what_is_no_integer_is_refused_and_kept(session: Session, value: str, words: tuple[str | int, ...]) -> None:
    run(session, "SET", "k", value)
    assert text(run(session, words[0], "k", *words[1:])) == NOT_AN_INTEGER
    assert run(session, "GET", "k") == value.encode()


def test_overflow_is_refused_and_changes_nothing(session: Session) -> None:
    run(session, "SET", "k", 2**63 - 1)
    run(session, "SET", "l", -(2**63))
    session.keyspace.records.take()
    assert text(run(session, "INCR", "k")) == OVERFLOW
    assert text(run(session, "INCRBY", "k", 2**63 - 1)) == OVERFLOW
    assert text(run(session, "DECR", "l")) == OVERFLOW
    assert text(run(session, "DECRBY", "l", 1)) == OVERFLOW
    assert text(run(session, "DECRBY", "k", -(2**63))) == "ERR decrement would overflow"
    assert session.keyspace.records.take() == []


def test_expiry_is_kept_and_an_expired_counter_begins_anew(server: Server, session: Session) -> None:
    for words in (("INCR", "k"), ("DECR", "k"), ("INCRBYFLOAT", "k", "1.5")):
        run(session, "SET", "k", 1, "PX", 100)
        run(session, *words)
        assert run(session, "PTTL", "k") == 100
        server.clock.now_ms += 100
        assert run(session, "EXISTS", "k") == 0
        run(session, *words)
        assert run(session, "PTTL", "k") == -1


def test_results_are_what_is_written(server: Server, session: Session) -> None:
    run(session, "INCR", "k")
    run(session, "INCRBYFLOAT", "k", "0.25")
    run(session, "SET", "t", 1, "PX", 100)
    run(session, "INCR", "t")
    assert server.keyspace.records.take() == [
        [b"SET", b"k", b"1"],
        [b"SET", b"k", b"1.25"],
        [b"SET", b"t", b"1", b"PXAT", b"%d" % (START_MS + 100)],
        [b"SET", b"t", b"2", b"PXAT", b"%d" % (START_MS + 100)],
    ]


# --- JSON


def test_json_integer_stays_one(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "41")
    assert run(session, "INCR", "k") == 42
    assert run(session, "DECRBY", "k", 50) == -8
    assert run(session, "JSON.TYPE", "k") == b"integer"
    assert run(session, "GET", "k") == b"-8"
    assert session.keyspace.records.take()[-1] == [b"JSON.SET", b"k", b"$", b"-8"]


@pytest.mark.parametrize("value", ["1.0", "1e400", "-0.5", "9223372036854775808", "1" + "0" * 400])
def test_json_number_that_is_no_integer_of_64_bits_has_no_incr(session: Session, value: str) -> None:
    session.keyspace.set(b"k", JSONText(value.encode()))
    assert text(run(session, "INCR", "k")) == NOT_AN_INTEGER
    assert run(session, "GET", "k") == value.encode()


@pytest.mark.parametrize("value", ["[1]", "{}", "true", "null"])
def test_json_that_is_no_number_has_the_wrong_type(session: Session, value: str) -> None:
    run(session, "JSON.SET", "k", "$", value)
    assert text(run(session, "INCR", "k")) == WRONG_TYPE
    assert text(run(session, "INCRBYFLOAT", "k", "1")) == WRONG_TYPE


@pytest.mark.parametrize(
    ("value", "increment", "result"),
    [
        ("10", "0.5", "10.5"),
        ("10.5", "0.5", "11"),
        ("1e300", "1", "1e+300"),
        ("3", "1e20", "1e+20"),
        ("0", "-9223372036854775807", "-9223372036854775807"),
        ("0.1", "0.2", "0.3"),
    ],
)
def test_json_number_plus_a_float_is_a_json_number(session: Session, value: str, increment: str, result: str) -> None:
    run(session, "JSON.SET", "k", "$", value)
    assert run(session, "INCRBYFLOAT", "k", increment) == result.encode()
    assert run(session, "GET", "k") == result.encode()
    assert isinstance(session.keyspace.live(b"k"), JSONText)
    assert session.keyspace.records.take()[-1] == [b"JSON.SET", b"k", b"$", result.encode()]


def test_json_number_does_not_become_one_that_json_has_not(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "1e308")
    for increment in ("1e309", "1e4931", "-1e4931", "inf"):
        assert text(run(session, "INCRBYFLOAT", "k", increment)) == "ERR increment would produce NaN or Infinity"
    assert run(session, "GET", "k") == b"1e+308"
    session.keyspace.set(b"nan", JSONText(b"NaN"))
    assert text(run(session, "INCRBYFLOAT", "nan", "1")) == "ERR value is not a valid float"


# --- INCRBYFLOAT


@pytest.mark.parametrize(
    ("value", "increment", "result"),
    [
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("0", "-0", "0"),
        ("3", "-3.0", "0"),
        ("1", "1e-18", "1"),
        ("0.1", "0.2", "0.3"),
        ("1e17", "0.1", "100000000000000000.1015625"),
    ],
)
def test_incrbyfloat_adds_in_long_double(session: Session, value: str, increment: str, result: str) -> None:
    run(session, "SET", "k", value)
    assert run(session, "INCRBYFLOAT", "k", increment) == result.encode()


def test_incrbyfloat_refuses_what_is_no_number_or_gives_none(session: Session) -> None:
    run(session, "SET", "k", "x")
    assert text(run(session, "INCRBYFLOAT", "k", "1")) == "ERR value is not a valid float"
    run(session, "SET", "k", "1")
    assert text(run(session, "INCRBYFLOAT", "k", "x")) == "ERR value is not a valid float"
    assert text(run(session, "INCRBYFLOAT", "k", "inf")) == "ERR increment would produce NaN or Infinity"
    assert run(session, "GET", "k") == b"1"
