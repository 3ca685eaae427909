"""Servers on disks and files that fail tell their clients, go on with the rest, keep what is on the disk, and have a way back.

A full disk is a limit on the size of files (RLIMIT_FSIZE): like ENOSPC, a write past it is cut short and then refused,
and room can be given back from outside while the server runs. Tests may run as root, so none relies on permissions.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.frames import frame, valid_frames
from helpers.servers import (
    ServerProcess,
    StartServer,
    Wire,
    encode,
    info,
    wait_until,
)
from helpers.starts import MANY_KEYS, QUIET, data_file, failed_start, fill, place

DATA_FILE = "dump.kvs"
MISCONF = (
    b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may "
    b"modify the data set are disabled, because this instance is configured to report errors during writes if RDB "
    b"snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB "
    b"error.\r\n"
)
SHUTDOWN_FAILED = b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n"
ROOM_BYTES = 100_000
# The value takes several chunks.
BIG = b"x" * 2_000_000

Store = dict[str, object]


def limit_file_size(server: ServerProcess, size: int | None) -> None:
    """Let no file of the server grow past a size, or give the room back."""
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def filled_folder(tmp_path: Path, count: int = 4 * MANY_KEYS) -> Path:
    """A folder whose medium takes a while to load."""
    folder = tmp_path / "filled"
    folder.mkdir(mode=0o700)
    (folder / DATA_FILE).write_bytes(frame({f"key:{number:08}": "x" * 64 for number in range(count)}))
    return folder


@pytest.fixture
def full(start_server: StartServer) -> Iterator[ServerProcess]:
    """A server with one good frame, and too little room for the next one."""
    server = start_server(*QUIET)
    with server.connect() as wire:
        assert wire.command("SET", "k", "v") == b"+OK\r\n"
        assert wire.command("SAVE") == b"+OK\r\n"
        limit_file_size(server, ROOM_BYTES)
        assert wire.command("SET", "big", BIG) == b"+OK\r\n"
    yield server
    if server.process.poll() is None:
        # With the limit, the server would not leave.
        limit_file_size(server, None)


# --- a file system that lacks calls

CIFS = """
import errno, os, stat, sys
fsync = os.fsync

def sync(descriptor):
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    fsync(descriptor)

def pwritev(*arguments):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

os.fsync, os.pwritev = sync, pwritev
from kvserver.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


class ServerOnCifs(ServerProcess):
    def command(self) -> list[str]:
        return [sys.executable, "-c", CIFS]


def test_server_where_folders_cannot_be_synced_keeps_what_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(2):
        with ServerOnCifs("kvserver", folder, "--save", "", "--appendfsync", "always") as server, server.connect() as wire:
            assert wire.value("GET", "k") == (b"0" if number else None)
            for _ in range(2):
                assert wire.command("SET", "k", number) == b"+OK\r\n"
                assert wire.command("SAVE") == b"+OK\r\n"
            assert server.log_text().count(f"the folder {folder} can't be synced") == 1
            server.kill()


# --- a disk that is full


def test_save_on_a_full_disk_is_an_error_and_writes_are_refused_until_there_is_room(full: ServerProcess) -> None:
    before = data_file(full).read_bytes()
    with full.connect() as wire:
        assert info(wire)["rdb_last_bgsave_status"] == "ok"
        saves = info(wire)["rdb_saves"]
        reply = wire.command("SAVE")
        assert reply.startswith(b"-ERR ")
        assert b"File too large" in reply
        for write in (
            ("SET", "k", "w"),
            ("SET", "k", "w", "EX", "9"),
            ("DEL", "k"),
            ("FLUSHALL",),
            ("JSON.SET", "k", "$", "1"),
        ):
            assert wire.command(*write) == MISCONF
        assert wire.command("PING") == b"+PONG\r\n"
        assert wire.command("GET", "k") == b"$1\r\nv\r\n"
        assert wire.value("GET", "big") == BIG
        facts = info(wire)
        assert facts["rdb_last_bgsave_status"] == "err"
        assert "File too large" in facts["rdb_last_bgsave_error"]
        assert (facts["rdb_bgsave_in_progress"], facts["rdb_saves"]) == ("0", saves)
        assert int(facts["rdb_changes_since_last_save"]) > 0
        assert data_file(full).read_bytes() == before, "the old frames are whole, and the space is given back"
        assert os.listdir(full.directory) == [DATA_FILE]

        limit_file_size(full, None)
        assert wire.command("SET", "k", "w") == MISCONF, "room alone proves nothing"
        assert wire.command("SAVE") == b"+OK\r\n"
        assert info(wire)["rdb_last_bgsave_status"] == "ok"
        assert info(wire)["rdb_last_bgsave_error"] == ""
        assert wire.command("SET", "k", "w") == b"+OK\r\n"
        assert wire.command("SAVE") == b"+OK\r\n"
    stores = valid_frames(data_file(full).read_bytes())
    assert [store["k"] for store in stores][-2:] == ["v", "w"]
    assert data_file(full).read_bytes().startswith(before) or len(stores) < 3


