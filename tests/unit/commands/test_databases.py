"""Each database has its own keys, a key and a whole database can change its place, and a session stays where it is."""

from __future__ import annotations

import pytest

from helpers.documents import exact
from helpers.sessions import START_MS, Server, run, text
from kvserver.data.entries import Value
from kvserver.dispatch.effect import FreeShards
from kvserver.formats.codec import JSONText
from kvserver.resp.reply import OK
from kvserver.state.session import REPLAY_ID, Session


@pytest.fixture
def server() -> Server:
    server = Server()
    session = server.session()
    run(session, "SET", "expired", "v", "PX", 1)
    run(session, "SET", "string", "v")
    server.keyspace.set(b"json", JSONText(b"[1]"))
    server.clock.now_ms += 1
    return server


def value_of(server: Server, number: int, key: bytes) -> Value | None:
    return server.state.databases[number].peek_live(key)


def test_session_has_the_database_that_it_has_selected_until_it_is_reset() -> None:
    server = Server()
    session, other = server.session(), server.session()
    assert run(session, "SELECT", 15) is OK
    assert text(run(session, "SELECT", 16)) == "ERR DB index is out of range"
    run(session, "SET", "k", "v")
    assert (run(session, "GET", "k"), run(other, "GET", "k")) == (b"v", None)
    assert session.keyspace.number == 15
    session.reset()
    assert session.keyspace is other.keyspace is server.keyspace


def test_number_of_databases_is_an_option_that_a_replay_does_not_ask() -> None:
    server = Server()
    server.state.config.databases = 1
    assert text(run(server.session(), "SELECT", 1)) == "ERR DB index is out of range"
    journal = Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    assert run(journal, "SELECT", 1023) is OK
    assert text(run(journal, "SELECT", 1024)) == "ERR DB index is out of range"


@pytest.mark.parametrize("expiry", [(), ("PX", 100)])
def test_move_takes_the_expiry_along(expiry: tuple[str | int, ...]) -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "v", *expiry)
    assert run(session, "MOVE", "k", 3) == 1
    assert run(session, "MOVE", "k", 3) == 0
    target = server.state.databases[3]
    assert (value_of(server, 0, b"k"), value_of(server, 3, b"k")) == (None, b"v")
    assert target.expires_at_ms(b"k") == (START_MS + 100 if expiry else None)


def test_move_and_copy_leave_what_is_there() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "v")
    server.state.databases[1].put(b"k", b"old")
    assert run(session, "MOVE", "k", 1) == run(session, "COPY", "k", "k", "DB", 1) == 0
    assert (value_of(server, 0, b"k"), value_of(server, 1, b"k")) == (b"v", b"old")
    assert run(session, "COPY", "k", "k", "DB", 1, "REPLACE") == 1
    assert value_of(server, 1, b"k") == b"v"


@pytest.mark.parametrize("words", [("MOVE", "k", 1), ("COPY", "k", "k", "DB", 1)])
def test_collection_that_comes_to_another_database_while_it_is_frozen_can_be_changed_there(words: tuple[str, ...]) -> None:
    server = Server()
    session = server.session()
    run(session, "RPUSH", "k", *range(100))
    frozen = server.state.databases.cut()
    before = exact(frozen.cuts[0].lookup(b"k"))
    assert run(session, *words) == 1
    run(session, "SELECT", 1)
    assert run(session, "RPUSH", "k", "new") == 101
    assert exact(frozen.cuts[0].lookup(b"k")) == before
    for _ in frozen.fold():
        pass
    assert run(session, "LLEN", "k") == 101


def test_databases_that_are_swapped_change_places_for_everybody_who_has_selected_one() -> None:
    server = Server()
    first, second, third = (server.session() for _ in range(3))
    journal = Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    run(second, "SELECT", 1)
    run(third, "SELECT", 2)
    for session, value in ((first, "in 0"), (second, "in 1"), (third, "in 2")):
        run(session, "SET", "k", value)
    assert run(journal, "SWAPDB", 0, 1) is OK
    assert [run(session, "GET", "k") for session in (first, second, third, journal)] == [b"in 1", b"in 0", b"in 2", b"in 1"]
    assert [session.keyspace.number for session in (first, second, third, journal)] == [0, 1, 2, 0]
    assert run(first, "SWAPDB", 1, 1) is OK
    assert run(first, "GET", "k") == b"in 1"


def test_flushdb_leaves_other_databases_and_flushall_none() -> None:
    server = Server()
    session = server.session()
    server.state.databases[3].put(b"k", b"v")
    run(session, "SET", "k", "v")
    effect = run(session, "FLUSHDB")
    assert isinstance(effect, FreeShards)
    assert (effect.keys, server.state.databases.key_count) == (1, 1)
    effect = run(session, "FLUSHALL")
    assert isinstance(effect, FreeShards)
    assert (effect.keys, server.state.databases.key_count) == (1, 0)


@pytest.mark.parametrize("words", [("FLUSHALL",), ("FLUSHALL", "ASYNC"), ("flushall", "sync"), ("FlushDB",)])
def test_flushall_empties_at_once_and_hands_on_what_is_to_be_freed(server: Server, words: tuple[str, ...]) -> None:
    session = server.session()
    run(session, "GET", "expired")
    effect = run(session, *words)
    assert isinstance(effect, FreeShards)
    assert (effect.name, effect.keys) == (words[0].upper(), 2)
    assert sum(map(len, effect.shards)) == 2
    assert run(session, "DBSIZE") == 0


@pytest.mark.parametrize(
    ("save", "word", "flushes"), [(((1, 1),), "FLUSHALL", True), (((1, 1),), "FLUSHDB", False), ((), "FLUSHALL", False)]
)
def test_flushall_is_flushed_where_there_are_save_points(
    server: Server, save: tuple[tuple[int, int], ...], word: str, flushes: bool
) -> None:
    server.state.config.save = save
    effect = run(server.session(), word)
    assert isinstance(effect, FreeShards)
    assert effect.flushes is flushes


@pytest.mark.parametrize("words", [("FLUSHALL", "NOW"), ("FLUSHALL", "ASYNC", "SYNC")])
def test_flushall_with_a_wrong_word_removes_nothing(server: Server, words: tuple[str, ...]) -> None:
    session = server.session()
    assert text(run(session, *words)) == "ERR syntax error"
    assert run(session, "EXISTS", "string", "json") == 2
