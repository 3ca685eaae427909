"""Blocking pops and moves of lists do what the others do where there is an element, record that, and wait elsewhere."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run
from kvserver.dispatch.effect import Block
from kvserver.resp.reply import NULL_ARRAY, Error

CALLS = [
    (("BLPOP", "none", "k", 0), [b"k", b"a"], [b"LPOP", b"k"]),
    (("BRPOP", "k", "none", 0), [b"k", b"c"], [b"RPOP", b"k"]),
    (("BLMPOP", 0, 2, "none", "k", "RIGHT", "COUNT", 2), [b"k", [b"c", b"b"]], [b"RPOP", b"k", b"2"]),
    (("BLMOVE", "k", "k", "LEFT", "RIGHT", 0), b"a", [b"LMOVE", b"k", b"k", b"LEFT", b"RIGHT"]),
]


@pytest.mark.parametrize(("words", "reply", "record"), CALLS, ids=str)
def test_element_that_is_there_is_taken_at_once(words: tuple[str | int, ...], reply: object, record: list[bytes]) -> None:
    server = Server()
    session = server.session()
    run(session, "RPUSH", "k", "a", "b", "c")
    server.keyspace.records.take()
    assert run(session, *words) == reply
    assert server.keyspace.records.take() == [record]


@pytest.mark.parametrize(("words", "reply", "record"), CALLS, ids=str)
def test_element_that_comes_is_taken_as_one_that_was_there(
    words: tuple[str | int, ...], reply: object, record: list[bytes]
) -> None:
    server = Server()
    session = server.session()
    block = run(session, *words)
    assert isinstance(block, Block)
    assert (block.otherwise, block.timeout_ms) == (NULL_ARRAY, 0)
    run(session, "RPUSH", "k", "a", "b", "c")
    server.keyspace.records.take()
    assert block.attempt(b"k") == reply
    assert server.keyspace.records.take() == [record]


def test_brpoplpush_records_a_pop_and_a_push() -> None:
    server = Server()
    session = server.session()
    run(session, "RPUSH", "k", "a", "b")
    server.keyspace.records.take()
    assert run(session, "BRPOPLPUSH", "k", "l", "0.5") == b"b"
    assert server.keyspace.records.take() == [[b"RPOP", b"k"], [b"LPUSH", b"l", b"b"]]


def test_move_in_a_transaction_has_a_null_of_its_own() -> None:
    session = Server().session()
    session.is_executing = True
    moved, popped = run(session, "BLMOVE", "k", "l", "LEFT", "LEFT", 0), run(session, "BLPOP", "k", 0)
    assert isinstance(moved, Block)
    assert isinstance(popped, Block)
    assert (moved.otherwise, popped.otherwise) == (None, NULL_ARRAY)


def test_words_that_are_none_are_refused_before_anything_is_taken() -> None:
    server = Server()
    session = server.session()
    run(session, "RPUSH", "k", "a")
    for words in (
        ("BLPOP", "k", "x"),
        ("BLMPOP", "x", 1, "k", "LEFT"),
        ("BLMPOP", 0, 1, "k", "UP"),
        ("BLMPOP", 0, 1, "k"),
        ("BLMOVE", "k", "l", "UP", "LEFT", 0),
        ("BRPOPLPUSH", "k", "l", -1),
    ):
        assert isinstance(run(session, *words), Error)
    assert run(session, "LLEN", "k") == 1
