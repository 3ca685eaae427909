"""Two servers that share an engine in memory, as their clients see them: followed, failed over, and counted by WAIT."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import kvserver
from helpers.servers import Wire, info, parse, wait_until
from kvserver.embedded import RunningServer

LEASE_MS = 2_000


class Pair:
    """Two servers, and a connection to each of them that is made anew after a switch."""

    def __init__(self, servers: list[RunningServer]) -> None:
        self.servers = servers

    def connect(self, server: RunningServer) -> Wire:
        return Wire(server.port)

    def role(self, server: RunningServer) -> bytes:
        with self.connect(server) as wire:
            role: bytes = wire.value("ROLE")[0]
            return role

    @property
    def primary(self) -> RunningServer:
        (found,) = [server for server in self.servers if self.role(server) == b"master"]
        return found

    @property
    def standby(self) -> RunningServer:
        (found,) = [server for server in self.servers if self.role(server) == b"slave"]
        return found


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    name = request.node.name
    with ExitStack() as stack:
        servers = [
            stack.enter_context(kvserver.running(medium=f"memory://{name}", lease_milliseconds=LEASE_MS, save=""))
            for _ in range(2)
        ]
        pair = Pair(servers)
        with pair.connect(pair.primary) as wire:
            wait_until(lambda: info(wire, "replication")["connected_slaves"] == "1", "the primary knows of the standby")
        yield pair


def test_wait_counts_a_standby_that_has_what_was_written(pair: Pair) -> None:
    with pair.connect(pair.primary) as wire, pair.connect(pair.standby) as other:
        assert wire.command("SET", "k", "v") == b"+OK\r\n"
        assert wire.command("WAIT", 1, 20_000) == b":1\r\n"
        assert other.command("GET", "k") == b"$1\r\nv\r\n"
        assert wire.command("WAIT", 2, 1) == b":1\r\n"
        wire.command("SET", "k", "w")
        assert wire.value("WAITAOF", 1, 0, 20_000)[0] == 1
        assert wire.value("WAITAOF", 1, 1, 20_000) == [1, 1]
        assert other.command("WAIT", 1, 0).startswith(b"-ERR WAIT cannot be used with replica instances.")


def test_failover_is_told_to_subscribers_and_takes_all_data_along(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    name = info_of(pair, primary)["medium_name"]
    with pair.connect(standby) as subscriber:
        subscriber.command("SUBSCRIBE", "+switch-master")
        with pair.connect(primary) as wire:
            wire.command("SET", "k", "v")
            wire.command("SET", "due", "v", "PX", 1)
            assert wire.command("FAILOVER") == b"+OK\r\n"
        kind, channel, payload = parse(subscriber.read_reply())
        assert (kind, channel) == (b"message", b"+switch-master")
        assert payload.decode() == f"{name} 127.0.0.1 {primary.port} 127.0.0.1 {standby.port}"
    with pair.connect(standby) as wire:
        wait_until(lambda: wire.value("ROLE")[0] == b"master", "the standby leads")
        assert wire.command("GET", "k") == b"$1\r\nv\r\n"
        assert wire.command("GET", "due") == b"$-1\r\n"
        assert wire.command("SET", "k", "w") == b"+OK\r\n"
    wait_until(lambda: is_follower(pair, primary), "the old primary follows")
    with pair.connect(primary) as wire:
        wait_until(lambda: wire.command("GET", "k") == b"$1\r\nw\r\n", "it has what was written since")
        assert wire.command("SET", "k", "v").startswith(b"-READONLY ")
        address = wire.value("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        assert address == [b"127.0.0.1", b"%d" % standby.port]


def test_standby_hides_what_is_due_and_goes_by_the_log(pair: Pair) -> None:
    primary, standby = pair.primary, pair.standby
    with pair.connect(primary) as wire, pair.connect(standby) as other:
        wire.command("SET", "k", "v", "EX", 100)
        wire.command("HSET", "h", "f", "v", "g", "v")
        wire.command("HPEXPIRE", "h", 100_000, "FIELDS", 1, "f")
        assert wire.command("WAIT", 1, 20_000) == b":1\r\n"
        # Here it is later than on the primary.
        standby.clock.advance(200)
        assert other.command("GET", "k") == b"$-1\r\n"
        assert other.command("HGETALL", "h") == b"*2\r\n$1\r\ng\r\n$1\r\nv\r\n"
        assert other.value("DBSIZE") == 2
        # What the primary does with the key is done here.
        wire.command("PERSIST", "k")
        wire.command("HPERSIST", "h", "FIELDS", 1, "f")
        assert wire.command("WAIT", 1, 20_000) == b":1\r\n"
        assert other.command("GET", "k") == b"$1\r\nv\r\n"
        assert other.value("HLEN", "h") == 2
        wire.command("SET", "k", "v", "EX", 100)
        primary.clock.advance(200)
        assert wire.command("WAIT", 1, 20_000) == b":1\r\n"
        wait_until(lambda: other.value("DBSIZE") == 1, "its DEL has come")


def test_reader_that_waits_on_a_standby_is_woken_by_the_log(pair: Pair) -> None:
    with pair.connect(pair.primary) as wire, pair.connect(pair.standby) as other:
        other.send(b"*6\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n$1\r\n0\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n0\r\n")
        with pair.connect(pair.standby) as third:
            wait_until(lambda: info(third, "clients")["blocked_clients"] == "1", "it waits")
        wire.command("XADD", "s", "1-1", "f", "v")
        assert other.read_reply() == b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"


def test_transaction_on_a_standby_fails_if_the_log_writes_what_is_watched(pair: Pair) -> None:
    with pair.connect(pair.primary) as wire, pair.connect(pair.standby) as other:
        for command in ("WATCH k", "MULTI", "GET l"):
            other.command(*command.split())
        wire.command("SET", "k", "v")
        assert wire.command("WAIT", 1, 20_000) == b":1\r\n"
        assert other.command("EXEC") == b"*-1\r\n"


def info_of(pair: Pair, server: RunningServer) -> dict[str, str]:
    with pair.connect(server) as wire:
        return info(wire, "medium")


def is_follower(pair: Pair, server: RunningServer) -> bool:
    try:
        return pair.role(server) == b"slave"
    except (OSError, EOFError):
        return False
