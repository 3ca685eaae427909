"""An emptied server is as good as new, and connections stay that are in the middle of nothing."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import kvserver
from helpers.servers import Wire, encode, wait_until
from kvserver.control import emptying
from kvserver.embedded import RunningServer
from kvserver.engine.jobs import Jobs
from kvserver.errors import NotRunning

LIBRARY = "#!lua name=mine\nredis.register_function('f', function() return 1 end)"


@pytest.fixture
def server() -> Iterator[RunningServer]:
    # On a busy machine any command may take long.
    with kvserver.running(maxmemory="100mb", slowlog_log_slower_than=-1) as server:
        yield server


def test_no_keys_functions_scripts_faults_or_options_are_left(server: RunningServer) -> None:
    with redis.Redis.from_url(server.url) as client, redis.Redis.from_url(server.url, db=3) as other:
        client.set("a", 1)
        other.set("b", 1)
        client.function_load(LIBRARY)
        sha = client.script_load("return 1")
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("notify-keyspace-events", "KEA")
        client.config_set("appendonly", "yes")
        client.config_set("slowlog-log-slower-than", 0)
        client.execute_command("DEBUG SET-ACTIVE-EXPIRE", 0)
        client.client_pause(3_600_000)
        server.clock.advance(60)
        server.faults.refuse_writes()
        server.faults.delay(10)
        server.empty()
        assert (client.dbsize(), other.dbsize()) == (0, 0)
        assert client.function_list() == []
        assert client.script_exists(sha) == [False]
        assert client.config_get("maxmemory", "maxmemory-policy", "notify-keyspace-events", "appendonly") == {
            "maxmemory": str(100 << 20),
            "maxmemory-policy": "noeviction",
            "notify-keyspace-events": "",
            "appendonly": "no",
        }
        assert abs(server.clock.now() - time.time()) < 60
        client.set("a", 1, px=1)
        wait_until(lambda: client.dbsize() == 0, "the key expires by itself")
        assert client.slowlog_len() == 0
        assert client.info("stats")["expired_keys"] == 1


def test_listeners_waiters_and_transactions_are_broken_off_and_others_stay(server: RunningServer) -> None:
    with Wire(server.port) as plain:
        plain.command("SELECT", 3)
        wires = {}
        for words in (("SUBSCRIBE", "c"), ("PSUBSCRIBE", "c"), ("MONITOR",), ("MULTI",), ("WATCH", "k")):
            wires[words] = Wire(server.port)
            wires[words].command(*words)
        wires["BLPOP",] = Wire(server.port)
        wires["BLPOP",].send(encode("BLPOP", "k", 0))
        wires["REPLY",] = Wire(server.port)
        wires["REPLY",].send(encode("CLIENT", "REPLY", "OFF"))
        clients = len(wires) + 1
        wait_until(lambda: b"blocked_clients:1\r\n" in plain.value("INFO", "clients"), "one waits")
        wait_until(lambda: plain.value("CLIENT", "LIST").count(b"id=") == clients, "all are there")
        server.empty()
        for words, wire in wires.items():
            assert wire.read_until_eof() in (b"", b"+OK\r\n") or words == ("MONITOR",)
            wire.close()
        assert plain.command("RPUSH", "k", "a") == b":1\r\n"
        assert plain.value("CLIENT", "LIST").count(b"db=3") == 1


def test_script_that_stands_aside_is_ended() -> None:
    with kvserver.running(busy_reply_threshold=1) as server, Wire(server.port) as wire, Wire(server.port) as other:
        wire.send(encode("EVAL", "while true do end", 0))
        wait_until(lambda: other.command("PING").startswith(b"-BUSY"), "the script stands aside")
        server.empty()
        assert other.command("PING") == b"+PONG\r\n"
        assert b"Script killed" in wire.read_reply()


ENDLESS = "redis.call('SET', 'a', 1) while true do end"


@pytest.mark.parametrize("in_folder", [False, True])
def test_script_that_has_written_and_never_ends_costs_a_new_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_folder: bool
) -> None:
    monkeypatch.setattr(emptying, "SCRIPT_S", 0.01)
    options: dict[str, object] = {"dir": tmp_path / "data"} if in_folder else {}
    with kvserver.running(busy_reply_threshold=1, **options) as server, Wire(server.port) as wire, Wire(server.port) as other:
        port = server.port
        wire.send(encode("EVAL", ENDLESS, 0))
        wait_until(lambda: other.command("PING").startswith(b"-BUSY"), "the script stands aside")
        server.empty()
        with Wire(port) as new:
            assert new.command("DBSIZE") == b":0\r\n"


def test_server_that_ends_meanwhile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    kill = Jobs.kill_script

    def kill_script(jobs: Jobs) -> bool:
        begun.set()
        return kill(jobs)

    with kvserver.running(busy_reply_threshold=1) as server, Wire(server.port) as wire, Wire(server.port) as other:
        wire.send(encode("EVAL", ENDLESS, 0))
        wait_until(lambda: other.command("PING").startswith(b"-BUSY"), "the script stands aside")
        monkeypatch.setattr(Jobs, "kill_script", kill_script)

        def crash() -> None:
            begun.wait()
            server.faults.crash()

        ender = threading.Thread(target=crash)
        ender.start()
        with pytest.raises(NotRunning):
            server.empty()
        ender.join()


def test_no_client_is_younger_than_nothing_when_the_clock_goes_back(server: RunningServer) -> None:
    server.clock.advance(1_000_000)
    with Wire(server.port) as wire:
        wire.command("PING")
        server.empty()
        line = wire.value("CLIENT", "LIST")
        age, idle = (int(number) for number in re.findall(rb" (?:age|idle)=(-?\d+)", line))
        assert age >= 0
        assert idle >= 0


def test_journal_has_the_emptying(tmp_path: Path) -> None:
    with kvserver.running(dir=tmp_path / "data", save="") as server:
        with Wire(server.port) as wire:
            wire.command("SET", "a", "1")
        server.empty()
        with Wire(server.port) as wire:
            wire.command("SET", "b", "1")
        server.faults.crash()
        server.restart()
        with Wire(server.port) as wire:
            assert wire.value("KEYS", "*") == [b"b"]
