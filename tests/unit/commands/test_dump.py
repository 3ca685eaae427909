"""DUMP and RESTORE take keys from one server to another, with their expiry, and touch nothing else there."""

from __future__ import annotations

import pytest

from helpers import dumps
from helpers.sessions import START_MS, Server, run, text
from kvserver.data.shards import new_shards
from kvserver.formats.rdb import dump
from kvserver.resp.reply import OK
from kvserver.state.session import Session

CHECKSUM_WRONG = "ERR DUMP payload version or checksum are wrong"


@pytest.fixture
def session(server: Server, session: Session) -> Session:
    run(session, "SET", "other", "w")
    server.keyspace.records.take()
    return session


def test_dump_of_a_missing_key_is_null(server: Server, session: Session) -> None:
    assert run(session, "DUMP", "missing") is None
    run(session, "SET", "k", "v", "PX", 10)
    server.clock.now_ms += 10
    assert run(session, "DUMP", "k") is None


@pytest.mark.parametrize("value", [b"", b"12", b"-99999", b"text", bytes(range(256)) * 300])
def test_dumped_key_is_restored(session: Session, value: bytes) -> None:
    run(session, "SET", "k", value)
    payload = run(session, "DUMP", "k")
    assert isinstance(payload, bytes)
    assert run(session, "RESTORE", "l", 0, payload) is OK
    assert run(session, "GET", "l") == value
    assert run(session, "PTTL", "l") == -1


def test_dump_of_json_is_the_string_of_its_text(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a": [1, 2]}')
    assert run(session, "DUMP", "k") == dump(b'{"a":[1,2]}')


def test_expiry_is_relative_or_absolute(server: Server, session: Session) -> None:
    assert run(session, "RESTORE", "k", 500, dump(b"v")) is OK
    assert run(session, "PTTL", "k") == 500
    assert run(session, "RESTORE", "l", START_MS + 700, dump(b"v"), "ABSTTL") is OK
    assert run(session, "PTTL", "l") == 700
    assert run(session, "RESTORE", "m", 0, dump(b"v"), "absttl") is OK
    assert run(session, "PTTL", "m") == -1
    assert server.keyspace.records.take() == [
        [b"SET", b"k", b"v", b"PXAT", b"%d" % (START_MS + 500)],
        [b"SET", b"l", b"v", b"PXAT", b"%d" % (START_MS + 700)],
        [b"SET", b"m", b"v"],
    ]


def test_what_has_expired_already_is_not_made_and_removes_what_it_replaces(server: Server, session: Session) -> None:
    assert run(session, "RESTORE", "k", 1, dump(b"v"), "ABSTTL") is OK
    assert run(session, "EXISTS", "k") == 0
    assert server.keyspace.records.take() == []
    assert run(session, "RESTORE", "other", 1, dump(b"v"), "ABSTTL", "REPLACE") is OK
    assert run(session, "EXISTS", "other") == 0
    assert server.keyspace.records.take() == [[b"DEL", b"other"]]


def test_time_that_overflows_has_come_as_in_redis(server: Server, session: Session) -> None:
    assert run(session, "RESTORE", "k", 2**63 - 1, dump(b"v")) is OK
    assert run(session, "EXISTS", "k") == 0
    assert run(session, "RESTORE", "k", 2**63 - 1 - START_MS, dump(b"v")) is OK
    assert run(session, "PTTL", "k") == 2**63 - 1 - START_MS
    assert run(session, "RESTORE", "k", 2**63 - START_MS, dump(b"v"), "REPLACE") is OK
    assert run(session, "EXISTS", "k") == 0
    assert server.keyspace.records.take() == [[b"SET", b"k", b"v", b"PXAT", b"%d" % (2**63 - 1)], [b"DEL", b"k"]]


def test_key_that_is_there_is_replaced_only_when_asked(session: Session) -> None:
    run(session, "SET", "k", "old", "PX", 100)
    assert text(run(session, "RESTORE", "k", 0, dump(b"new"))) == "BUSYKEY Target key name already exists."
    assert run(session, "GET", "k") == b"old"
    assert run(session, "RESTORE", "k", 0, dump(b"new"), "REPLACE", "IDLETIME", 5) is OK
    assert run(session, "GET", "k") == b"new"
    assert run(session, "PTTL", "k") == -1
    assert run(session, "RESTORE", "k", 0, dump(b"newer"), "FREQ", 255, "replace") is OK


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("k", 0, "x"), "BUSYKEY Target key name already exists."),
        (("k", 0, "x", "REPLACE"), CHECKSUM_WRONG),
        (("new", 0, "x"), CHECKSUM_WRONG),
        (("new", 0, ""), CHECKSUM_WRONG),
        (("new", -1, "x"), "ERR Invalid TTL value, must be >= 0"),
        (("new", "x", "x"), "ERR value is not an integer or out of range"),
        (("new", 0, "x", "FREQ", 256), "ERR Invalid FREQ value, must be >= 0 and <= 255"),
        (("new", 0, "x", "IDLETIME", -1), "ERR Invalid IDLETIME value, must be >= 0"),
        (("new", 0, "x", "IDLETIME", 1, "FREQ", 1), "ERR syntax error"),
        (("new", 0, "x", "FREQ", 1, "IDLETIME", 1), "ERR syntax error"),
        (("new", 0, "x", "IDLETIME"), "ERR syntax error"),
        (("new", 0, "x", "ONCE"), "ERR syntax error"),
        (("k", 0, dumps.sealed(b"\0\x05abc"), "REPLACE"), "ERR Bad data format"),
        (
            ("k", 0, dumps.sealed(b"\x07\1\0"), "REPLACE"),
            "ERR the payload holds a value of the module type AAAAAAAAA, which this server does not have",
        ),
    ],
)
def test_error_touches_nothing(session: Session, words: tuple[str | int | bytes, ...], error: str) -> None:
    run(session, "SET", "k", "v")
    session.keyspace.records.take()
    assert text(run(session, "RESTORE", *words)) == error
    assert run(session, "MGET", "k", "other", "new") == [b"v", b"w", None]
    assert session.keyspace.records.take() == []


