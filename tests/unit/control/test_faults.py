"""Each fault is what its name says for every client, begins and ends at once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import doctest
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio

import kvserver
from helpers.servers import Wire, encode, wait_until
from kvserver.control import faults
from kvserver.embedded import RunningServer
from kvserver.errors import NotRunning

MISCONF = b"-MISCONF Redis is configured to save RDB snapshots"
LATE_S = 0.05
# The loop's timers and its clock count whole milliseconds.
SURELY_LATE_S = LATE_S - 0.002


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with kvserver.running() as server:
        yield server


@pytest.fixture
def wire(server: RunningServer) -> Iterator[Wire]:
    with Wire(server.port) as wire:
        yield wire


def test_examples_of_the_docstrings() -> None:
    found = doctest.testmod(faults)
    assert (found.attempted > 1, found.failed) == (True, 0)


# --- refused writes


def test_refused_writes_are_answered_so_and_reads_go_on(server: RunningServer, wire: Wire) -> None:
    wire.command("SET", "a", "1")
    with server.faults.refuse_writes():
        assert wire.command("SET", "a", "2").startswith(MISCONF)
        assert wire.command("EVAL", "return redis.call('SET', 'a', 2)", 0).startswith(b"-MISCONF")
        wire.command("MULTI")
        assert wire.command("INCR", "a").startswith(MISCONF)
        assert wire.command("EXEC").startswith(b"-EXECABORT")
        assert wire.command("GET", "a") == b"$1\r\n1\r\n"
        assert wire.command("SAVE") == b"-ERR writes are refused by order (faults.refuse_writes)\r\n"
        assert b"rdb_last_bgsave_status:err" in wire.value("INFO", "persistence")
        assert wire.command("INCR", "a").startswith(MISCONF)
    assert wire.command("INCR", "a") == b":2\r\n"
    assert b"rdb_last_bgsave_status:ok" in wire.value("INFO", "persistence")
    assert wire.command("SAVE") == b"+OK\r\n"


def test_writes_are_refused_until_all_faults_are_cleared(server: RunningServer, wire: Wire) -> None:
    server.faults.refuse_writes()
    server.faults.refuse_writes()
    assert wire.command("SET", "a", "1").startswith(MISCONF)
    server.faults.clear()
    assert wire.command("SET", "a", "1") == b"+OK\r\n"


def test_each_order_counts_by_itself(server: RunningServer, wire: Wire) -> None:
    first = server.faults.refuse_writes()
    with server.faults.refuse_writes():
        pass
    assert wire.command("SET", "a", "1").startswith(MISCONF)
    server.faults.crash()
    server.restart()
    with Wire(server.port) as again:
        with server.faults.refuse_writes():
            # It is of the time before the crash.
            first.end()
            assert again.command("SET", "a", "1").startswith(MISCONF)
        assert again.command("SET", "a", "1") == b"+OK\r\n"


def test_behind_a_delay_the_one_before_counts(server: RunningServer, wire: Wire) -> None:
    with server.faults.delay(LATE_S):
        with server.faults.delay(LATE_S / 2):
            pass
        begun = time.monotonic()
        wire.command("PING")
        assert time.monotonic() - begun >= SURELY_LATE_S


def test_server_that_refuses_writes_saves_at_its_end(tmp_path: Path) -> None:
    with kvserver.running(dir=tmp_path / "data", appendonly=False) as server, Wire(server.port) as wire:
        wire.command("SET", "a", "1")
        server.faults.refuse_writes()
        assert wire.command("SET", "a", "2").startswith(MISCONF)
    with kvserver.running(dir=tmp_path / "data") as server, Wire(server.port) as wire:
        assert wire.command("GET", "a") == b"$1\r\n1\r\n"


# --- late replies


@pytest.mark.parametrize("appendonly", [False, True])
def test_replies_and_messages_are_late_and_in_order(appendonly: bool) -> None:
    with (
        kvserver.running(appendonly=appendonly) as server,
        Wire(server.port) as wire,
        Wire(server.port) as listener,
        server.faults.delay(LATE_S),
    ):
        begun = time.monotonic()
        listener.command("SUBSCRIBE", "channel")
        assert time.monotonic() - begun > SURELY_LATE_S
        begun = time.monotonic()
        wire.send(encode("SET", "a", "1") + encode("PUBLISH", "channel", "x") + encode("GET", "a"))
        assert [wire.read_reply() for _ in range(3)] == [b"+OK\r\n", b":1\r\n", b"$1\r\n1\r\n"]
        assert listener.read_reply() == b"*3\r\n$7\r\nmessage\r\n$7\r\nchannel\r\n$1\r\nx\r\n"
        assert time.monotonic() - begun > SURELY_LATE_S
        wire.send(b"".join(encode("INCR", "n") for _ in range(1_000)))
        assert [wire.read_reply() for _ in range(1_000)] == [b":%d\r\n" % number for number in range(1, 1_001)]
        assert wire.command("QUIT") == b"+OK\r\n"
        assert wire.read_until_eof() == b""


def test_end_of_the_delay_lets_all_go_that_is_late(server: RunningServer, wire: Wire) -> None:
    fault = server.faults.delay(3_000)
    with Wire(server.port) as other:
        wire.send(encode("SET", "a", "1") + encode("GET", "a"))
        other.send(encode("PING"))
        wait_until(lambda: server_has(server, b"a"), "the command has run")
        fault.end()
        assert (wire.read_reply(), wire.read_reply()) == (b"+OK\r\n", b"$1\r\n1\r\n")
        assert other.read_reply() == b"+PONG\r\n"
        assert wire.command("PING") == b"+PONG\r\n"


def server_has(server: RunningServer, key: bytes) -> bool:
    return server._on_loop.run(lambda: server._server.state.databases[0].peek(key) is not None)


def test_delay_that_is_made_shorter_keeps_the_order(server: RunningServer, wire: Wire) -> None:
    server.faults.delay(LATE_S)
    wire.send(encode("SET", "a", "1"))
    wait_until(lambda: server_has(server, b"a"), "the command has run")
    server.faults.delay(LATE_S / 10)
    wire.send(encode("GET", "a"))
    assert (wire.read_reply(), wire.read_reply()) == (b"+OK\r\n", b"$1\r\n1\r\n")
    server.faults.delay(0)
    assert wire.command("PING") == b"+PONG\r\n"


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e9])
def test_delay_that_can_not_be_is_an_error(server: RunningServer, seconds: float) -> None:
    with pytest.raises(ValueError, match="replies may be late by 0 to 3600 seconds, not by"):
        server.faults.delay(seconds)


# --- dropped connections


def test_all_connections_are_reset_and_new_ones_are_taken(server: RunningServer) -> None:
    wires = [Wire(server.port) for _ in range(3)]
    for wire in wires:
        wire.command("PING")
    wires[1].send(encode("BLPOP", "k", 0))
    wires[2].command("SUBSCRIBE", "channel")
    server.faults.drop_connections()
    for wire in wires:
        with pytest.raises(ConnectionResetError):
            wire.read_reply()
        wire.close()
    with Wire(server.port) as wire:
        assert wire.command("RPUSH", "k", "a") == b":1\r\n"
        assert wire.command("PUBLISH", "channel", "x") == b":0\r\n"
        assert wire.value("CLIENT", "LIST").count(b"id=") == 1


def test_client_library_goes_on_behind_a_drop(server: RunningServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("a", 1)
        server.faults.drop_connections()
        assert client.get("a") == b"1"


# --- a crash


@pytest.mark.parametrize("place", ["memory", "folder"])
@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_crash_keeps_what_was_acknowledged(tmp_path: Path, place: str, appendfsync: str) -> None:
    folder = {} if place == "memory" else {"dir": tmp_path / "data"}
    with kvserver.running(appendonly=True, appendfsync=appendfsync, save="", **folder) as server:
        port = server.port
        for number in range(3):
            with Wire(server.port) as wire:
                for key in range(200):
                    assert wire.command("SET", f"{number}-{key}", "v") == b"+OK\r\n"
                assert wire.command("SAVE") == b"+OK\r\n"
                assert wire.command("SET", "last", number) == b"+OK\r\n"
                server.faults.crash()
                with pytest.raises(ConnectionResetError):
                    wire.read_reply()
            assert not server.is_running
            with pytest.raises(NotRunning):
                server.faults.crash()
            server.restart()
            assert server.port == port
            with Wire(server.port) as wire:
                assert wire.value("DBSIZE") == 200 * (number + 1) + 1
                assert wire.value("GET", "last") == b"%d" % number
    if folder:
        with kvserver.running(dir=tmp_path / "data") as server, Wire(server.port) as wire:
            assert wire.value("DBSIZE") == 601


@pytest.mark.parametrize("place", ["memory", "folder"])
def test_crash_without_a_journal_keeps_the_last_snapshot(tmp_path: Path, place: str) -> None:
    folder = {} if place == "memory" else {"dir": tmp_path / "data"}
    with kvserver.running(appendonly=False, save="", **folder) as server:
        with Wire(server.port) as wire:
            wire.command("SET", "saved", "v")
            wire.command("SAVE")
            wire.command("SET", "lost", "v")
        server.faults.crash()
        server.restart()
        with Wire(server.port) as wire:
            assert wire.value("KEYS", "*") == [b"saved"]


async def crash_amid_a_flush(server: RunningServer) -> None:
    flush = server._server._parts.jobs.schedule.start()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not flush.done()
    server.faults.crash()


def test_crash_amid_a_flush_leaves_no_half_of_it(tmp_path: Path) -> None:
    # Other tests of this process may have left threads that end soon.
    before = set(threading.enumerate())
    with kvserver.running(dir=tmp_path / "data", appendonly=False, save="") as server:
        with Wire(server.port) as wire:
            wire.command("SET", "saved", "v")
            wire.command("SAVE")
            wire.command("DEBUG", "POPULATE", 200_000)
        server._on_loop.wait_for(crash_amid_a_flush(server))
        begun = set(threading.enumerate()) - before
        assert [thread.name for thread in begun if thread.name == "kvserver-disk"] == []
        server.restart()
        with Wire(server.port) as wire:
            assert wire.value("DBSIZE") == 1


def test_block_ends_behind_a_crash_and_the_folder_is_free(tmp_path: Path) -> None:
    with kvserver.running(dir=tmp_path / "data") as server:
        server.faults.crash()
        with kvserver.running(dir=tmp_path / "data"):
            pass
    with kvserver.running(dir=tmp_path / "data"):
        pass


def test_restart_without_a_crash_keeps_all_in_memory_and_the_end_keeps_nothing(server: RunningServer) -> None:
    with Wire(server.port) as wire:
        wire.command("SET", "a", "1")
        wire.command("CONFIG", "SET", "maxmemory", "1gb")
    server.restart()
    with Wire(server.port) as wire:
        assert wire.value("GET", "a") == b"1"
        assert wire.value("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"0"]
    server.stop()
    server.restart()
    with Wire(server.port) as wire:
        assert wire.value("DBSIZE") == 0


async def test_crash_and_restart_on_the_servers_own_loop() -> None:
    async with kvserver.Server(appendonly=True) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(encode("SET", "a", "1") + encode("BLPOP", "k", 0))
        assert await reader.readline() == b"+OK\r\n"
        server.faults.crash()
        await server.restart()
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        writer.close()
        async with redis.asyncio.Redis.from_url(server.url) as client:
            assert await client.get("a") == b"1"


def test_crash_ends_a_script_that_stands_aside() -> None:
    with kvserver.running(busy_reply_threshold=1, appendonly=True) as server:
        with Wire(server.port) as wire, Wire(server.port) as other:
            other.command("SET", "a", "1")
            wire.send(encode("EVAL", "redis.call('SET', 'a', 2) while true do end", 0))
            wait_until(lambda: other.command("PING").startswith(b"-BUSY"), "the script stands aside")
            server.faults.crash()
        server.restart()
        with Wire(server.port) as wire:
            assert wire.value("GET", "a") == b"1"


def test_port_for_those_who_watch_is_there_again_behind_a_crash() -> None:
    with kvserver.running(http_port="auto") as server, Wire(server.port) as wire:
        port = int(wire.value("CONFIG", "GET", "http-port")[1])
        server.faults.crash()
        with pytest.raises(ConnectionRefusedError):
            Wire(port)
        server.restart()
        with Wire(port) as watching:
            watching.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert watching.read_until_eof().startswith(b"HTTP/1.1 200")


def test_faults_of_a_server_that_does_not_run_are_an_error() -> None:
    server = kvserver.running()
    with pytest.raises(NotRunning):
        server.faults.refuse_writes()
    with server:
        fault = server.faults.refuse_writes()
    fault.end()
