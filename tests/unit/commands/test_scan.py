"""SCAN finds keys that are alive and match; a filter never makes a call look at more keys."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import Server, run, text
from kvserver.data.shards import SHARDS
from kvserver.dispatch.arguments import cursor_of
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText


@pytest.fixture
def server() -> Server:
    server = Server()
    keyspace = server.keyspace
    for number in range(300):
        keyspace.set(b"user:%d" % number, b"v")
    for number in range(100):
        keyspace.set(b"json:%d" % number, JSONText(b"1"))
        keyspace.set_expiring(b"dead:%d" % number, b"v", server.clock.now_ms + 1)
    server.clock.now_ms += 1
    return server


def scan_whole(server: Server, *options: str | int) -> list[bytes]:
    session, cursor = server.session(), b"0"
    found: list[bytes] = []
    while True:
        reply: Any = run(session, "SCAN", cursor, *options)
        cursor = reply[0]
        found += reply[1]
        if cursor == b"0":
            return found


USERS = {b"user:%d" % number for number in range(300)}
DOCUMENTS = {b"json:%d" % number for number in range(100)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), USERS | DOCUMENTS),
        (("MATCH", "*"), USERS | DOCUMENTS),
        (("MATCH", ""), set()),
        (("MATCH", "user:*"), USERS),
        (("match", "dead:*"), set()),
        (("TYPE", "string"), USERS),
        (("TYPE", "rejson-rl"), DOCUMENTS),
        (("TYPE", "hash"), set()),
        (("MATCH", "*:1?", "TYPE", "ReJSON-RL", "COUNT", 3), {b"json:%d" % number for number in range(10, 20)}),
    ],
)
def test_scan_finds_what_is_alive_and_matches(server: Server, options: tuple[str | int, ...], expected: set[bytes]) -> None:
    found = scan_whole(server, *options)
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_filter_that_finds_nothing_ends_the_call_no_later(server: Server) -> None:
    for number in range(20_000):
        server.keyspace.set(b"other:%d" % number, b"v")
    session = server.session()
    for options in ((), ("MATCH", "nosuch*"), ("TYPE", "hash")):
        reply: Any = run(session, "SCAN", 0, "COUNT", 5, *options)
        assert int(reply[0]) > 0
        assert int(reply[0]) % SHARDS == 0, "it went on to the next shard"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", USERS | DOCUMENTS),
        ("user:1", {b"user:1"}),
        ("dead:1", set()),
        ("nosuch", set()),
        ("dead:*", set()),
        ("*:299", {b"user:299"}),
        ("?son:9?", {b"json:%d" % number for number in range(90, 100)}),
    ],
)
def test_keys_finds_what_is_alive_and_matches(server: Server, pattern: str, expected: set[bytes]) -> None:
    for freeze in (lambda: None, server.keyspace.cut):
        freeze()
        server.keyspace.set(b"user:1", b"again")
        found: Any = run(server.session(), "KEYS", pattern)
        assert len(found) == len(expected)
        assert set(found) == expected


def test_random_key_is_one_that_lives(server: Server) -> None:
    session = server.session()
    found = {run(session, "RANDOMKEY") for _ in range(2_000)}
    assert found <= USERS | DOCUMENTS
    assert len(found) > 350
    assert run(Server().session(), "RANDOMKEY") is None


@pytest.mark.parametrize(
    ("text_", "number"), [(b"", 0), (b"-0", 0), (b"+7", 7), (b"007", 7), (b"-1", 2**64 - 1), (b"1\0x", 1)]
)
def test_cursor_is_read_as_redis_reads_it(text_: bytes, number: int) -> None:
    assert cursor_of(text_) == number


@pytest.mark.parametrize("text_", [b"x", b" 1", b"1 ", b"+", b"-", b"1" * 5_000, b"%d" % 2**64, b"-%d" % 2**64, b"1_0"])
def test_what_is_no_cursor_is_refused(text_: bytes) -> None:
    with pytest.raises(CommandError, match=r"^ERR invalid cursor$"):
        cursor_of(text_)


def test_options_are_checked_before_anything_is_looked_at(server: Server) -> None:
    session = server.session()
    assert text(run(session, "SCAN", 0, "COUNT", 0)) == "ERR syntax error"
    assert text(run(session, "SCAN", "x", "COUNT", 0)) == "ERR invalid cursor"
    assert run(session, "DBSIZE") == 500
