"""The jobs that effects ask for: the journal is switched on and off, and flushes and the end come one at a time."""

from __future__ import annotations

import signal

from helpers.folders import ALWAYS, EVERYSEC, crash, segments, values_after_crash
from helpers.frames import valid_frames
from helpers.servers import (
    StartServer,
    encode,
    info,
    parse,
    wait_until,
)
from helpers.starts import MANY_KEYS, QUIET, data_file, fill

IN_PROGRESS = b"-ERR Background save already in progress\r\n"


def test_journal_that_is_switched_on_records_from_then_on(start_server: StartServer) -> None:
    server = start_server(*QUIET, "--appendfsync", "always")
    with server.connect() as wire:
        wire.command("SET", "before", "1")
        assert wire.command("CONFIG", "SET", "appendonly", "yes") == b"+OK\r\n"
        wire.command("SET", "after", "1")
        assert info(wire)["aof_enabled"] == "1"
    assert values_after_crash(start_server, server, "before", "after") == [b"1", b"1"]


def test_journal_that_is_switched_off_keeps_what_it_had_until_the_next_snapshot(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "before", "1")
        assert wire.command("CONFIG", "SET", "appendonly", "no") == b"+OK\r\n"
        wire.command("SET", "after", "1")
        assert info(wire)["aof_enabled"] == "0"
    folder = crash(server)
    server = start_server(*QUIET, directory=folder)
    assert server.wait_for_line("appendonly is no, but there was a journal")
    with server.connect() as wire:
        assert [wire.value("GET", key) for key in ("before", "after")] == [b"1", None]
        wire.command("SET", "third", "1")
        wire.command("SAVE")
        assert segments(folder) == []
    assert values_after_crash(start_server, server, "before", "after", "third") == [b"1", None, b"1"]


def test_journal_off_and_on_again_replays_no_hole(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        for command in ("SET a 1", "CONFIG SET appendonly no", "SET b 1", "CONFIG SET appendonly yes", "SET c 1"):
            assert wire.command(*command.split()) == b"+OK\r\n"
    assert values_after_crash(start_server, server, *"abc") == [b"1", b"1", b"1"]


def test_policy_can_be_switched_under_load_and_no_reply_overtakes_another(start_server: StartServer) -> None:
    server = start_server(*EVERYSEC)
    with server.connect() as wire, server.connect() as other:
        for number in range(60):
            policy = ("always", "everysec", "no")[number % 3]
            wire.send(b"".join(encode("SET", "k", f"{number}:{index}") + encode("GET", "k") for index in range(20)))
            assert other.command("CONFIG", "SET", "appendfsync", policy) == b"+OK\r\n"
            for index in range(20):
                assert wire.read_reply() == b"+OK\r\n"
                assert parse(wire.read_reply()) == f"{number}:{index}".encode()


def test_second_save_while_one_runs_is_refused(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire, server.connect() as other:
        fill(wire)
        assert wire.command("BGSAVE") == b"+Background saving started\r\n"
        assert other.command("INFO", "persistence").find(b"rdb_bgsave_in_progress:1") > 0
        for command in (("BGSAVE",), ("SAVE",)):
            assert other.command(*command) == IN_PROGRESS
        wait_until(lambda: info(wire)["rdb_bgsave_in_progress"] == "0", "the end of the flush")
        wire.send(encode("SAVE"))
        wait_until(lambda: info(other)["rdb_bgsave_in_progress"] == "1", "the start of the flush")
        assert other.command("BGSAVE") == IN_PROGRESS
        assert wire.read_reply() == b"+OK\r\n"
        assert other.command("SAVE") == b"+OK\r\n"
        server.kill()
    assert len(valid_frames(data_file(server).read_bytes())) == 3


def test_shutdown_waits_for_the_flush_that_runs_and_flushes_what_is_newer(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        fill(wire)
        wire.send(encode("BGSAVE") + encode("SET", "newer", "yes") + encode("SHUTDOWN"))
        assert wire.read_until_eof() == b"+Background saving started\r\n+OK\r\n"
    assert server.wait() == 0
    stores = valid_frames(data_file(server).read_bytes())
    assert [len(store) for store in stores] == [MANY_KEYS, MANY_KEYS + 1]
    assert stores[-1]["newer"] == "yes"


def test_shutdown_and_sigterm_at_once_leave_once(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire, server.connect() as other:
        fill(wire)
        assert wire.command("BGSAVE") == b"+Background saving started\r\n"
        wire.send(encode("SHUTDOWN"))
        other.send(encode("SHUTDOWN"))
        server.process.send_signal(signal.SIGTERM)
        assert wire.read_until_eof() == b""
        assert other.read_until_eof() == b""
    assert server.wait() == 0
    assert len(valid_frames(data_file(server).read_bytes())[-1]) == MANY_KEYS


def test_shutdown_nosave_during_a_flush_leaves_whole_frames(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        wire.command("SET", "k", "v")
        assert wire.command("SAVE") == b"+OK\r\n"
        fill(wire)
        wire.send(encode("BGSAVE") + encode("SHUTDOWN", "NOSAVE"))
        assert wire.read_until_eof() == b"+Background saving started\r\n"
    assert server.wait() == 0
    assert len(valid_frames(data_file(server).read_bytes())) in (1, 2)
