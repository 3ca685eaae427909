"""GETRANGE takes the bytes that Redis takes, and APPEND and SETRANGE leave what Redis leaves."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText
from kvserver.state.session import REPLAY_ID, Session
from kvserver.types.string.ranges import changeable, check_length, inclusive_range

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


@pytest.mark.parametrize(
    ("start", "end", "piece"),
    [
        (0, 3, b"This"),
        (-3, -1, b"ing"),
        (0, -1, b"This is a string"),
        (10, 100, b"string"),
        (5, 4, b""),
        (-1, -5, b""),
        (-100, -50, b"T"),
        (-50, -100, b""),
        (16, 20, b""),
        (-(2**63), 2**63 - 1, b"This is a string"),
    ],
)
def test_getrange_is_inclusive_and_clipped(session: Session, start: int, end: int, piece: bytes) -> None:
    run(session, "SET", "k", "This is a string")
    assert run(session, "GETRANGE", "k", start, end) == piece
    assert run(session, "SUBSTR", "k", start, end) == piece


def test_getrange_of_a_missing_key_is_empty(session: Session) -> None:
    assert run(session, "GETRANGE", "k", 0, -1) == b""
    run(session, "SET", "k", "")
    assert run(session, "GETRANGE", "k", 0, -1) == b""


def test_getrange_of_json_is_of_its_text(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "[1, 2]")
    reply = run(session, "GETRANGE", "k", 0, 2)
    assert reply == b"[1,"
    assert type(run(session, "GETRANGE", "k", 0, -1)) is bytes


@pytest.mark.parametrize("length", range(5))
def test_inclusive_range_is_what_counting_gives(length: int) -> None:
    for start in range(-7, 7):
        for end in range(-7, 7):
            first = max(start + length, 0) if start < 0 else start
            last = max(end + length, 0) if end < 0 else end
            expected = [position for position in range(length) if first <= position <= last]
            assert list(inclusive_range(start, end, length)) == expected


def test_append_makes_and_lengthens(session: Session) -> None:
    assert run(session, "APPEND", "k", "Hello") == 5
    assert run(session, "APPEND", "k", " World") == 11
    assert run(session, "APPEND", "k", "") == 11
    assert run(session, "GET", "k") == b"Hello World"
    assert run(session, "APPEND", "empty", "") == 0
    assert run(session, "EXISTS", "empty") == 1


@pytest.mark.parametrize(
    ("before", "offset", "piece", "after"),
    [
        ("Hello World", 6, "Redis", b"Hello Redis"),
        ("Hello World", 0, "J", b"Jello World"),
        ("Hello", 5, "!", b"Hello!"),
        ("Hello", 8, "!", b"Hello\0\0\0!"),
        ("Hello", 3, "p me", b"Help me"),
        ("Hello", 9, "", b"Hello"),
    ],
)
def test_setrange_overwrites_and_fills_with_zeros(
    session: Session, before: str, offset: int, piece: str, after: bytes
) -> None:
    run(session, "SET", "k", before)
    assert run(session, "SETRANGE", "k", offset, piece) == len(after)
    assert run(session, "GET", "k") == after


def test_setrange_of_a_missing_key(session: Session) -> None:
    assert run(session, "SETRANGE", "k", 5, "") == 0
    assert run(session, "EXISTS", "k") == 0
    assert run(session, "SETRANGE", "k", 3, "x") == 4
    assert run(session, "GET", "k") == b"\0\0\0x"
    assert text(run(session, "SETRANGE", "k", -1, "x")) == "ERR offset is out of range"


def test_strings_have_a_greatest_length(server: Server, session: Session) -> None:
    server.state.config.proto_max_bulk_len = 10
    run(session, "SET", "k", "12345")
    session.keyspace.records.take()
    assert text(run(session, "APPEND", "k", "678901")) == TOO_LONG
    assert text(run(session, "SETRANGE", "k", 10, "x")) == TOO_LONG
    assert text(run(session, "SETRANGE", "none", 2**63 - 1, "x")) == TOO_LONG
    assert session.keyspace.records.take() == []
    assert run(session, "APPEND", "k", "67890") == 10
    assert run(session, "SETRANGE", "k", 9, "x") == 10


def test_json_is_not_changed_in_place(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "[1]")
    assert text(run(session, "APPEND", "k", "x")) == WRONG_TYPE
    assert text(run(session, "SETRANGE", "k", 0, "")) == WRONG_TYPE
    assert text(run(session, "SETRANGE", "k", 0, "x")) == WRONG_TYPE
    assert run(session, "GET", "k") == b"[1]"


def test_expiry_is_kept(server: Server, session: Session) -> None:
    run(session, "SET", "k", "v", "PX", 100)
    server.keyspace.records.take()
    run(session, "APPEND", "k", "w")
    run(session, "SETRANGE", "k", 1, "x")
    assert run(session, "PTTL", "k") == 100
    assert server.keyspace.records.take() == [[b"APPEND", b"k", b"w"], [b"SETRANGE", b"k", b"1", b"x"]]
    server.clock.now_ms += 100
    assert run(session, "APPEND", "k", "new") == 3
    assert run(session, "PTTL", "k") == -1


def test_journal_of_a_server_that_allowed_more_is_replayed() -> None:
    server = Server()
    server.state.config.proto_max_bulk_len = 4
    journal = Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    assert run(journal, "SETRANGE", "k", 9, "x") == 10
    assert run(journal, "APPEND", "k", "y") == 11
    assert run(journal, "SETBIT", "k", 8 * 20, 1) == 0
    assert run(journal, "BITFIELD", "k", "SET", "u8", 8 * 21, 1) == [0]
    assert run(journal, "STRLEN", "k") == 22


def test_length_up_to_the_limit_is_allowed() -> None:
    server = Server()
    server.state.config.proto_max_bulk_len = 4
    check_length(server.session(), 4)
    with pytest.raises(CommandError, match="exceeds maximum allowed size"):
        check_length(server.session(), 5)


def test_what_can_be_changed_is_a_string_that_is_alive() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "v", "PX", 10)
    assert changeable(session, b"k") == b"v"
    server.clock.now_ms += 10
    assert changeable(session, b"k") is None
    server.keyspace.set(b"k", JSONText(b"1"))
    with pytest.raises(CommandError, match="WRONGTYPE"):
        changeable(session, b"k")
