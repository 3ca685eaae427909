"""A wait ends when its pause is over, and a connection when its client is killed."""

from __future__ import annotations

import time

import pytest

from helpers.servers import ServerProcess, Wire, encode, parse


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_pause_ends_by_itself_and_in_order(kvserver: ServerProcess, mode: str) -> None:
    with kvserver.connect() as wire, kvserver.connect() as other:
        # The time is taken before the pause begins, so that a late process can only see it end later.
        started_at = time.monotonic()
        assert wire.command("CLIENT", "PAUSE", 100, mode) == b"+OK\r\n"
        other.send(encode("SET", "k", 1) + encode("INCR", "k") + encode("GET", "k"))
        assert [other.read_reply() for _ in range(3)] == [b"+OK\r\n", b":2\r\n", b"$1\r\n2\r\n"]
        assert time.monotonic() - started_at > 0.09


def test_pause_becomes_neither_shorter_nor_weaker(kvserver: ServerProcess) -> None:
    with kvserver.connect() as wire, kvserver.connect() as other:
        # The time is taken before the pause begins, so that a late process can only see it end later.
        started_at = time.monotonic()
        wire.send(
            encode("MULTI") + encode("CLIENT", "PAUSE", 300, "ALL") + encode("CLIENT", "PAUSE", 1, "WRITE") + encode("EXEC")
        )
        assert [wire.read_reply() for _ in range(3)] == [b"+OK\r\n", b"+QUEUED\r\n", b"+QUEUED\r\n"]
        assert wire.read_reply() == b"*2\r\n+OK\r\n+OK\r\n"
        assert other.command("PING") == b"+PONG\r\n"
        assert time.monotonic() - started_at > 0.29


def test_write_behind_a_pause_in_a_transaction_finds_no_key_that_is_due(kvserver: ServerProcess) -> None:
    """redis-server 7.0.15 crashes here, since the key that it has found missing is there."""
    commands = [
        *("SET k v PX 1", "SET due v PX 1", "DEBUG SLEEP 0.01"),
        *("MULTI", "CLIENT PAUSE 100000 WRITE", "APPEND k x", "PTTL k", "SET due v PX 1", "EXEC"),
        *("DEBUG SLEEP 0.4", "GET k", "GET due", "DBSIZE", "CLIENT UNPAUSE", "GET due", "DBSIZE"),
    ]
    with kvserver.connect() as wire:
        wire.send(b"".join(encode(*command.split()) for command in commands))
        replies = [wire.read_reply() for _ in commands]
        assert replies[8] == b"*4\r\n+OK\r\n:1\r\n:-1\r\n+OK\r\n"
        assert [parse(reply) for reply in replies[9:]] == [b"OK", b"x", None, 2, b"OK", None, 1]


def test_killed_client_is_gone_at_once(kvserver: ServerProcess) -> None:
    with kvserver.connect() as victim, kvserver.connect() as killer:
        number = victim.value("CLIENT", "ID")
        victim.command("SUBSCRIBE", "c")
        killer.send(
            encode("CLIENT", "KILL", "ID", number) + encode("PUBLISH", "c", "x") + encode("CLIENT", "LIST", "ID", number)
        )
        assert [killer.read_reply() for _ in range(3)] == [b":1\r\n", b":0\r\n", b"$0\r\n\r\n"]
        assert victim.read_until_eof() == b""


def test_client_that_kills_itself_gets_its_reply_first(kvserver: ServerProcess) -> None:
    def kill(wire: Wire) -> bytes:
        return encode("CLIENT", "KILL", "ID", wire.value("CLIENT", "ID"), "SKIPME", "no")

    with kvserver.connect() as wire:
        wire.send(encode("PING") + kill(wire) + encode("SET", "k", 1))
        assert wire.read_until_eof() == b"+PONG\r\n:1\r\n"
    with kvserver.connect() as wire:
        wire.send(encode("MULTI") + kill(wire) + encode("SET", "l", 1) + encode("EXEC") + encode("SET", "k", 1))
        assert wire.read_until_eof() == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+OK\r\n"
    with kvserver.connect() as wire:
        wire.send(encode("MULTI") + kill(wire) + encode("DEBUG", "SLEEP", 0) + encode("EXEC") + encode("SET", "k", 1))
        assert wire.read_until_eof() == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+OK\r\n"
    assert kvserver.once("MGET", "k", "l") == b"*2\r\n$-1\r\n$1\r\n1\r\n"
