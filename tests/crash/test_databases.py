"""Keys of all databases are kept: by the journal, by frames, by RESTORE, and by the library; `check` can read them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from helpers.servers import StartServer, Wire, info, kvserver_command, kvserver_environment, wait_until
from kvserver import KVStore, ServerFolder

QUIET = ("--save", "", "--appendfsync", "always")


def fill(wire: Wire) -> None:
    wire.command("SET", "k", "0")
    for number in (1, 2, 10):
        wire.command("SELECT", number)
        wire.command("SET", "k", number)
        wire.command("RPUSH", "list", *range(100))
    wire.command("SELECT", 0)


def found(wire: Wire, count: int = 16) -> dict[int, object]:
    """The value of `k` and the length of `list` in each database that has a key."""
    values: dict[int, object] = {}
    for number in range(count):
        wire.command("SELECT", number)
        if wire.value("DBSIZE"):
            values[number] = wire.value("GET", "k"), wire.value("LLEN", "list")
    wire.command("SELECT", 0)
    return values


FILLED = {0: (b"0", 0), 1: (b"1", 100), 2: (b"2", 100), 10: (b"10", 100)}


@pytest.mark.parametrize("end", ["kill", "SAVE", "BGREWRITEAOF"])
def test_keys_of_all_databases_are_there_after_a_start(start_server: StartServer, end: str) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        fill(wire)
        if end != "kill":
            wire.command(end)
        assert wire.command("SWAPDB", 1, 2) == b"+OK\r\n"
        wire.command("SELECT", 10)
        assert wire.command("MOVE", "k", 3) == b":1\r\n"
        assert wire.command("COPY", "list", "list", "DB", 4) == b":1\r\n"
        wire.command("SELECT", 3)
        assert wire.command("APPEND", "k", "!") == b":3\r\n"
        wire.command("SELECT", 0)
        wire.command("FLUSHDB")
        before = found(wire)
    assert before == {1: (b"2", 100), 2: (b"1", 100), 3: (b"10!", 0), 4: (None, 100), 10: (None, 100)}
    server.kill()
    with start_server(*QUIET, directory=server.directory).connect() as wire:
        assert found(wire) == before


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_restore_brings_all_databases_back(start_server: StartServer, appendonly: str) -> None:
    server = start_server(*QUIET, "--appendonly", appendonly)
    with server.connect() as wire, server.connect() as other:
        fill(wire)
        wire.command("SAVE")
        other.command("SELECT", 10)
        wire.command("FLUSHALL")
        wire.command("SELECT", 5)
        wire.command("SET", "k", "later")
        assert wire.command("RESTORE") == b":1\r\n"
        assert wire.value("DBSIZE") == 0
        assert other.value("GET", "k") == b"10"
        assert found(wire) == FILLED
        other.command("SET", "k", "on")
        wire.command("SAVE")
    server.kill()
    with start_server(*QUIET, "--appendonly", appendonly, directory=server.directory).connect() as wire:
        assert found(wire) == {**FILLED, 10: (b"on", 100)}


def test_frame_is_one_document_with_all_databases(start_server: StartServer) -> None:
    server = start_server(*QUIET, "--appendonly", "no")
    with server.connect() as wire:
        wire.command("SET", "a", "1")
        wire.command("SET", b"\xd1", "2")
        wire.command("SELECT", 3)
        wire.command("SET", "a", "3")
        wire.command("SET", b"\x80", "4", "PXAT", 9_000_000_000_000)
        wire.command("SAVE")
    payload = (server.directory / "dump.kvs").read_bytes()[80:]
    expected = {
        "a": "1",
        "$kvs:0Q==": "2",
        "$kvs:3:a": "3",
        "$kvs:3:$kvs:gA==": {"$kvs": {"expires_at_ms": 9_000_000_000_000, "value": "4"}},
    }
    assert payload == json.dumps(expected, sort_keys=True, separators=(",", ":")).encode()


def test_keys_in_databases_that_cannot_be_selected_any_more_are_kept_and_told_of(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        fill(wire)
    server.kill()
    fewer = start_server(*QUIET, "--databases", "2", directory=server.directory)
    with fewer.connect() as wire:
        assert wire.command("SELECT", 2).startswith(b"-ERR DB index is out of range")
        assert found(wire, 2) == {0: (b"0", 0), 1: (b"1", 100)}
        wire.command("SAVE")
    assert "keys in the databases [2, 10], which no client can select: databases is 2" in fewer.log_text()
    fewer.kill()
    with start_server(*QUIET, directory=server.directory).connect() as wire:
        assert found(wire) == FILLED


def test_library_keeps_what_is_in_other_databases(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*QUIET, directory=tmp_path)
    with server.connect() as wire:
        fill(wire)
        # Twice, so that each is where it was.
        wire.command("SWAPDB", 0, 5)
        wire.command("SAVE")
        wire.command("SWAPDB", 0, 5)
    server.kill()
    with KVStore(ServerFolder(tmp_path)) as store:
        assert store.get("k") == "0"
        assert store.restore()
        assert store.get("k") == "0"
        assert store.get("list") is None
        store.set("k", "library")
        store.shutdown()
        assert store.restore()
        assert store.get("k") == "library"
        assert b'"$kvs:10:k":"10"' in store.frame()
    with start_server(*QUIET, directory=tmp_path).connect() as wire:
        assert found(wire) == {**FILLED, 0: (b"library", 0)}


def test_flushall_that_is_followed_by_a_kill_leaves_no_database(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        fill(wire)
        wire.command("SELECT", 2)
        wire.command("FLUSHALL")
    server.kill()
    with start_server(*QUIET, directory=server.directory).connect() as wire:
        assert found(wire) == {}


def test_keys_expire_in_every_database_though_nobody_looks(start_server: StartServer) -> None:
    with start_server(*QUIET).connect() as wire:
        for number in (0, 7):
            wire.command("SELECT", number)
            wire.command("SET", "k", "v", "PX", 1)
        wait_until(lambda: wire.value("DBSIZE") == 0, "the end of the key in database 7")
        wire.command("SELECT", 0)
        wait_until(lambda: wire.value("DBSIZE") == 0, "the end of the key in database 0")
        assert info(wire, "stats")["expired_keys"] == "2"


def test_check_reads_a_folder_with_several_databases(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        fill(wire)
        wire.command("SAVE")
        wire.command("SELECT", 4)
        wire.command("SET", "k", "v")
    server.kill()
    done = subprocess.run(
        kvserver_command("check", str(server.directory)),
        env=kvserver_environment(), capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "7 keys" in done.stdout
