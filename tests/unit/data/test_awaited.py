"""Whatever stores or removes an awaited key is noted, in the database where it happened; nothing else is."""

from __future__ import annotations

import pytest

from helpers.sessions import START_MS, Server, run
from kvserver.data.awaited import Awaited
from kvserver.data.shards import new_shards


@pytest.fixture
def server() -> Server:
    server = Server()
    run(server.session(), "RPUSH", "l", "3", "1")
    server.state.databases.await_keys()
    server.state.databases.awaited.add(b"k")
    return server


@pytest.mark.parametrize(
    "words",
    [
        "SET k v",
        "RPUSH k a",
        "RENAME l k",
        "COPY l k",
        "SORT l STORE k",
        "SETEX k 10 v",
        "MSET a 1 k 2",
        "APPEND k v",
    ],
)
def test_key_is_noted_whatever_command_writes_it(server: Server, words: str) -> None:
    awaited, session = server.state.databases.awaited, server.session()
    run(session, *words.split())
    assert awaited.take() == [(0, b"k")]
    assert awaited.take() == []
    run(session, *words.replace("k", "other").split())
    run(session, "GET", "k")
    assert awaited.take() == []


def test_key_that_is_removed_is_noted(server: Server) -> None:
    awaited, session = server.state.databases.awaited, server.session()
    run(session, "SET", "k", "v")
    awaited.take()
    run(session, "DEL", "l", "k")
    assert awaited.take() == [(0, b"k")]


def test_key_that_expires_is_noted(server: Server) -> None:
    server.keyspace.set_expiring(b"k", b"v", START_MS + 1)
    server.state.databases.awaited.take()
    server.clock.now_ms += 1
    assert server.keyspace.live(b"k") is None
    assert server.state.databases.awaited.take() == [(0, b"k")]


def test_runs_of_sets_are_noted_while_somebody_waits(server: Server) -> None:
    keyspace, awaited = server.keyspace, server.state.databases.awaited
    keyspace.put_sets([[b"SET", b"a", b"1"], [b"SET", b"k", b"2"]])
    assert awaited.take() == [(0, b"k")]


def test_key_of_every_database_is_noted_with_its_number_whenever_it_was_made(server: Server) -> None:
    awaited, databases = server.state.databases.awaited, server.state.databases
    for number in (3, 5):
        databases[number].put(b"k", b"v")
    assert awaited.take() == [(3, b"k"), (5, b"k")]
    databases.swap(3, 5)
    assert awaited.take() == [(3, b"k"), (5, b"k")]
    databases[3].put(b"k", b"v")
    assert awaited.take() == [(3, b"k")]


def test_all_are_noted_where_the_data_is_replaced(server: Server) -> None:
    awaited = server.state.databases.awaited
    awaited.add(b"other")
    server.keyspace.replace(new_shards())
    assert awaited.take() == [(0, b"k"), (0, b"other")]
    server.keyspace.put(b"k", b"v")
    assert awaited.take() == [(0, b"k")], "and later ones, too"


def test_frozen_data_is_noted_as_well(server: Server) -> None:
    cut = server.keyspace.cut()
    run(server.session(), "RPUSH", "k", "a")
    for _ in server.keyspace.fold(cut):
        pass
    run(server.session(), "RPUSH", "k", "a")
    assert server.state.databases.awaited.take() == [(0, b"k")]


def test_key_is_awaited_until_the_last_has_gone() -> None:
    awaited = Awaited()
    awaited.add(b"k")
    awaited.add(b"k")
    awaited.remove(b"k")
    assert awaited.keys == {b"k": 1}
    awaited.remove(b"k")
    assert awaited.keys == {}