def test_background_save_on_a_full_disk_fails_in_info_and_refuses_writes(full: ServerProcess) -> None:
    with full.connect() as wire:
        assert wire.command("BGSAVE") == b"+Background saving started\r\n"
        wait_until(lambda: info(wire)["rdb_bgsave_in_progress"] == "0", "the end of the flush")
        assert info(wire)["rdb_last_bgsave_status"] == "err"
        assert wire.command("SET", "k", "w") == MISCONF
        limit_file_size(full, None)
        assert wire.command("BGSAVE") == b"+Background saving started\r\n"
        wait_until(lambda: info(wire)["rdb_bgsave_in_progress"] == "0", "the end of the flush")
        assert info(wire)["rdb_last_bgsave_status"] == "ok"
        assert wire.command("SET", "k", "w") == b"+OK\r\n"


def test_writes_go_on_over_a_full_disk_where_the_option_says_so(full: ServerProcess) -> None:
    with full.connect() as wire:
        assert wire.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") == b"+OK\r\n"
        assert wire.command("SAVE").startswith(b"-ERR ")
        assert wire.command("SET", "k", "w") == b"+OK\r\n"
        assert wire.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes") == b"+OK\r\n"
        assert wire.command("SET", "k", "x") == MISCONF


def test_restore_is_the_way_back_to_the_last_frame_on_a_full_disk(full: ServerProcess) -> None:
    with full.connect() as wire:
        assert wire.command("SAVE").startswith(b"-ERR ")
        assert wire.command("RESTORE") == b":1\r\n"
        assert wire.command("GET", "big") == b"$-1\r\n"
        assert wire.command("SAVE") == b"+OK\r\n", "the small store fits"
        assert wire.command("SET", "k", "w") == b"+OK\r\n"


def test_failed_flush_of_several_chunks_is_told_in_one_line_each(full: ServerProcess) -> None:

    def failures(wire: Wire) -> int:
        assert wire.command("PING") == b"+PONG\r\n"
        return full.log_text().count("flush failed")

    with full.connect() as wire:
        for number in range(3):
            assert wire.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") == b"+OK\r\n"
            fill(wire, 20_000)
            assert wire.command("SAVE").startswith(b"-ERR ")
            wait_until(lambda: failures(wire) > number, "the log line")  # noqa: B023
            assert failures(wire) == number + 1
        limit_file_size(full, None)
    assert full.stop() == 0
    assert "never retrieved" not in full.log_text()


def test_shutdown_on_a_full_disk_is_an_error_and_the_server_goes_on(full: ServerProcess) -> None:
    with full.connect() as wire, full.connect() as other:
        for shutdown in (("SHUTDOWN",), ("SHUTDOWN", "SAVE"), ("SHUTDOWN", "NOW")):
            assert wire.command(*shutdown) == SHUTDOWN_FAILED
            assert wire.command("GET", "k") == b"$1\r\nv\r\n"
            assert other.command("PING") == b"+PONG\r\n"
            assert other.command("SET", "k", "w") == MISCONF
        with full.connect() as third:
            assert third.command("GET", "k") == b"$1\r\nv\r\n", "it still listens"
        limit_file_size(full, None)
        wire.send(encode("SHUTDOWN"))
        assert wire.read_until_eof() == b""
        assert other.read_until_eof() == b""
    assert full.wait() == 0
    assert valid_frames(data_file(full).read_bytes())[-1] == {"k": "v", "big": BIG.decode()}


