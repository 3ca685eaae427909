"""A watch notices all that touches its keys, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from helpers.sessions import START_MS, Server, run
from kvserver.data.shards import load_shards, new_shards
from kvserver.state.watches import Watch

Words = tuple[str | int, ...]


def touched_by(before: list[Words], after: list[Words], key: bytes = b"k") -> bool:
    """True if the commands that run after the watch began touch the key."""
    server = Server()
    session = server.session()
    for words in before:
        run(session, *words)
    watch = Watch()
    server.state.watches.add(watch, server.keyspace, key)
    for words in after:
        run(session, *words)
    return server.state.watches.is_broken(watch)


TOUCHING: list[tuple[list[Words], list[Words]]] = [
    ([], [("SET", "k", "v")]),
    ([], [("set", "k", "v")]),
    ([("SET", "k", "v")], [("SET", "k", "v")]),
    ([("SET", "k", "v")], [("DEL", "x", "k")]),
    ([("SET", "k", "v")], [("GETDEL", "k")]),
    ([("SET", "k", "v")], [("SET", "k", "v", "EXAT", 1)]),
    ([], [("MSET", "x", 1, "k", 2)]),
    ([], [("SET", "x", 1), ("RENAME", "x", "k")]),
    ([("SET", "k", "v")], [("RENAME", "k", "x")]),
    ([("SET", "x", "v")], [("COPY", "x", "k")]),
    ([("SET", "x", "v")], [("BITOP", "NOT", "k", "x")]),
    ([("SET", "k", "v")], [("FLUSHALL",)]),
    ([("SET", "k", "v")], [("EXPIRE", "k", 100)]),
    ([("SET", "k", "v", "EX", 10)], [("PERSIST", "k")]),
    ([], [("INCR", "k")]),
    ([], [("APPEND", "k", "v")]),
    ([], [("JSON.SET", "k", "$", "1")]),
    ([], [("SET", "k", "v"), ("DEL", "k")]),
    ([], [("SET", "k", "v"), ("FLUSHALL",)]),
    ([("RPUSH", "x", "a")], [("LMOVE", "x", "k", "LEFT", "LEFT")]),
    ([("SADD", "x", "a")], [("SMOVE", "x", "k", "a")]),
    ([("SADD", "x", "a")], [("SUNIONSTORE", "k", "x")]),
    ([("SADD", "k", "a")], [("SUNIONSTORE", "k", "x")]),
    ([("ZADD", "x", 1, "a")], [("ZRANGESTORE", "k", "x", 0, -1)]),
    ([("RPUSH", "x", 2, 1)], [("SORT", "x", "STORE", "k")]),
]
# What makes a collection, and what changes it.
CHANGES = (
    (("HSET", "k", "a", "b"), ("HSET k a c", "HDEL k a", "HINCRBY k n 1", "HINCRBYFLOAT k n 1")),
    (("RPUSH", "k", "a", "b"), ("LPUSH k c", "LPOP k", "LSET k 0 c", "LREM k 1 a", "LTRIM k 0 0", "LMPOP 1 k LEFT")),
    (("RPUSH", "k", "a", "b"), ("RPOPLPUSH k k", "RPOPLPUSH k x", "LMOVE k x LEFT LEFT", "LINSERT k AFTER a c")),
    (("SADD", "k", "a", "b"), ("SADD k c", "SREM k a", "SPOP k", "SPOP k 2", "SMOVE k x a", "SDIFFSTORE k k x")),
    (("ZADD", "k", "1", "a"), ("ZADD k 3 a", "ZREM k a", "ZINCRBY k 1 a", "ZPOPMIN k", "ZMPOP 1 k MAX")),
)
UNTOUCHING: list[tuple[list[Words], list[Words]]] = [
    ([], []),
    ([("SET", "k", "v")], [("GET", "k"), ("TTL", "k"), ("STRLEN", "k")]),
    ([], [("SET", "x", "k"), ("MSET", "x", "k", "y", "k"), ("DEL", "k")]),
    ([("SET", "k", "v")], [("SETNX", "k", "w"), ("SET", "k", "w", "NX"), ("PERSIST", "k")]),
    ([], [("FLUSHALL",)]),
    ([("SET", "k", "v")], [("COPY", "k", "x"), ("BITOP", "NOT", "y", "k")]),
    ([], [("SET", "x", "v"), ("FLUSHALL",)]),
    ([("HSET", "k", *range(200))], [("HGETALL", "k"), ("HDEL", "k", "x"), ("HSETNX", "k", 0, 1), ("OBJECT", "IDLETIME", "k")]),
    ([("RPUSH", "k", *range(200))], [("LREM", "k", 1, "x"), ("LPOS", "k", 5), ("COPY", "k", "x"), ("TOUCH", "k")]),
    ([("SADD", "k", *range(200))], [("SADD", "k", 1), ("SREM", "k", "x"), ("SUNIONSTORE", "x", "k")]),
    ([("ZADD", "k", *range(200))], [("ZADD", "k", 0, 1), ("ZREM", "k", "x"), ("ZUNIONSTORE", "x", 1, "k")]),
]


@pytest.mark.parametrize(("before", "after"), TOUCHING, ids=str)
def test_writing_a_watched_key_touches_it(before: list[Words], after: list[Words]) -> None:
    assert touched_by(before, after)


@pytest.mark.parametrize(("made", "changes"), CHANGES, ids=str)
@pytest.mark.parametrize("more", [0, 200])
def test_change_of_a_small_collection_and_of_a_large_one_touches_it(made: Words, changes: Iterable[str], more: int) -> None:
    for change in changes:
        assert touched_by([(*made, *range(more))], [tuple(change.split())]), change


@pytest.mark.parametrize(("before", "after"), UNTOUCHING, ids=str)
def test_anything_else_does_not(before: list[Words], after: list[Words]) -> None:
    assert not touched_by(before, after)


def test_what_was_written_before_does_not_count_although_it_is_of_the_same_tick() -> None:
    assert not touched_by([("SET", "k", "v")], [])


def test_each_watch_counts_from_its_own_beginning() -> None:
    server = Server()
    session, early, late = server.session(), Watch(), Watch()
    server.state.watches.add(early, server.keyspace, b"k")
    run(session, "SET", "k", "v")
    server.state.watches.add(late, server.keyspace, b"k")
    assert server.state.watches.is_broken(early)
    assert not server.state.watches.is_broken(late)


def test_a_tick_that_ends_loses_nothing() -> None:
    server = Server()
    session, watch = server.session(), Watch()
    run(session, "SET", "x", "v")
    server.state.watches.add(watch, server.keyspace, b"k")
    run(session, "SET", "k", "v")
    server.keyspace.records.take()
    run(session, "SET", "x", "v")
    assert server.state.watches.is_broken(watch)


def test_key_that_expires_breaks_the_watch_whether_or_not_somebody_looked() -> None:
    for looks in (False, True):
        server = Server()
        session, watch = server.session(), Watch()
        run(session, "SET", "k", "v", "PXAT", START_MS + 10)
        run(session, "SET", "l", "v", "PXAT", START_MS + 20)
        server.state.watches.add(watch, server.keyspace, b"l")
        server.state.watches.add(watch, server.keyspace, b"k")
        server.clock.now_ms += 9
        assert not server.state.watches.is_broken(watch)
        server.clock.now_ms += 1
        if looks:
            run(session, "GET", "k")
        assert server.state.watches.is_broken(watch)


def test_key_that_had_expired_before_counts_as_missing() -> None:
    server = Server()
    session, watch = server.session(), Watch()
    run(session, "SET", "k", "v", "PXAT", START_MS + 10)
    server.clock.now_ms += 10
    server.state.watches.add(watch, server.keyspace, b"k")
    run(session, "GET", "k")
    assert not server.state.watches.is_broken(watch)


def test_key_that_had_expired_before_and_could_not_go_yet_counts_as_missing_when_it_goes() -> None:
    server = Server()
    session, watch = server.session(), Watch()
    run(session, "SET", "k", "v", "PXAT", START_MS + 10)
    server.clock.now_ms += 10
    server.keyspace.is_held = True
    server.state.watches.add(watch, server.keyspace, b"k")
    assert not server.state.watches.is_broken(watch)
    server.keyspace.is_held = False
    run(session, "GET", "k")
    assert len(server.keyspace) == 0
    assert not server.state.watches.is_broken(watch)
    run(session, "SET", "k", "v")
    assert server.state.watches.is_broken(watch)


@pytest.mark.parametrize(("old", "new", "touches"), [("k", "x", True), ("x", "k", True), ("k", "k", True), ("x", "x", False)])
def test_other_data_touches_what_is_or_was_there(old: str, new: str, touches: bool) -> None:
    server = Server()
    watch, shards = Watch(), new_shards()
    run(server.session(), "SET", old, "v")
    server.keyspace.records.take()
    server.state.watches.add(watch, server.keyspace, b"k")
    load_shards(shards, [(new.encode(), b"v")])
    server.keyspace.replace(shards)
    assert server.state.watches.is_broken(watch) is touches


def test_nobody_looks_where_nobody_watches() -> None:
    server = Server()
    watch = Watch()
    assert not server.keyspace.records.observers
    server.state.watches.add(watch, server.keyspace, b"k")
    assert [*server.keyspace.records.observers] == [server.state.watches]
    server.state.watches.remove(watch)
    assert not server.keyspace.records.observers
    server.state.watches.add(watch, server.keyspace, b"k")
    watch = Watch()
    server.state.watches.add(watch, server.keyspace, b"l")
    run(server.session(), "MSET", "k", 1, "l", 1)
    assert server.state.watches.is_broken(watch)
    assert not server.keyspace.records.observers


@pytest.mark.parametrize(
    ("before", "after", "touches"),
    [
        ([("SET", "k", "v")], [("SELECT", 1), ("SET", "k", "v")], False),
        ([("SET", "k", "v")], [("SELECT", 1), ("DEL", "k"), ("FLUSHDB",)], False),
        ([], [("SELECT", 1), ("SET", "k", "v"), ("MOVE", "k", 0)], True),
        ([], [("SELECT", 1), ("SET", "x", "v"), ("COPY", "x", "k", "DB", 0)], True),
        ([], [("SELECT", 1), ("SET", "x", "v"), ("COPY", "x", "y", "DB", 0)], False),
        ([("SET", "x", "v")], [("COPY", "x", "k", "DB", 1)], False),
        ([("SET", "x", "v")], [("COPY", "x", "k", "DB", 0)], True),
        ([("SET", "k", "v")], [("MOVE", "k", 1)], True),
        ([("SET", "k", "v")], [("SWAPDB", 0, 1)], True),
        ([("SELECT", 1), ("SET", "k", "v"), ("SELECT", 0)], [("SWAPDB", 1, 0)], True),
        ([("SET", "k", "v")], [("SWAPDB", 1, 2)], False),
        ([("SET", "k", "v")], [("SELECT", 1), ("FLUSHALL",)], True),
        ([], [("SWAPDB", 0, 1)], False),
    ],
)
def test_key_is_watched_in_its_database(before: list[Words], after: list[Words], touches: bool) -> None:
    assert touched_by(before, after) is touches
