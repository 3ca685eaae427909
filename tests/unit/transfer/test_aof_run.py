"""Commands of an append-only file run to the data that they once made, whatever has expired since; others are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.sessions import Server, run
from helpers.transfers import LATER_MS, LIBRARY, aof, loaded, payload
from kvserver.errors import SourceInvalid
from kvserver.formats.aof import Batch
from kvserver.system import now_ms
from kvserver.transfer.aof_run import AOFRun
from kvserver.transfer.staging import Staging


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "appendonly.aof"


def value(staging: Staging, key: bytes, number: int = 0) -> object:
    return staging.databases[number].live(key)


def test_commands_run_in_the_databases_that_they_select(path: Path) -> None:
    staging = loaded(path, aof("SELECT 0", "SET a 1", "select 15", "SET a 2", "INCR a", "SELECT 40", "SET b 1", "SWAPDB 0 15"))
    assert [(number, key) for number, key, _ in staging.members()] == [(0, b"a"), (15, b"a"), (40, b"b")]
    assert (value(staging, b"a"), value(staging, b"a", 15)) == (b"3", b"1")
    assert not staging.databases.records.take()


def test_long_runs_of_alike_commands_are_what_a_server_makes_of_them(path: Path) -> None:
    server = Server()
    session = server.session()
    calls: list[str | list[bytes | str | int]] = [f"SET k{number % 700} {number}" for number in range(3000)]
    calls.extend(f"RPUSH l {number}" for number in range(3000))
    for call in calls:
        run(session, *str(call).split())
    staging = loaded(path, aof(*calls))
    assert payload(staging.databases) == payload(server.state.databases)


def test_key_whose_time_has_come_since_may_live_on(path: Path) -> None:
    past = 1_500_000_000_000
    staging = loaded(
        path,
        aof(
            f"SET persists 1 PXAT {past}", "PERSIST persists",
            f"SET grows 1 PXAT {past}", "INCR grows", f"PEXPIREAT grows {LATER_MS}",
            "XADD stream 1-1 a b", f"PEXPIREAT stream {past}", "XGROUP CREATE stream g 0", "XADD stream 2-1 a b",
            "XCLAIM stream g c 0 1-1 TIME 1500000000000 RETRYCOUNT 3 FORCE JUSTID", f"PEXPIREAT stream {LATER_MS}",
            f"SET gone 1 PXAT {past}", "SET gone2 1", f"PEXPIREAT gone2 {past}", "INCR gone2",
            f"SET deleted 1 PXAT {past}", "DEL deleted",
        ),
    )  # fmt: skip
    assert sorted(key for _, key, _ in staging.members()) == [b"grows", b"persists", b"stream"]
    assert value(staging, b"grows") == b"2"
    assert staging.databases[0].expires_at_ms(b"grows") == LATER_MS
    assert staging.expired == 2
    stream = value(staging, b"stream")
    assert stream
    assert b"1500000000000" in payload(staging.databases)


def test_durations_begin_now(path: Path) -> None:
    before_ms = now_ms()
    hour = "3600000"
    staging = loaded(path, aof("SET a 1 EX 3600", "SET b 1", f"PEXPIRE b {hour}", "SETEX c 3600 1", "SET d EX"))
    after_ms = now_ms()
    for key in (b"a", b"b", b"c"):
        assert before_ms <= staging.databases[0].expires_at_ms(key) - int(hour) <= after_ms  # type: ignore[operator]
    assert staging.databases[0].expires_at_ms(b"d") is None


def test_transaction_counts_as_a_whole_and_one_without_its_end_is_left_out(path: Path) -> None:
    first, rest = aof("SET a 1", "MULTI", "SET b 2", "INCR b", "EXEC"), aof("MULTI", "SET a 9", "SET c 1")
    staging = loaded(path, first + rest + b"*3\r\n$3\r\nSE")
    assert (value(staging, b"a"), value(staging, b"b"), value(staging, b"c")) == (b"1", b"3", None)
    length = len(rest) + len(b"*3\r\n$3\r\nSE")
    assert staging.notes == [
        f"left out: {length} bytes at offset {len(first)} of {path}, at its end: a transaction that is not whole"
    ]


def test_transaction_may_come_in_several_batches() -> None:
    staging = Staging()
    aof_run = AOFRun(staging)
    sets = [[b"SET", b"k%d" % number, b"1"] for number in range(10)]
    aof_run.run(Batch(0, [[b"MULTI"], *sets]))
    aof_run.run(Batch(500, sets))
    assert not list(staging.members())
    assert aof_run.open_since == 0
    aof_run.run(Batch(900, [[b"SET", b"last", b"1"], [b"EXEC"]]))
    assert len(list(staging.members())) == 11
    assert aof_run.open_since is None


@pytest.mark.parametrize(
    ("commands", "name", "reason"),
    [
        (["FROBNICATE a"], "FROBNICATE", "there is no such command here: it may be one of a newer Redis"),
        ([["\x1b[2J\n", "a"]], r"\x1b[2J\n", "no such command"),
        (["SET"], "SET", "wrong number of arguments for 'set' command"),
        (["RPUSH l 1", "INCR l"], "INCR", "WRONGTYPE"),
        (["FUNCTION DELETE nothing"], "FUNCTION", "Library not found"),
        (["MULTI", "MULTI"], "MULTI", "a transaction begins within another one"),
        (["EXEC"], "EXEC", "there is no transaction to end"),
        (["SHUTDOWN NOSAVE"], "SHUTDOWN", "only a server can run it"),
        (["SAVE"], "SAVE", "only a server can run it"),
        (["DEBUG SLEEP 100"], "DEBUG", "only a server can run it"),
        (["MIGRATE 127.0.0.1 1 a 0 100"], "MIGRATE", "only a server can run it"),
        (["MULTI", "INCR a", ["LPUSH", "a", 1], "EXEC"], "LPUSH", "WRONGTYPE"),
    ],
)
def test_command_that_does_not_run_is_told_with_its_offset(
    path: Path, commands: list[str | list[bytes | str | int]], name: str, reason: str
) -> None:
    before = aof("SET a 1")
    culprit = commands[-1] if commands[-1] != "EXEC" or len(commands) == 1 else commands[-2]
    offset = len(before + aof(*commands[: commands.index(culprit, len(commands) // 2)]))
    with pytest.raises(SourceInvalid) as failed:
        loaded(path, before + aof(*commands))
    assert str(failed.value).startswith(f"{path}: the command '{name}' at offset {offset}: ")
    assert reason in str(failed.value)
    assert str(failed.value).isprintable()


def test_functions_come_in_and_run(path: Path) -> None:
    staging = loaded(path, aof(["FUNCTION", "LOAD", LIBRARY], "FCALL put 1 a 7", "SELECT 3", "FCALL put 1 a 8"))
    assert (value(staging, b"a"), value(staging, b"a", 3)) == (b"7", b"8")
    assert staging.databases.libraries.copy() == {b"mylib": LIBRARY}
