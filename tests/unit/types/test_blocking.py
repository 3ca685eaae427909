"""The first key that holds something is taken from; where there is none, a later value of the kind is waited for."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run
from kvserver.dispatch.effect import Block
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.types.blocking import take_or_wait
from kvserver.types.list.value import LIST


def test_first_key_that_gives_something_is_taken_from() -> None:
    asked: list[bytes] = []

    def take(key: bytes) -> Reply:
        asked.append(key)
        return None if key == b"a" else key

    assert take_or_wait(Server().session(), [b"a", b"b", b"c"], 0, LIST, take) == b"b"
    assert asked == [b"a", b"b"]


def test_wait_is_served_by_a_value_of_its_kind_alone() -> None:
    server = Server()
    session = server.session()
    taken: list[Reply] = [None, None]
    block = take_or_wait(session, [b"a", b"b"], 7, LIST, lambda key: taken.pop() if taken else key)
    assert isinstance(block, Block)
    assert (block.keys, block.timeout_ms, block.kind) == ([b"a", b"b"], 7, "list")
    assert block.attempt(b"a") is None, "the key is missing"
    run(session, "SET", "a", "v")
    assert block.attempt(b"a") is None, "the key holds a string"
    run(session, "RPUSH", "b", "v")
    assert block.attempt(b"b") == b"b"


def test_value_of_another_kind_that_is_met_at_once_is_an_error() -> None:
    def take(key: bytes) -> Reply:
        raise CommandError("WRONGTYPE")

    with pytest.raises(CommandError, match="WRONGTYPE"):
        take_or_wait(Server().session(), [b"a"], 0, LIST, take)
