"""A stream is cut into parts in any pieces of it, and each part has the offset of its end."""

from __future__ import annotations

import pytest

from helpers.servers import encode
from kvserver.errors import SourceUnusable
from kvserver.following.stream import REQUESTS_A_PART, Commands, Part, Question, Stream, Transaction

BEGIN = 1000


def read(*pieces: bytes) -> list[Part]:
    stream = Stream(BEGIN)
    return [part for piece in pieces for part in stream.feed(piece)]


SET, PING, MULTI, EXEC = encode("SET", "k", "v"), encode("PING"), encode("MULTI"), encode("EXEC")
GETACK = encode("REPLCONF", "GETACK", "*")
WORDS = [b"SET", b"k", b"v"]


def test_requests_that_come_together_are_a_part() -> None:
    assert read(SET + SET) == [Commands([WORDS, WORDS], BEGIN + 2 * len(SET))]
    many = read(SET * (REQUESTS_A_PART + 1))
    assert [len(part.requests) for part in many if isinstance(part, Commands)] == [REQUESTS_A_PART, 1]
    assert [part.end for part in many] == [BEGIN + len(SET) * REQUESTS_A_PART, BEGIN + len(SET) * (REQUESTS_A_PART + 1)]


def test_transaction_is_one_part_when_its_end_has_come() -> None:
    before, rest = MULTI + SET + SET, EXEC
    assert read(SET + before) == [Commands([WORDS], BEGIN + len(SET))]
    parts = read(SET + before, rest)
    assert parts[1:] == [Transaction([WORDS, WORDS], BEGIN + len(SET + before + rest))]
    assert read(MULTI, SET, SET, EXEC) == [Transaction([WORDS, WORDS], BEGIN + len(MULTI + SET + SET + EXEC))]


def test_words_of_the_link_move_the_offset_alone() -> None:
    parts = read(SET + PING + GETACK + SET)
    ends = [len(SET), len(SET + PING), len(SET + PING + GETACK), len(SET + PING + GETACK + SET)]
    assert [part.end for part in parts] == [BEGIN + end for end in ends]
    assert parts[1] == Commands([], BEGIN + ends[1])
    assert parts[2] == Question(BEGIN + ends[2])


def test_offset_stays_before_a_transaction_that_is_not_whole() -> None:
    parts = read(SET + MULTI + SET + PING + SET)
    assert [part.end for part in parts] == [BEGIN + len(SET)]


@pytest.mark.parametrize("size", [1, 3, 10, 64])
def test_pieces_make_no_difference(size: int) -> None:
    data = SET + MULTI + SET + encode("SELECT", 3) + SET + EXEC + PING + GETACK + encode("SET", "k", "x" * 100_000) + SET
    parts = read(*(data[place : place + size] for place in range(0, len(data), size)))
    assert parts[-1].end == BEGIN + len(data)
    requests = [request for part in parts if not isinstance(part, Question) for request in part.requests]
    assert requests == [WORDS, WORDS, [b"SELECT", b"3"], WORDS, [b"SET", b"k", b"x" * 100_000], WORDS]


@pytest.mark.parametrize("data", [b"SET k v\r\n", b"\n", b"*1\r\n+PING\r\n", b"*x\r\n", b"$EOF"])
def test_what_is_no_stream_is_refused(data: bytes) -> None:
    with pytest.raises(SourceUnusable, match="what the source sends is no stream of commands"):
        read(SET + data)
