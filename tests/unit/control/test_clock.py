"""A server's clock goes forward when it is told to, and all that goes by it follows before anybody can see otherwise."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
import redis.asyncio

import kvserver
from helpers.servers import StartServer, Wire, encode
from kvserver.control.clock import Clock
from kvserver.control.onloop import OnLoop
from kvserver.embedded import RunningServer

HOUR_S = 3600


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with kvserver.running(notify_keyspace_events="Ex") as server:
        yield server


@pytest.fixture
def client(server: RunningServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


def raw(server: RunningServer) -> Wire:
    return Wire(server.port)


def in_steps(server: RunningServer, client: redis.Redis) -> None:
    server.clock.advance(HOUR_S / 2)
    server.clock.advance(0)
    server.clock.advance(HOUR_S / 2)


def over_the_wire(server: RunningServer, client: redis.Redis) -> None:
    assert client.execute_command("DEBUG", "CLOCK", "ADVANCE", HOUR_S) == "OK"  # type: ignore[no-untyped-call]


Advance = Callable[[RunningServer, redis.Redis], None]
by_the_hour = pytest.mark.parametrize(
    "advance", [lambda server, client: server.clock.advance(HOUR_S), in_steps, over_the_wire], ids=["at once", "steps", "wire"]
)


@by_the_hour
def test_time_goes_forward_for_all_who_tell_it(server: RunningServer, client: redis.Redis, advance: Advance) -> None:
    before = server.clock.now()
    assert abs(before - time.time()) < 60
    advance(server, client)
    assert HOUR_S <= server.clock.now() - before < HOUR_S + 60
    seconds, microseconds = client.time()
    assert 0 <= server.clock.now() - (seconds + microseconds / 1e6) < 60
    added = client.xadd("stream", {"a": 1})
    assert int(str(added).partition("-")[0]) - before * 1000 >= HOUR_S * 1000


@by_the_hour
def test_keys_are_gone_and_told_of_when_it_returns(server: RunningServer, client: redis.Redis, advance: Advance) -> None:
    with client.pubsub() as listener:  # type: ignore[no-untyped-call]
        listener.subscribe("__keyevent@0__:expired")
        assert listener.get_message(timeout=10)
        client.set("due", 1, ex=HOUR_S)
        client.set("later", 1, ex=HOUR_S + 60)
        client.hset("hash", "due", "1")
        client.execute_command("HEXPIRE", "hash", HOUR_S, "FIELDS", 1, "due")  # type: ignore[no-untyped-call]
        advance(server, client)
        assert client.dbsize() == 1
        assert client.keys() == ["later"]
        assert 0 < client.ttl("later") <= 60
        message = listener.get_message(timeout=10)
        assert message
        assert message["data"] == "due"


def test_keys_of_a_shard_that_was_swept_just_now_go_as_well(server: RunningServer, client: redis.Redis) -> None:
    # A shard rests the longer after a sweep, the more keys it has: here for some 25 ms.
    client.execute_command("DEBUG", "POPULATE", 50_000)  # type: ignore[no-untyped-call]
    first_ms = int(server.clock.now() * 1000) + 1_000_000
    with client.pipeline() as pipeline:
        for number in range(3_000):
            pipeline.set(f"due:{number}", 1, pxat=first_ms + number)
        pipeline.execute()
    server.clock.advance(1_000)
    for _ in range(290):
        due = int(server.clock.now() * 1000) + 10 - first_ms
        server.clock.advance(0.01)
        assert client.dbsize() - 50_000 <= max(3_000 - due, 0)


def test_blocked_clients_whose_time_is_up_are_answered_and_others_wait_on(server: RunningServer) -> None:
    with raw(server) as short, raw(server) as long, raw(server) as for_ever, raw(server) as feeder:
        short.send(encode("BLPOP", "k", 30))
        long.send(encode("BLPOP", "k", 90))
        for_ever.send(encode("BLPOP", "k", 0))
        while feeder.value("INFO", "clients").count(b"blocked_clients:3") == 0:
            pass
        server.clock.advance(60)
        assert short.read_reply() == b"*-1\r\n"
        assert b"blocked_clients:2" in feeder.value("INFO", "clients")
        server.clock.advance(30)
        assert long.read_reply() == b"*-1\r\n"
        feeder.command("RPUSH", "k", "a")
        assert for_ever.read_reply() == b"*2\r\n$1\r\nk\r\n$1\r\na\r\n"


def test_pause_ends(server: RunningServer) -> None:
    with raw(server) as wire, raw(server) as other:
        assert wire.command("CLIENT", "PAUSE", HOUR_S * 1000) == b"+OK\r\n"
        other.send(encode("PING"))
        server.clock.advance(HOUR_S - 60)
        other.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            other.read_reply()
        other.socket.settimeout(10)
        server.clock.advance(60)
        assert other.read_reply() == b"+PONG\r\n"


def test_idle_times_and_frequencies_follow(server: RunningServer, client: redis.Redis) -> None:
    client.set("a", 1)
    server.clock.advance(100)
    assert 100 <= client.object("idletime", "a") < 160
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.set("b", 1)
    server.clock.advance(100)
    assert 100 <= client.object("idletime", "b") < 160
    client.config_set("maxmemory-policy", "allkeys-lfu")
    client.set("c", 1)
    server.clock.advance(120)
    assert client.object("freq", "c") == 3


def test_reset_tells_the_systems_time_again(server: RunningServer, client: redis.Redis) -> None:
    for reset in (server.clock.reset, lambda: client.execute_command("DEBUG CLOCK", "RESET")):  # type: ignore[no-untyped-call]
        server.clock.advance(HOUR_S)
        client.flushall()
        reset()
        assert abs(server.clock.now() - time.time()) < 60
        client.set("a", 1, px=50)
        while client.exists("a"):
            pass


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e10])
def test_clock_goes_forward_only(server: RunningServer, seconds: float) -> None:
    before = server.clock.now()
    with pytest.raises(ValueError, match="a clock goes forward by 0 to 1000000000 seconds, not by"):
        server.clock.advance(seconds)
    with raw(server) as wire:
        assert wire.command("DEBUG", "CLOCK", "ADVANCE", str(seconds)).startswith(b"-ERR the clock goes forward only")
        for text in ("1_0", " 1", "1 ", "x", ""):
            assert wire.command("DEBUG", "CLOCK", "ADVANCE", text) == b"-ERR value is not a valid float\r\n"
    assert server.clock.now() - before < 60


def test_threads_move_one_clock_together(server: RunningServer) -> None:
    before = server.clock.now()

    def move() -> None:
        for _ in range(50):
            server.clock.advance(1)

    threads = [threading.Thread(target=move) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 200 <= server.clock.now() - before < 260


async def test_on_the_servers_own_loop_it_moves_at_once() -> None:
    async with kvserver.Server() as server, redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("a", 1, ex=10)
        waiting = asyncio.ensure_future(client.blpop(["k"], timeout=30))
        while (await client.info("clients"))["blocked_clients"] == 0:
            pass
        server.clock.advance(60)
        assert await waiting is None
        assert await client.dbsize() == 0


def test_clock_of_a_restart_is_not_set_back() -> None:
    server = kvserver.running()
    server.start()
    server.clock.advance(HOUR_S)
    server.stop()
    server.start()
    assert server.clock.now() - time.time() > HOUR_S - 60
    server.stop()


def test_who_may_not_use_debug_may_not_move_the_clock(start_server: StartServer) -> None:
    server = start_server("--save", "", "--appendonly", "no", "--enable-debug-command", "no")
    assert server.once("DEBUG", "CLOCK", "ADVANCE", 1).startswith(b"-ERR DEBUG command not allowed.")


def test_journal_has_what_expired_by_a_moved_clock(start_server: StartServer) -> None:
    server = start_server("--save", "", "--appendfsync", "always")
    assert server.once("SET", "a", 1, "EX", 1000) == b"+OK\r\n"
    assert server.once("SET", "b", 1) == b"+OK\r\n"
    assert server.once("DEBUG", "CLOCK", "ADVANCE", 1000) == b"+OK\r\n"
    server.kill()
    server.restart()
    assert server.once("DBSIZE") == b":1\r\n"


def test_without_a_loop_there_is_nothing_to_move() -> None:
    with pytest.raises(kvserver.KVServerError, match="does not run"):
        Clock(OnLoop()).advance(1)
