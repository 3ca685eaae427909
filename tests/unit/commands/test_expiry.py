"""Times are set, shown and dropped as in Redis, by a clock that the tests move."""

from __future__ import annotations

import pytest

from helpers.sessions import START_MS, Server, run, text


@pytest.fixture
def server() -> Server:
    server = Server()
    run(server.session(), "SET", "k", "v")
    return server


@pytest.mark.parametrize(
    ("words", "expires_at_ms"),
    [
        (("EXPIRE", "k", 10), START_MS + 10_000),
        (("PEXPIRE", "k", 10), START_MS + 10),
        (("EXPIREAT", "k", START_MS // 1000 + 10), (START_MS // 1000 + 10) * 1000),
        (("PEXPIREAT", "k", START_MS + 10), START_MS + 10),
    ],
)
def test_key_is_gone_from_its_time_on(server: Server, words: tuple[str | int, ...], expires_at_ms: int) -> None:
    session = server.session()
    assert run(session, *words) == 1
    assert run(session, "PEXPIRETIME", "k") == expires_at_ms
    server.clock.now_ms = expires_at_ms - 1
    assert run(session, "GET", "k") == b"v"
    assert run(session, "PTTL", "k") == 1
    server.clock.now_ms = expires_at_ms
    assert run(session, "GET", "k") is None
    assert run(session, "PEXPIRETIME", "k") == run(session, "EXPIRETIME", "k") == -2
    assert run(session, "PERSIST", "k") == 0


@pytest.mark.parametrize(("left_ms", "seconds"), [(1, 0), (499, 0), (500, 1), (1_499, 1), (1_500, 2), (60_000, 60)])
def test_seconds_are_rounded_to_the_nearest(server: Server, left_ms: int, seconds: int) -> None:
    session = server.session()
    run(session, "SET", "k", "v", "PX", left_ms)
    assert run(session, "PTTL", "k") == left_ms
    assert run(session, "TTL", "k") == seconds
    run(session, "PEXPIREAT", "k", START_MS + left_ms)
    assert run(session, "EXPIRETIME", "k") == (START_MS + left_ms + 500) // 1000


def test_time_that_is_past_deletes_the_key(server: Server) -> None:
    session = server.session()
    assert run(session, "PEXPIREAT", "k", START_MS) == 1
    assert run(session, "DBSIZE") == 0
    assert session.keyspace.records.take()[1:] == [[b"DEL", b"k"]]
    assert session.keyspace.expired == 0, "it was deleted, it did not expire"


def test_time_that_is_past_does_nothing_where_the_condition_is_not_met(server: Server) -> None:
    session = server.session()
    assert run(session, "EXPIRE", "k", -1, "XX") == 0
    assert run(session, "GET", "k") == b"v"


def test_condition_sees_no_expiry_that_is_over(server: Server) -> None:
    session = server.session()
    run(session, "PEXPIRE", "k", 1)
    server.clock.now_ms += 1
    assert run(session, "EXPIRE", "k", 10, "XX") == 0
    assert run(session, "TTL", "k") == -2


def test_expiry_that_is_set_again_replaces_the_first(server: Server) -> None:
    session = server.session()
    run(session, "EXPIRE", "k", 10)
    run(session, "EXPIRE", "k", 5)
    assert run(session, "TTL", "k") == 5
    assert run(session, "PERSIST", "k") == 1
    assert run(session, "TTL", "k") == -1


def test_wrong_options_are_told_before_a_wrong_time_and_that_before_a_missing_key(server: Server) -> None:
    session = server.session()
    assert text(run(session, "EXPIRE", "missing", "x", "NOSUCH")) == "ERR Unsupported option NOSUCH"
    assert text(run(session, "EXPIRE", "missing", "x")) == "ERR value is not an integer or out of range"
    assert text(run(session, "EXPIRE", "missing", 2**62)) == "ERR invalid expire time in 'expire' command"
