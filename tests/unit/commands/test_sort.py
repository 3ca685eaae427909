"""SORT: numbers as strtod reads them, and what the comparison with redis-server can't show. The rest is in the case file."""

from __future__ import annotations

import math

import pytest

from helpers.sessions import Server, run, text
from kvserver.commands.sort import NO_NUMBER, number_of
from kvserver.errors import CommandError


@pytest.mark.parametrize(
    ("word", "number"),
    [(b"", 0), (b"1", 1), (b" -1.5", -1.5), (b".5e1", 5), (b"0x1p3", 8), (b"inf", math.inf), (b"-Infinity", -math.inf),
     (b"1\0x", 1), (b"0e-999", 0), (b"-0.0", 0), (b"1e308", 1e308)],
)  # fmt: skip
def test_number_is_what_strtod_reads(word: bytes, number: float) -> None:
    assert number_of(word) == number


@pytest.mark.parametrize(
    "word", [b"a", b"1 ", b"1_0", b"nan", b".", b"+", b"e1", b"0x", b"1e400", b"-1e400", b"1e-400", b"0x1p9999", b"\xd9\xa1"]
)
def test_what_is_no_number_or_out_of_range_is_refused(word: bytes) -> None:
    with pytest.raises(CommandError, match=NO_NUMBER):
        number_of(word)


def test_one_wrong_element_refuses_all_and_stores_nothing() -> None:
    server = Server()
    session = server.session()
    run(session, "SADD", "k", 1, 2, "x")
    run(session, "SET", "l", "v")
    server.keyspace.records.take()
    assert text(run(session, "SORT", "k", "STORE", "l")) == NO_NUMBER
    assert run(session, "GET", "l") == b"v"
    assert not server.keyspace.records.has_any


def test_store_of_nothing_removes_the_key() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "l", "v")
    server.keyspace.records.take()
    assert run(session, "SORT", "missing", "STORE", "l") == 0
    assert server.keyspace.records.take() == [[b"DEL", b"l"]]