@pytest.mark.parametrize(
    ("policy", "word", "name", "expected"),
    [
        *(("noeviction", "IDLETIME", "IDLETIME", 1_000), ("noeviction", "FREQ", "IDLETIME", 0)),
        *(("allkeys-lru", "IDLETIME", "IDLETIME", 1_000), ("volatile-lru", "FREQ", "IDLETIME", 0)),
        *(("allkeys-lfu", "FREQ", "FREQ", 200), ("volatile-lfu", "IDLETIME", "FREQ", 5)),
    ],
)
def test_use_of_a_restored_key_is_told_to_the_policy_that_wants_it(
    server: Server, session: Session, policy: str, word: str, name: str, expected: int
) -> None:
    server.state.config.maxmemory_policy = policy
    server.state.memory.configure()
    run(session, "SET", "k", "v")
    number = 200 if word == "FREQ" else 1_000
    assert run(session, "RESTORE", "k", 0, dump(b"v"), "REPLACE", word, number) is OK
    assert run(session, "OBJECT", name, "k") == expected
    if name == "IDLETIME":
        server.clock.now_ms += 3_000
        server.state.memory.tick()
        assert run(session, "OBJECT", name, "k") == expected + 3
        run(session, "GET", "k")
        assert run(session, "OBJECT", name, "k") == 0


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_idle_time_has_an_end(server: Server, session: Session, policy: str) -> None:
    server.state.config.maxmemory_policy = policy
    server.state.memory.configure()
    assert run(session, "RESTORE", "k", 0, dump(b"v"), "IDLETIME", 2**63 - 1) is OK
    assert run(session, "OBJECT", "IDLETIME", "k") == 2**24 - 1


def test_nothing_is_told_of_a_key_that_is_gone_at_once(server: Server, session: Session) -> None:
    server.state.config.maxmemory_policy = "allkeys-lru"
    server.state.memory.configure()
    assert run(session, "RESTORE", "k", 1, dump(b"v"), "ABSTTL", "IDLETIME", 5) is OK
    assert not any(server.keyspace.replace(new_shards())[-len(new_shards()) :])


def test_value_longer_than_any_argument_is_not_made(session: Session) -> None:
    session.server.config.proto_max_bulk_len = 4_999
    assert text(run(session, "RESTORE", "k", 0, dumps.sealed(dumps.compressed(b"a" * 5_000)))) == "ERR Bad data format"
