"""keys: what is expired is gone for every command, and FLUSHALL gives back what it replaced."""

from __future__ import annotations

import pytest
from sessions import Server, run, text

from kvserver.codec import JSONText
from kvserver.commands.effect import Discard
from kvserver.resp.reply import OK


@pytest.fixture
def server() -> Server:
    server = Server()
    session = server.session()
    run(session, "SET", "expired", "v", "PX", 1)
    run(session, "SET", "string", "v")
    server.keyspace.set(b"json", JSONText(b"[1]"))
    server.clock.now_ms += 1
    return server


def test_expired_key_counts_nowhere(server: Server) -> None:
    session = server.session()
    assert run(session, "EXISTS", "expired", "string", "string", "json", "missing") == 3
    assert run(session, "DEL", "expired", "missing") == 0
    assert text(run(session, "TYPE", "expired")) == "none"
    assert run(session, "TTL", "expired") == run(session, "PTTL", "expired") == -2


def test_del_counts_a_key_once(server: Server) -> None:
    session = server.session()
    assert run(session, "DEL", "string", "string", "json") == 2
    assert run(session, "EXISTS", "string", "json") == 0


def test_types_are_told(server: Server) -> None:
    session = server.session()
    assert text(run(session, "TYPE", "string")) == "string"
    assert text(run(session, "TYPE", "json")) == "ReJSON-RL"


@pytest.mark.parametrize(("left_ms", "seconds"), [(1, 0), (499, 0), (500, 1), (1_499, 1), (1_500, 2), (60_000, 60)])
def test_ttl_is_rounded_to_the_nearest_second(server: Server, left_ms: int, seconds: int) -> None:
    session = server.session()
    run(session, "SET", "k", "v", "PX", left_ms)
    assert run(session, "PTTL", "k") == left_ms
    assert run(session, "TTL", "k") == seconds
    assert run(session, "TTL", "string") == run(session, "PTTL", "string") == -1


@pytest.mark.parametrize("words", [("FLUSHALL",), ("FLUSHALL", "ASYNC"), ("flushall", "sync")])
def test_flushall_empties_at_once_and_hands_on_what_is_to_be_freed(server: Server, words: tuple[str, ...]) -> None:
    session = server.session()
    run(session, "GET", "expired")
    effect = run(session, *words)
    assert isinstance(effect, Discard)
    assert effect.reply is OK
    assert sum(map(len, effect.shards)) == 2
    assert run(session, "DBSIZE") == 0


@pytest.mark.parametrize("words", [("FLUSHALL", "NOW"), ("FLUSHALL", "ASYNC", "SYNC")])
def test_flushall_with_a_wrong_word_removes_nothing(server: Server, words: tuple[str, ...]) -> None:
    session = server.session()
    assert text(run(session, *words)) == "ERR syntax error"
    assert run(session, "EXISTS", "string", "json") == 2
