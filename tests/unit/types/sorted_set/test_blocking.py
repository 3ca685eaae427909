"""Blocking pops of sorted sets do what the others do where there is a member, record that, and wait elsewhere."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run
from kvserver.dispatch.effect import Block
from kvserver.resp.reply import NULL_ARRAY, Error

CALLS = [
    (("BZPOPMIN", "none", "k", 0), [b"k", b"a", 1.0], [b"ZPOPMIN", b"k"]),
    (("BZPOPMAX", "k", "none", 0), [b"k", b"c", 3.0], [b"ZPOPMAX", b"k"]),
    (("BZMPOP", 0, 2, "none", "k", "MAX", "COUNT", 2), [b"k", [(b"c", 3.0), (b"b", 2.0)]], [b"ZPOPMAX", b"k", b"2"]),
]


@pytest.mark.parametrize(("words", "reply", "record"), CALLS, ids=str)
def test_member_that_is_there_is_taken_at_once(words: tuple[str | int, ...], reply: object, record: list[bytes]) -> None:
    server = Server()
    session = server.session()
    session.protocol = 3
    run(session, "ZADD", "k", 1, "a", 2, "b", 3, "c")
    server.keyspace.records.take()
    assert run(session, *words) == reply
    assert server.keyspace.records.take() == [record]


@pytest.mark.parametrize(("words", "reply", "record"), CALLS, ids=str)
def test_member_that_comes_is_taken_as_one_that_was_there(
    words: tuple[str | int, ...], reply: object, record: list[bytes]
) -> None:
    server = Server()
    session = server.session()
    session.protocol = 3
    block = run(session, *words)
    assert isinstance(block, Block)
    assert (block.otherwise, block.kind) == (NULL_ARRAY, "zset")
    run(session, "ZADD", "k", 1, "a", 2, "b", 3, "c")
    server.keyspace.records.take()
    assert block.attempt(b"k") == reply
    assert server.keyspace.records.take() == [record]


def test_words_that_are_none_are_refused_before_anything_is_taken() -> None:
    session = Server().session()
    run(session, "ZADD", "k", 1, "a")
    for words in (("BZPOPMIN", "k", "x"), ("BZMPOP", -1, 1, "k", "MIN"), ("BZMPOP", 0, 1, "k", "LEFT"), ("BZMPOP", 0, 1, "k")):
        assert isinstance(run(session, *words), Error)
    assert run(session, "ZCARD", "k") == 1
