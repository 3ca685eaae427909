"""Keys expire in a server without anybody asking for them, soon and without holding up the others."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from helpers.servers import DEADLINE_S, StartServer, Wire, encode, info, least_cost, parse, wait_until
from helpers.sessions import START_MS, Server, run
from kvserver.containers import lazyfree
from kvserver.data.databases import Databases
from kvserver.engine.upkeep import Upkeep
from kvserver.resp.reply import Error

OPTIONS = ("--save", "", "--appendonly", "no")
EXPIRY_MS, LONG_EXPIRY_MS = 6_000, 30_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def figure(wire: Wire, name: str) -> int:
    return int(info(wire, "all")[name])


def load_keys_that_expire_together(wire: Wire, count: int) -> int:
    """Load keys and return the time at which all expire, in Unix milliseconds. It is later on a machine that is too busy."""
    for expiry_ms in (EXPIRY_MS, LONG_EXPIRY_MS):
        wait_until(lambda: wire.value("DBSIZE") == 1, "what was loaded too slowly is gone")
        wire.command("CONFIG", "RESETSTAT")
        due_ms = now_ms() + expiry_ms
        for start in range(0, count, 10_000):
            wire.send(b"".join(encode("SET", f"k{number}", "v", "PXAT", due_ms) for number in range(start, start + 10_000)))
            wire.read_exactly(len(b"+OK\r\n") * 10_000)
        loaded = wire.value("DBSIZE")
        if now_ms() < due_ms:
            assert loaded == count + 1
            return due_ms
    raise AssertionError(f"loading {count} keys took more than {LONG_EXPIRY_MS} ms")


@pytest.mark.timeout(3 * (LONG_EXPIRY_MS / 1_000 + 30))
def test_keys_that_expire_together_are_gone_soon_and_stall_nobody(start_server: StartServer) -> None:
    server = start_server(*OPTIONS)
    count = 100_000
    with server.connect() as wire:
        wire.command("SET", "stays", "v")

        def longest_wait_s() -> float:
            """For how long the server works before it answers, while the keys go."""
            due_ms = load_keys_that_expire_together(wire, count)
            works_s: list[float] = []

            def only_one_is_left() -> bool:
                before_s = server.processor_time_s()
                left: int = wire.value("DBSIZE")
                works_s.append(server.processor_time_s() - before_s)
                return left == 1

            wait_until(only_one_is_left, "all that expired is gone", LONG_EXPIRY_MS / 1_000 + DEADLINE_S)
            assert now_ms() < due_ms + 5_000
            assert figure(wire, "expired_keys") == count
            return max(works_s)

        # The wait is 0.01 s, and would be 0.1 s or more if all keys were removed in one go.
        assert least_cost(longest_wait_s, 0.08, tries=3) < 0.08
        assert wire.value("GET", "stays") == b"v"


def test_server_of_keys_that_expire_later_does_next_to_nothing(start_server: StartServer) -> None:
    server = start_server(*OPTIONS)

    def work_behind_loading_s() -> float:
        with server.connect() as wire:
            wire.send(b"".join(encode("SET", f"k{number}", "v", "EX", 1_000) for number in range(50_000)))
            wire.read_exactly(len(b"+OK\r\n") * 50_000)
        # Not for luck: what it does in a second without any client is what is asked.
        return server.work_during_s(lambda: time.sleep(1))

    assert least_cost(work_behind_loading_s, 0.2) < 0.2


async def test_what_expires_is_recorded_though_no_client_sends_anything() -> None:
    server = Server()
    recorded: list[list[bytes]] = []
    upkeep = Upkeep(server.state, recorded.extend, lambda deliveries: None, lambda: None)
    upkeep.begin()
    assert recorded == []
    server.keyspace.set_expiring(b"k", b"v", START_MS + 1)
    server.clock.now_ms += 1
    upkeep.begin()
    upkeep.end()
    assert recorded == [[b"del", b"k"]]
    assert not server.keyspace.records.has_any


async def test_keys_that_expire_and_that_are_evicted_are_told_of_behind_their_records() -> None:
    server = Server()
    done: list[str] = []
    state, subscriber = server.state, server.session()
    run(subscriber, "PSUBSCRIBE", "__keyevent*")
    state.notifications.configure("xeE")
    upkeep = Upkeep(
        state,
        lambda commands: done.extend(command[0].decode() for command in commands),
        lambda deliveries: done.extend(parse(message.wire(2))[2].decode() for _, message in deliveries),
        lambda: None,
    )
    server.keyspace.set_expiring(b"k", b"v", START_MS + 1)
    server.clock.now_ms += 1
    upkeep.begin()
    assert done == ["del", "__keyevent@0__:expired"]
    done.clear()
    server.keyspace.set(b"l", b"v" * 100_000)
    state.config.maxmemory, state.config.maxmemory_policy = 70_000, "allkeys-random"
    state.memory.configure()
    while not done:
        upkeep.begin()
        await asyncio.sleep(0)
    upkeep.end()
    assert done == ["DEL", "__keyevent@0__:evicted"]


def test_limit_that_is_set_below_what_is_used_lets_keys_go_in_the_background(start_server: StartServer) -> None:
    server = start_server(*OPTIONS, "--maxmemory-policy", "allkeys-lru")
    count = 50_000
    with server.connect() as wire:
        wire.send(b"".join(encode("SET", f"k{number}", "x" * 50) for number in range(count)))
        wire.read_exactly(len(b"+OK\r\n") * count)
        limit = figure(wire, "used_memory") // 2
        assert wire.command("CONFIG", "SET", "maxmemory", limit) == b"+OK\r\n"
        wait_until(lambda: wire.value("DBSIZE") < 0.52 * count, "half of the keys are gone")
        wait_until(lambda: figure(wire, "used_memory") <= limit, "the limit is kept")
        left = wire.value("DBSIZE")
        assert left > 0.4 * count
        assert figure(wire, "evicted_keys") == count - left
        for number in range(1_000):
            assert wire.command("SET", f"new{number}", "x" * 50) == b"+OK\r\n"
        assert figure(wire, "used_memory") <= limit + 1_000


def test_keys_that_went_are_gone_after_a_restart_as_well(start_server: StartServer) -> None:
    options = ("--save", "", "--appendonly", "yes", "--maxmemory", "200kb", "--maxmemory-policy", "allkeys-random")
    server = start_server(*options)
    with server.connect() as wire:
        wire.send(b"".join(encode("SET", f"k{number}", "x" * 50) for number in range(5_000)))
        wire.read_exactly(len(b"+OK\r\n") * 5_000)
        # Room is made before a command: what the last one has put beyond the limit goes in the background.
        limit = figure(wire, "maxmemory")
        wait_until(lambda: figure(wire, "used_memory") <= limit, "the limit is kept")
        used = figure(wire, "used_memory")
        before = {bytes(key) for key in wire.value("KEYS", "*")}
        assert 500 < len(before) < 2_000
        # There is no reply to SHUTDOWN.
        with suppress(EOFError):
            wire.command("SHUTDOWN", "NOSAVE")
    server.wait()
    again = start_server(*options, directory=server.directory)
    with again.connect() as wire:
        assert {bytes(key) for key in wire.value("KEYS", "*")} == before
        assert figure(wire, "used_memory") == used, "what is counted otherwise than before the restart may make keys go"


def test_keys_stay_until_they_are_looked_at_where_active_expiry_is_off(start_server: StartServer) -> None:
    server = start_server(*OPTIONS)
    with server.connect() as wire:
        assert wire.command("DEBUG", "SET-ACTIVE-EXPIRE", "0") == b"+OK\r\n"
        wire.command("SET", "k", "v", "PX", "1")
        # More than a second, in which upkeep has its turn ten times.
        seen_s = figure(wire, "uptime_in_seconds")
        wait_until(lambda: figure(wire, "uptime_in_seconds") >= seen_s + 2, "time passes")
        assert wire.value("DBSIZE") == 1
        assert wire.value("GET", "k") is None
        assert wire.value("DBSIZE") == 0
        assert wire.command("DEBUG", "SET-ACTIVE-EXPIRE", "1") == b"+OK\r\n"
        wire.command("SET", "k", "v", "PX", "1")
        wait_until(lambda: wire.value("DBSIZE") == 0, "upkeep removes what has expired")


@pytest.mark.parametrize("words", [("UNLINK", "h"), ("DEL", "h"), ("SET", "h", "v"), ("PEXPIRE", "h", "1"), ("FLUSHALL",)])
def test_large_value_of_a_key_that_went_is_freed_bit_by_bit(start_server: StartServer, words: tuple[str, ...]) -> None:
    server = start_server(*OPTIONS)
    with server.connect() as wire:
        freed = figure(wire, "lazyfreed_objects")
        wire.command("HSET", "h", *(word for number in range(20_000) for word in (number, number)))
        assert figure(wire, "lazyfreed_objects") == freed
        wire.command(*words)
        wait_until(lambda: figure(wire, "lazyfreed_objects") == freed + 1, "the value is freed")
        assert figure(wire, "lazyfree_pending_objects") == 0
        assert wire.value("EXISTS", "h") == (words[0] == "SET")


async def test_upkeep_that_has_ended_frees_no_more() -> None:
    state = Server().state
    upkeep = Upkeep(state, lambda commands: None, lambda deliveries: None, lambda: None)
    upkeep.end()
    assert not lazyfree._servers
    upkeep.begin()
    upkeep.begin()
    assert len(lazyfree._servers) == 1
    upkeep.end()
    upkeep.end()
    assert not lazyfree._servers


@pytest.mark.parametrize("kind", ["HSET {} {} v", "RPUSH {} {}", "SADD {} {}", "ZADD {} 1 {}"])
@pytest.mark.parametrize(
    "words",
    ["DEL k", "UNLINK k", "SET k v", "RENAME o k", "COPY o k REPLACE", "SORT none STORE k", "PEXPIRE k 0",
     "RESTORE k 0 {dump} REPLACE", "SUNIONSTORE k none", "ZUNIONSTORE k 1 none", "BITOP NOT k o", "PEXPIRE k 1"],
)  # fmt: skip
def test_large_value_is_freed_in_steps_whatever_takes_it_away(words: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The guard of the tests would keep what was read.
    monkeypatch.setattr("helpers.sessions.guarded_databases", Databases)
    server = Server()
    session = server.session()
    for number in range(1_000):
        assert not isinstance(run(session, *kind.format("k", number).split()), Error)
    run(session, "SET", "o", "v")
    dump = run(session, "DUMP", "o")
    assert isinstance(dump, bytes)
    lazyfree.begin()
    try:
        reply = run(session, *[dump if word == "{dump}" else word for word in words.split()])
        assert not isinstance(reply, Error)
        server.clock.now_ms += 1
        run(session, "EXISTS", "k")
        assert lazyfree.pending()
    finally:
        while lazyfree.free_some():
            pass
        lazyfree.end()
