"""A busy redis-server is taken over: with writers that never stop, over lost links, kills and restarts, nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from helpers.busy import BusySource, contents
from helpers.proxy import Proxy
from helpers.servers import ServerProcess, StartServer, Wire, info, wait_until

pytestmark = pytest.mark.timeout(120)
SOURCE = ("--save", "", "--repl-diskless-sync-delay", "0", "--enable-debug-command", "local", "--repl-backlog-size", "100mb")


def follow(target: Wire, port: int) -> None:
    assert target.command("REPLICAOF", "127.0.0.1", port) == b"+OK\r\n"


def is_up(target: Wire) -> bool:
    return info(target, "replication")["master_link_status"] == "up"


def switch(source: Wire, target: Wire) -> None:
    """Let the target lead with all that the source has."""
    assert source.command("CLIENT", "PAUSE", 60_000, "WRITE") == b"+OK\r\n"
    offset = int(info(source, "replication")["master_repl_offset"])
    wait_until(lambda: int(info(target, "replication")["slave_repl_offset"]) >= offset, "the target has all")
    assert target.command("REPLICAOF", "NO", "ONE") == b"+OK\r\n"


def check_equal(source: Wire, target: Wire) -> None:
    wanted, found = contents(source), contents(target)
    assert found.keys() == wanted.keys()
    for place, value in wanted.items():
        assert found[place] == value, place


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_takeover_of_a_busy_server_loses_nothing(start_server: StartServer, diskless: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    redis = start_server(*SOURCE, "--repl-diskless-sync", diskless, kind="redis-server")
    ours = start_server("--save", "")
    with redis.connect() as source, ours.connect() as target, BusySource(redis, seed) as busy:
        target.command("SET", "old", 1)
        follow(target, redis.port)
        wait_until(lambda: is_up(target), "it follows")
        assert target.command("SET", "k", 1).startswith(b"-READONLY")
        wait_until(lambda: min(busy.acknowledged.values()) > 300, "the source is busy", 60)
        switch(source, target)
        acknowledged = busy.acknowledged
        check_equal(source, target)
        for key, count in acknowledged.items():
            assert int(target.value("GET", key)) >= count
        source.command("CLIENT", "UNPAUSE")
        assert target.command("SET", "k", 1) == b"+OK\r\n"
        before = contents(target)
        busy.stop()
    ours.kill()
    ours.restart()
    with ours.connect() as target:
        assert contents(target) == before
        assert info(target, "replication")["role"] == "master"


# --- Links that are lost ---


@pytest.fixture
def redis(start_server: StartServer) -> ServerProcess:
    return start_server(*SOURCE, kind="redis-server")


@pytest.fixture
def source(redis: ServerProcess) -> Iterator[Wire]:
    with redis.connect() as wire:
        yield wire


def caught_up(source: Wire, target: Wire) -> None:
    offset = int(info(source, "replication")["master_repl_offset"])
    wait_until(lambda: int(info(target, "replication")["slave_repl_offset"]) >= offset, "the target has all")


def test_link_that_is_cut_amid_all_data_is_made_again(start_server: StartServer, redis: ServerProcess, source: Wire) -> None:
    source.command("CONFIG", "SET", "rdbcompression", "no")
    source.command("DEBUG", "POPULATE", 20_000, "key", 500)
    ours = start_server("--save", "")
    with ours.connect() as target, Proxy(redis.port, bytes_per_s=4_000_000) as proxy:
        target.command("SET", "old", 1)
        follow(target, proxy.port)
        for _ in range(2):
            wait_until(lambda: int(info(target, "replication").get("master_sync_read_bytes", 0)) > 1_000_000, "it reads")
            assert proxy.cut()
            wait_until(lambda: "master_sync_read_bytes" not in info(target, "replication"), "the link is lost")
            assert target.value("GET", "old") == b"1"
        proxy.bytes_per_s = 0
        wait_until(lambda: is_up(target), "it follows")
        caught_up(source, target)
        check_equal_digests(source, target)


def check_equal_digests(source: Wire, target: Wire) -> None:
    assert source.command("DEBUG", "DIGEST") == target.command("DEBUG", "DIGEST")


def test_links_that_are_cut_amid_the_stream_lose_nothing(
    start_server: StartServer, redis: ServerProcess, source: Wire
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    ours = start_server("--save", "")
    with ours.connect() as target, Proxy(redis.port) as proxy, BusySource(redis, seed) as busy:
        follow(target, proxy.port)
        wait_until(lambda: is_up(target), "it follows")
        syncs = info(source, "stats")["sync_full"]
        for _ in range(4):
            before = busy.acknowledged
            wait_until(lambda: all(busy.acknowledged[key] > before[key] + 20 for key in before), "the source is busy")  # noqa: B023
            assert proxy.cut()
            wait_until(lambda: not is_up(target), "the link is lost")
            wait_until(lambda: is_up(target), "it follows again")
        assert info(source, "stats")["sync_full"] == syncs, "it went on where it was"
        assert int(info(source, "stats")["sync_partial_ok"]) >= 4
        switch(source, target)
        check_equal(source, target)
        source.command("CLIENT", "UNPAUSE")


def test_source_that_forgets_where_it_was_sends_all_again(
    start_server: StartServer, redis: ServerProcess, source: Wire
) -> None:
    source.command("SET", "kept", 1)
    source.command("CONFIG", "SET", "repl-backlog-size", 16_384)
    ours = start_server("--save", "")
    with ours.connect() as target, Proxy(redis.port) as proxy:
        follow(target, proxy.port)
        wait_until(lambda: is_up(target), "it follows")
        proxy.refuses = True
        proxy.cut()
        wait_until(lambda: not is_up(target), "the link is lost")
        for number in range(100):
            source.command("SET", f"k{number}", "x" * 1000)
        proxy.refuses = False
        wait_until(lambda: is_up(target), "it follows again")
        caught_up(source, target)
        check_equal_digests(source, target)
        assert info(source, "stats")["sync_partial_err"] == "1"


# --- Ends ---


def test_target_that_is_killed_begins_anew(start_server: StartServer, redis: ServerProcess) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    ours = start_server("--save", "", "--replicaof", f"127.0.0.1 {redis.port}")
    with redis.connect() as source, BusySource(redis, seed) as busy:
        for _ in range(3):
            with ours.connect() as target:
                wait_until(lambda: is_up(target), "it follows")
                before = busy.acknowledged
                wait_until(lambda: all(busy.acknowledged[key] > before[key] + 10 for key in before), "it is busy")  # noqa: B023
            ours.kill()
            ours.restart()
        with ours.connect() as target:
            wait_until(lambda: is_up(target), "it follows")
            switch(source, target)
            check_equal(source, target)
            source.command("CLIENT", "UNPAUSE")
            before_kill = contents(target)
    ours.options = ("--save", "")
    ours.kill()
    ours.restart()
    with ours.connect() as target:
        assert contents(target) == before_kill


def test_source_that_restarts_is_followed_again(start_server: StartServer) -> None:
    redis = start_server("--save", "", "--repl-diskless-sync-delay", "0", "--appendonly", "yes", kind="redis-server")
    ours = start_server("--save", "")
    with ours.connect() as target:
        with redis.connect() as source:
            source.command("SET", "k", 1)
            follow(target, redis.port)
            wait_until(lambda: is_up(target), "it follows")
        redis.kill()
        wait_until(lambda: not is_up(target), "the link is lost")
        assert target.value("GET", "k") == b"1", "it is served meanwhile"
        assert target.command("SET", "k", 2).startswith(b"-READONLY")
        redis.restart()
        with redis.connect() as source:
            source.command("SET", "k", 3)
            wait_until(lambda: is_up(target), "it follows again")
            caught_up(source, target)
            assert target.value("GET", "k") == b"3"


def test_source_counts_the_replica_in_wait(start_server: StartServer, redis: ServerProcess, source: Wire) -> None:
    ours = start_server("--save", "")
    with ours.connect() as target:
        follow(target, redis.port)
        wait_until(lambda: is_up(target), "it follows")
        source.command("SET", "k", 1)
        assert source.value("WAIT", 1, 10_000) == 1
        assert target.value("GET", "k") == b"1"
        (replica,) = source.value("ROLE")[2]
        assert replica[1] == b"%d" % ours.port


def test_wrong_password_and_the_right_one(start_server: StartServer) -> None:
    redis = start_server(*SOURCE, "--requirepass", "secret", kind="redis-server")
    ours = start_server("--save", "", "--masterauth", "wrong")
    with ours.connect() as target, redis.connect() as source:
        source.command("AUTH", "secret")
        source.command("SET", "k", 1)
        follow(target, redis.port)
        assert ours.wait_for_line("Unable to AUTH to MASTER: -WRONGPASS")
        assert target.command("CONFIG", "SET", "masterauth", "secret") == b"+OK\r\n"
        wait_until(lambda: is_up(target), "it follows")
        assert target.value("GET", "k") == b"1"


def test_replica_of_another_may_be_followed(start_server: StartServer, redis: ServerProcess, source: Wire) -> None:
    replica = start_server(*SOURCE, "--replicaof", f"127.0.0.1 {redis.port}", kind="redis-server", directory=redis.directory)
    ours = start_server("--save", "")
    with ours.connect() as target:
        follow(target, replica.port)
        wait_until(lambda: is_up(target), "it follows")
        source.command("SET", "k", 1)
        wait_until(lambda: target.value("GET", "k") == b"1", "what its source writes comes")


def test_source_that_loads_is_followed_later(start_server: StartServer, redis: ServerProcess, source: Wire) -> None:
    source.command("DEBUG", "POPULATE", 10_000)
    source.command("CONFIG", "SET", "key-load-delay", 300, "loading-process-events-interval-bytes", 1024)
    ours = start_server("--save", "")
    with ours.connect() as target, redis.connect() as other:
        other.send(b"DEBUG RELOAD\r\n")
        follow(target, redis.port)
        assert ours.wait_for_line("LOADING")
        wait_until(lambda: is_up(target), "it follows", 60)
        assert target.value("DBSIZE") == 10_000


def test_server_of_ours_is_no_source(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = start_server(directory=tmp_path_factory.mktemp("other"))
    ours = start_server()
    with ours.connect() as target:
        follow(target, other.port)
        assert ours.wait_for_line("the source lets nobody follow it, as redis-server does")