def test_shutdown_that_keeps_serving_says_that_it_failed(full: ServerProcess) -> None:
    with full.connect() as wire:
        assert wire.command("CONFIG", "SET", "shutdown-mode", "flush") == b"+OK\r\n"
        assert wire.command("SHUTDOWN") == SHUTDOWN_FAILED
        assert wire.command("GET", "k") == b"$1\r\nv\r\n"
        limit_file_size(full, None)
        assert wire.command("SHUTDOWN") == b":1\r\n"


@pytest.mark.parametrize("words", [("NOSAVE",), ("FORCE",), ("SAVE", "FORCE")])
def test_shutdown_nosave_and_force_leave_a_full_disk(full: ServerProcess, words: tuple[str, ...]) -> None:
    before = data_file(full).read_bytes()
    with full.connect() as wire:
        assert wire.command("SAVE").startswith(b"-ERR ")
        wire.send(encode("SHUTDOWN", *words))
        assert wire.read_until_eof() == b""
    assert full.wait() == 0
    assert data_file(full).read_bytes() == before


def test_sigterm_on_a_full_disk_keeps_serving_and_a_second_one_is_tried_again(full: ServerProcess) -> None:
    full.process.send_signal(signal.SIGTERM)
    assert full.wait_for_line("not leaving")
    with full.connect() as wire:
        assert wire.command("GET", "k") == b"$1\r\nv\r\n"
    limit_file_size(full, None)
    assert full.stop() == 0
    assert "big" in valid_frames(data_file(full).read_bytes())[-1]


