"""FUNCTION and FCALL: what redis-server can't be compared in. The rest is in tests/wire/cases/functions.txt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.dumps import compressed, sealed
from helpers.servers import ServerProcess, Wire, encode, info, wait_until

ENDLESS = "#!lua name=a\nredis.register_function('f', function() while true do end end)"
OPTIONS = ("--save", "", "--busy-reply-threshold", "5")


@pytest.fixture(scope="module", params=["kvserver", "redis-server"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(request.param, tmp_path_factory.mktemp(request.param), *OPTIONS) as server:
        yield server


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[Wire]:
    with server.connect() as wire:
        assert wire.command("FLUSHALL") == wire.command("FUNCTION", "FLUSH") == b"+OK\r\n"
        yield wire


BUSY = b"-BUSY Redis is busy running a script. You can only call {} or SHUTDOWN NOSAVE.\r\n"
BUSY_FUNCTION = BUSY.replace(b"{}", b"FUNCTION KILL")
BUSY_SCRIPT = BUSY.replace(b"{}", b"SCRIPT KILL")


def test_function_that_takes_long_is_told_of_and_killed(server: ServerProcess, wire: Wire) -> None:
    assert wire.command("FUNCTION", "LOAD", ENDLESS) == b"$1\r\na\r\n"
    with server.connect() as other:
        other.send(encode("FCALL", "f", 0, "x"))
        wait_until(lambda: wire.command("GET", "k") == BUSY_FUNCTION, "nobody is told that a function runs")
        name, command, *_, duration_ms = wire.value("FUNCTION", "STATS")[1][1::2]
        assert (name, command) == (b"f", [b"FCALL", b"f", b"0", b"x"])
        assert duration_ms >= 5
        assert wire.command("SCRIPT", "KILL") == BUSY_FUNCTION
        assert wire.command("FUNCTION", "LIST") == wire.command("FUNCTION", "FLUSH") == BUSY_FUNCTION
        assert wire.command("FUNCTION", "KILL") == b"+OK\r\n"
        assert other.read_reply().startswith(b"-ERR Script killed by user with SCRIPT KILL... script: f, on @user_function:2.")
    assert wire.command("FUNCTION", "KILL") == b"-NOTBUSY No scripts in execution right now.\r\n"
    assert wire.value("FUNCTION", "STATS")[1] is None


def test_script_that_takes_long_is_no_function(server: ServerProcess, wire: Wire) -> None:
    with server.connect() as other:
        other.send(encode("EVAL", "while true do end", 0))
        wait_until(lambda: wire.command("GET", "k") == BUSY_SCRIPT, "nobody is told that a script runs")
        assert wire.command("FUNCTION", "STATS") == wire.command("FUNCTION", "KILL") == BUSY_SCRIPT
        assert wire.command("SCRIPT", "KILL") == b"+OK\r\n"
        assert other.read_reply().startswith(b"-ERR Script killed by user with SCRIPT KILL...")


def test_figures(server: ServerProcess, wire: Wire) -> None:
    before = info(wire, "memory")
    assert (before["number_of_libraries"], before["number_of_functions"]) == ("0", "0")
    wire.command(
        "FUNCTION", "LOAD", "#!lua name=a\nlocal r = redis.register_function r('f', function() end) r('g', function() end)"
    )
    after = info(wire, "memory")
    assert (after["number_of_libraries"], after["number_of_functions"]) == ("1", "2")
    for name in ("used_memory_vm_functions", "used_memory_functions", "used_memory_scripts"):
        assert int(after[name]) > 0
    total = sum(int(after[f"used_memory_vm_{kind}"]) for kind in ("eval", "functions"))
    assert int(after["used_memory_vm_total"]) == total
    stats = dict(zip(*[iter(wire.value("MEMORY", "STATS"))] * 2, strict=True))
    assert stats[b"functions.caches"] == int(after["used_memory_functions"])


def test_slow_log_and_figures_of_calls_have_the_function(server: ServerProcess, wire: Wire) -> None:
    wire.command(
        "FUNCTION", "LOAD", "#!lua name=a\nredis.register_function('f', function() return redis.call('incr', 'k') end)"
    )
    wire.command("CONFIG", "RESETSTAT")
    assert wire.value("FCALL", "f", 0) == 1
    stats = info(wire, "commandstats")
    assert {"cmdstat_fcall", "cmdstat_incr"} <= set(stats)


def test_compressed_payload_has_its_part_of_the_memory(kvserver: ServerProcess) -> None:
    payload = sealed(b"\xf5" + compressed(ENDLESS.encode() + b"\n" * 40_000)[1:])
    with kvserver.connect() as wire:
        wire.command("CONFIG", "SET", "lua-memory-limit", "1mb")
        assert wire.command("FUNCTION", "RESTORE", payload) == b"-ERR Failed loading library payload\r\n"
        assert wire.value("FUNCTION", "LIST") == []
        wire.command("CONFIG", "SET", "lua-memory-limit", "256mb")
        assert wire.command("FUNCTION", "RESTORE", payload) == b"+OK\r\n"
        assert wire.command("FUNCTION", "FLUSH") == b"+OK\r\n"
