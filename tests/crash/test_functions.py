"""Function libraries are kept as the data is: by the journal, by frames, by RESTORE, and by the library, untouched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.frames import valid_frames
from helpers.servers import StartServer, Wire
from kvserver import KVStore, ServerFolder

QUIET = ("--save", "", "--appendfsync", "always")


def text(library: str, function: str, value: int) -> str:
    return f"#!lua name={library}\nredis.register_function('{function}', function() return {value} end)"


def fill(wire: Wire) -> None:
    for request in (
        ("SELECT", 3),
        ("SET", "k", "v"),
        ("FUNCTION", "LOAD", text("one", "f", 1)),
        ("FUNCTION", "LOAD", text("two", "g", 2)),
        ("FUNCTION", "LOAD", text("three", "h", 3)),
    ):
        assert not wire.command(*request).startswith(b"-"), request


def change(wire: Wire) -> None:
    payload = wire.value("FUNCTION", "DUMP")
    for request in (
        ("FUNCTION", "DELETE", "two"),
        ("FUNCTION", "FLUSH"),
        ("FUNCTION", "RESTORE", payload),
        ("FUNCTION", "LOAD", "REPLACE", text("one", "f", 10)),
        ("FUNCTION", "DELETE", "three"),
        ("FLUSHALL",),
        ("SELECT", 0),
        ("SET", "k", "v"),
    ):
        assert not wire.command(*request).startswith(b"-"), request


def found(wire: Wire) -> tuple[set[bytes], object, object]:
    return {each[1] for each in wire.value("FUNCTION", "LIST")}, wire.value("FCALL", "f", 0), wire.value("FCALL", "g", 0)


@pytest.mark.parametrize("end", ["kill", "SAVE"])
def test_libraries_are_there_after_a_start(start_server: StartServer, end: str) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        fill(wire)
        if end != "kill":
            assert not wire.command(end).startswith(b"-")
        change(wire)
        before = found(wire)
    assert before == ({b"one", b"two"}, 10, 2)
    server.kill()
    with start_server(*QUIET, directory=server.directory).connect() as wire:
        assert found(wire) == before
        assert wire.value("GET", "k") == b"v"


def test_going_back_to_a_frame_brings_its_libraries(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        assert wire.command("RESTORE") == b":0\r\n"
        fill(wire)
        assert wire.command("SAVE") == b"+OK\r\n"
        change(wire)
        assert wire.command("RESTORE") == b":1\r\n"
        assert found(wire) == ({b"one", b"two", b"three"}, 1, 2)
        assert wire.command("FUNCTION", "FLUSH") == b"+OK\r\n"
        assert wire.command("DEBUG", "RELOAD") == b"+OK\r\n"
        assert wire.value("FUNCTION", "LIST") == []


def test_library_keeps_functions_untouched(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        fill(wire)
    server.kill()
    with ServerFolder(str(server.directory)) as folder:
        store = KVStore(folder)
        store.set("added", 1)
        store.shutdown()
    frame = valid_frames(server.directory.joinpath("dump.kvs").read_bytes())[-1]
    assert frame["$kvs::functions"] == {"one": text("one", "f", 1), "three": text("three", "h", 3), "two": text("two", "g", 2)}
    assert json.dumps(frame, sort_keys=True) == json.dumps(frame)
    with start_server(*QUIET, directory=server.directory).connect() as wire:
        assert found(wire) == ({b"one", b"two", b"three"}, 1, 2)
        assert wire.value("JSON.GET", "added") == b"1"