def test_first_flush_that_finds_no_room_leaves_an_empty_file(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    limit_file_size(server, 40)
    with server.connect() as wire:
        wire.command("SET", "k", "v")
        assert wire.command("SAVE").startswith(b"-ERR ")
        assert data_file(server).read_bytes() == b""
        limit_file_size(server, None)
        assert wire.command("SAVE") == b"+OK\r\n"
    assert valid_frames(data_file(server).read_bytes()) == [{"k": "v"}]


def test_compaction_without_room_leaves_the_flush_answered_and_the_file_readable(start_server: StartServer) -> None:
    """The copy needs as much room as the frames that are kept; what is full is the place of the copy."""
    server = start_server(*QUIET, "--keep-frames", "2")
    # A folder can neither be removed nor opened as a file.
    (server.directory / f"{DATA_FILE}.new").mkdir()
    with server.connect() as wire:
        for number in range(8):
            wire.command("SET", "k", f"{number}" * 100)
            assert wire.command("SAVE") == b"+OK\r\n"
            assert info(wire)["rdb_last_bgsave_status"] == "ok"
        assert [str(store["k"])[0] for store in valid_frames(data_file(server).read_bytes())] == list("01234567")
        assert "compaction failed" in server.log_text()
        (server.directory / f"{DATA_FILE}.new").rmdir()
        assert wire.command("SAVE") == b"+OK\r\n"
        assert len(valid_frames(data_file(server).read_bytes())) == 2
        assert int(info(wire)["compactions"]) == 1


# --- loading


def loading_server(folder: Path) -> ServerProcess:
    """A server that has been started and is not ready yet."""
    server = ServerProcess("kvserver", folder, *QUIET)
    server._launch()
    return server


def connect_early(server: ServerProcess) -> Wire:
    wires: list[Wire] = []

    def connected() -> bool:
        try:
            wires.append(server.connect())
        except ConnectionRefusedError:
            assert server.process.poll() is None, server.log_text()
            return False
        return True

    wait_until(connected, "a listener")
    return wires[0]


def test_info_answers_while_a_big_file_is_loaded_and_others_are_told_ping_among_them(tmp_path: Path) -> None:
    server = loading_server(filled_folder(tmp_path))
    try:
        with connect_early(server) as wire:
            loading = b"-LOADING Redis is loading the dataset in memory\r\n"
            rounds = 0
            while (facts := info(wire))["loading"] == "1":
                rounds += 1
                assert 0 <= float(facts["loading_loaded_perc"]) <= 100
                wire.send(encode("PING") + encode("GET", "key:00000001") + encode("SET", "a", "b") + encode("SAVE"))
                replies = [wire.read_reply() for _ in range(4)]
                assert replies == [loading] * 4 or info(wire)["loading"] == "0"
            assert rounds > 10, "the load was over too soon to see anything of it"
            assert wire.value("GET", "key:00000001") == b"x" * 64
            assert wire.value("DBSIZE") in (4 * MANY_KEYS, 4 * MANY_KEYS + 1)
    finally:
        server.kill()
    server.check_log()


@pytest.mark.parametrize("how", ["SHUTDOWN", "SHUTDOWN SAVE", "SIGTERM", "SIGINT", "SIGHUP", "SHUTDOWN NOSAVE"])
def test_leaving_during_the_load_abandons_it_and_writes_nothing(tmp_path: Path, how: str) -> None:
    """During the load, the keys in memory are not the data yet."""
    folder = filled_folder(tmp_path)
    before = (folder / DATA_FILE).read_bytes()
    # A load that is over before the server is told to leave does not count.
    for _ in range(5):
        (folder / DATA_FILE).write_bytes(before)
        server = loading_server(folder)
        try:
            with connect_early(server) as wire:
                if how.startswith("SIG"):
                    server.process.send_signal(getattr(signal, how))
                else:
                    wire.send(encode(*how.split()))
                wire.read_until_eof()
            assert server.wait() == 0
        finally:
            server.kill()
        server.check_log()
        assert valid_frames((folder / DATA_FILE).read_bytes())[-1] == valid_frames(before)[0]
        if "leaving during the load" in server.log_text():
            break
    assert "leaving during the load" in server.log_text()
    assert "loaded" not in server.log_text()
    assert "Ready" not in server.log_text()
    assert os.listdir(folder) == [DATA_FILE]
    assert (folder / DATA_FILE).read_bytes() == before


def test_restore_at_run_time_serves_others_the_old_data_until_it_is_done(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*QUIET, directory=filled_folder(tmp_path))
    with server.connect() as wire, server.connect() as other:
        assert wire.command("SET", "live", "yes") == b"+OK\r\n"
        assert wire.command("DEL", "key:00000000") == b":1\r\n"
        wire.send(encode("RESTORE"))
        seen: list[list[bytes]] = []
        while not seen or seen[-1] == [b"+PONG\r\n", b"$3\r\nyes\r\n", b"$-1\r\n"]:
            other.send(encode("PING") + encode("GET", "live") + encode("GET", "key:00000000"))
            seen.append([other.read_reply() for _ in range(3)])
        assert seen[-1] == [b"+PONG\r\n", b"$-1\r\n", b"$64\r\n" + b"x" * 64 + b"\r\n"]
        assert len(seen) > 10
        assert wire.read_reply() == b":1\r\n"
        assert wire.value("DBSIZE") == 4 * MANY_KEYS


# --- a start that must not succeed


@pytest.mark.parametrize(
    "kind",
    ["a folder", "a FIFO", "a symlink to a file", "a symlink to nothing", "a symlink to itself", "a device"],
)
def test_medium_that_is_no_regular_file_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    place(kind, tmp_path / DATA_FILE)
    names = sorted(os.listdir(tmp_path))
    line = failed_start("--dir", str(tmp_path))
    assert str(tmp_path / DATA_FILE) in line
    assert sorted(os.listdir(tmp_path)) == names, "nothing is made or followed"


@pytest.mark.parametrize("kind", ["a file", "below a file", "a symlink to nothing", "a folder in /proc"])
def test_folder_that_cannot_be_one_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    """/proc takes no new names, not even from root: as a read-only folder does."""
    file = tmp_path / "file"
    file.write_text("not a folder")
    (tmp_path / "link").symlink_to("nowhere")
    folder = {
        "a file": str(file),
        "below a file": f"{file}/below",
        "a symlink to nothing": str(tmp_path / "link"),
        "a folder in /proc": "/proc/self/task",
    }[kind]
    assert folder.split("/self")[0] in failed_start("--dir", folder)
    assert file.read_text() == "not a folder"


def test_two_servers_on_one_folder_by_another_name_are_one_too_many(start_server: StartServer, tmp_path: Path) -> None:
    first = start_server(*QUIET)
    assert first.once("SET", "k", "v") == b"+OK\r\n"
    (tmp_path / "link").symlink_to(first.directory)
    for name in (str(first.directory), str(tmp_path / "link"), f"{first.directory}/../{first.directory.name}"):
        assert "in use by another kvserver" in failed_start("--dir", name)
    assert "in use" in failed_start("--dir", str(first.directory), "--dbfilename", "other.kvs")
    assert first.once("SAVE") == b"+OK\r\n"
    assert os.listdir(first.directory) == [DATA_FILE]
