"""A start replays every kind of write from the journal, and sets damaged parts aside, but never deletes them.

The servers are seen from outside, on real folders. Kills under load are in test_kills, disks that fail in
test_failing_journal.
"""

from __future__ import annotations

import re
import subprocess
import time
import zlib
from pathlib import Path

from helpers.folders import ALWAYS, EVERYSEC, asides, crash, segments, segments_aside, values_after_crash
from helpers.frames import as_older
from helpers.servers import (
    ServerProcess,
    StartServer,
    encode,
    info,
    kvserver_command,
    kvserver_environment,
    wait_until,
)
from helpers.starts import DATA_FILE

HEADER_SIZE = 80


def journal_frame(*commands: tuple[bytes | str, ...]) -> bytes:
    """A journal frame, written here once more so that the server isn't checked by its own code."""
    payload = b"".join(encode(*command) for command in commands)
    return b"KVJ2%012d%08x" % (len(payload), zlib.crc32(payload)) + payload


# --- what is replayed


def test_every_kind_of_write_is_there_after_a_kill(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        for command in (
            "SET gone 1",
            "FLUSHALL",
            "SET a 1",
            "SET b 2 EX 1000",
            "SET c 3",
            "DEL c",
            "SET d 4 PX 1",
            "SET a 5 XX",
        ):
            wire.command(*command.split())
        wire.command("JSON.SET", "j", "$", '{"b":[1,2.5,null],"a":"\\u00e9"}')
        wire.command("SET", b"\xff\x00", b"\r\n*1\r\n")
        wire.command("SET", "b", "6", "KEEPTTL")
    server = start_server(*ALWAYS, directory=crash(server))
    with server.connect() as wire:
        assert wire.value("GET", "a") == b"5"
        assert wire.value("GET", "b") == b"6"
        assert 0 < wire.value("TTL", "b") <= 1000
        assert wire.value("JSON.GET", "j") == '{"a":"é","b":[1,2.5,null]}'.encode()
        assert wire.value("GET", b"\xff\x00") == b"\r\n*1\r\n"
        assert [wire.value("EXISTS", key) for key in ("gone", "c", "d")] == [0, 0, 0]
        assert wire.value("DBSIZE") == 4


def test_flushall_is_on_the_disk_when_it_answers(start_server: StartServer) -> None:
    options = ("--save", "3600 1", "--appendonly", "no")
    server = start_server(*options)
    with server.connect() as wire:
        wire.command("SET", "a", 1)
        assert wire.command("SAVE") == wire.command("FLUSHALL") == b"+OK\r\n"
        assert info(wire)["rdb_changes_since_last_save"] == "0"
        address = wire.socket.getsockname()[1]
    assert server.wait_for_line(f"FLUSHALL of client 127.0.0.1:{address} has dropped 1 keys")
    server = start_server(*options, directory=crash(server))
    with server.connect() as wire:
        assert wire.value("DBSIZE") == 0
        wire.command("SET", "a", 1)
        assert wire.command("SAVE") == b"+OK\r\n"
        wire.send(
            b"".join(encode(*words) for words in (("MULTI",), ("SET", "b", 1), ("FLUSHALL",), ("SET", "c", 1), ("EXEC",)))
        )
        assert [wire.read_reply() for _ in range(5)][-1] == b"*3\r\n" + b"+OK\r\n" * 3
    with start_server(*options, directory=crash(server)).connect() as wire:
        assert wire.value("KEYS", "*") == [b"c"]


def test_expiry_that_passes_while_no_server_runs_is_kept(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    at_ms = int(time.time() * 1000) + 300
    server.once("SET", "k", "v", "PXAT", at_ms)
    folder = crash(server)
    wait_until(lambda: time.time() * 1000 > at_ms, "the expiry", 5)
    assert start_server(*ALWAYS, directory=folder).once("EXISTS", "k") == b":0\r\n"


def test_key_that_expires_is_recorded_as_deleted_and_is_no_change(start_server: StartServer) -> None:
    """The first is met by a command, and the second by nobody."""
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        assert wire.command("DEBUG", "SET-ACTIVE-EXPIRE", "0") == b"+OK\r\n"
        assert wire.command("SET", "met", "v", "PX", 1) == wire.command("SET", "swept", "v", "PX", 1) == b"+OK\r\n"
        wait_until(lambda: wire.value("GET", "met") is None, "the expiry")
        assert wire.command("DEBUG", "SET-ACTIVE-EXPIRE", "1") == b"+OK\r\n"
        wait_until(lambda: wire.value("DBSIZE") == 0, "the sweep")
        assert info(wire)["rdb_changes_since_last_save"] == "2"
    folder = crash(server)
    (segment,) = folder.glob("*.journal")
    recorded = segment.read_bytes()
    assert 0 < recorded.index(encode("del", "met")) < recorded.index(encode("del", "swept"))
    assert start_server(*ALWAYS, directory=folder).once("DBSIZE") == b":0\r\n"


def test_restore_is_kept_and_what_it_threw_away_stays_away(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "kept", "1")
        wire.command("SAVE")
        wire.command("SET", "thrown", "1")
        assert wire.value("RESTORE") == 1
        wire.command("SET", "later", "1")
    assert values_after_crash(start_server, server, "kept", "thrown", "later") == [b"1", None, b"1"]


def test_what_restore_throws_away_is_told_and_put_aside_until_the_next_snapshot_but_one(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "kept", "1")
        wire.command("SAVE")
        wire.command("SET", "thrown", "1")
        wire.command("SET", "thrown too", "1")
        assert wire.value("RESTORE") == 1
        assert server.wait_for_line("RESTORE drops 3 keys, and 2 records")
        (aside,) = segments_aside(server.directory)
        assert aside.name.endswith(".journal.dropped")
        assert b"thrown too" in aside.read_bytes()
        assert server.wait_for_line(str(aside))
        wire.command("SAVE")
        assert [path.name.endswith(".journal.dropped-earlier") for path in segments_aside(server.directory)] == [True]
        wire.command("SAVE")
        assert segments_aside(server.directory) == []


def test_what_restore_threw_away_can_be_applied_after_all(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "kept", "1")
        wire.command("SAVE")
        wire.command("SET", "thrown", "2")
        assert wire.value("RESTORE") == 1
        wire.command("SET", "later", "3")
    folder = crash(server)
    told = subprocess.run(kvserver_command("apply", str(folder)), capture_output=True, text=True, env=kvserver_environment())
    assert "replayed 1 commands in 1 records on the frame at offset 0" in told.stdout
    assert told.returncode == 0
    again = subprocess.run(kvserver_command("apply", str(folder)), capture_output=True, text=True, env=kvserver_environment())
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"kvserver: no segment of a journal is put aside in {folder}\n"
    with start_server(*ALWAYS, directory=folder).connect() as wire:
        assert wire.value("MGET", "kept", "thrown", "later") == [b"1", b"2", None]


def test_restore_of_nothing_is_kept(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "thrown", "1")
        assert wire.value("RESTORE") == 0
        wire.command("SET", "later", "1")
    assert values_after_crash(start_server, server, "thrown", "later") == [None, b"1"]


def test_shutdown_without_a_flush_keeps_what_was_acknowledged(start_server: StartServer) -> None:
    server = start_server(*EVERYSEC)
    with server.connect() as wire:
        wire.send(encode("SET", "k", "v") + encode("SHUTDOWN", "NOSAVE"))
        assert wire.read_reply() == b"+OK\r\n"
        assert wire.read_until_eof() == b""
    assert server.wait() == 0
    again = start_server(*EVERYSEC, directory=server.directory)
    assert again.once("GET", "k") == b"$1\r\nv\r\n"
    assert again.stop() == 0
    assert len(segments(server.directory)) == 1
    assert (server.directory / "dump.kvs").stat().st_size


def test_snapshot_drops_the_segments_before_it(start_server: StartServer) -> None:
    server = start_server(*EVERYSEC)
    with server.connect() as wire:
        for number in range(3):
            wire.command("SET", "k", number)
            wire.command("SAVE")
            assert len(segments(server.directory)) == 1
        assert info(wire)["aof_segments"] == "1"


def test_journal_that_outgrows_its_snapshot_is_followed_by_a_snapshot(start_server: StartServer) -> None:
    server = start_server(*EVERYSEC, "--auto-aof-rewrite-min-size", "10kb")
    with server.connect() as wire:
        # In one read, and so in one segment: the server may look at its size at any moment.
        wire.send(encode("SET", "k", "x" * 1000) * 20)
        assert wire.read_exactly(len(b"+OK\r\n") * 20) == b"+OK\r\n" * 20
        wait_until(lambda: int(info(wire)["aof_base_size"]) > 1000, "the snapshot")
        wait_until(lambda: info(wire)["aof_rewrite_in_progress"] == "0", "its end")
        assert int(info(wire)["aof_current_size"]) < 3000
        assert info(wire)["aof_last_bgrewrite_status"] == "ok"


def test_bgrewriteaof_answers_as_redis(kvserver: ServerProcess, redis_oracle: ServerProcess) -> None:
    assert kvserver.once("BGREWRITEAOF") == redis_oracle.once("BGREWRITEAOF")
    assert kvserver.once("BGREWRITEAOF", "now") == redis_oracle.once("BGREWRITEAOF", "now")


def test_journal_of_an_older_version_is_replayed_and_gives_way_to_a_snapshot_and_exact_records(tmp_path: Path) -> None:
    old = tmp_path / f"{DATA_FILE}.0000000001.journal"
    old.write_bytes(
        b"KVJ10000000000312faa8f3c039955957d0590232e1050eb08f5ecac7f0adc9f335d68f8054bdc4c"
        b"*2\r\n$13\r\nKVSERVER.LINK\r\n$1\r\n-\r\n"
        b"KVJ100000000005442ddad90ef420075c0861f734b39a8a04ee61f404f000990c1e97818eb000988"
        b"*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n\xff\r\n"
    )
    with ServerProcess("kvserver", tmp_path, "--save", "") as server:
        assert server.once("GET", "c") == b"$1\r\n\xff\r\n"
        # The one that the start began goes, too, and may go later.
        wait_until(lambda: old not in (left := segments(tmp_path)) and len(left) == 1, "the rewrite")
        before_ms = int(time.time() * 1000)
        assert server.once("SET", "d", "1") == b"+OK\r\n"
        after_ms = int(time.time() * 1000)
        server.kill()
    (segment,) = segments(tmp_path)
    (recorded_ms,) = re.findall(rb"#EXACT:([0-9]+)\r\n\*3\r\n\$3\r\nSET\r\n", segment.read_bytes())
    assert before_ms <= int(recorded_ms) <= after_ms
    with ServerProcess("kvserver", tmp_path, "--save", "") as server:
        assert (server.once("GET", "c"), server.once("GET", "d")) == (b"$1\r\n\xff\r\n", b"$1\r\n1\r\n")
        assert "damaged" not in server.log_text()
        server.kill()


# --- damage


def written(start_server: StartServer, *values: str) -> Path:
    """A folder whose one segment has a link and then one record for each value of the key k."""
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        for value in values:
            wire.command("SET", "k", value)
    return crash(server)


def test_torn_tail_of_the_journal_is_cut_with_one_line(start_server: StartServer) -> None:
    folder = written(start_server, "1", "2")
    segment = segments(folder)[0]
    whole = segment.read_bytes()
    record = journal_frame(("SET", "k", "3"))
    older = as_older(record)
    for torn in (*(record[:cut] for cut in (1, 23, 24, 40)), *(older[:cut] for cut in (40, 79, 80, 100))):
        segment.write_bytes(whole + torn)
        server = start_server(*ALWAYS, directory=folder)
        assert server.once("GET", "k") == b"$1\r\n2\r\n"
        assert server.log_text().count("torn tail of the journal cut") == 1
        crash(server)
        assert asides(folder) == []
        assert segment.read_bytes() == whole


def test_damage_in_the_middle_sets_aside_what_is_behind_it(start_server: StartServer) -> None:
    folder = written(start_server, "1", "2", "3")
    segment = segments(folder)[0]
    whole = segment.read_bytes()
    record = len(b"#EXACT:1700000000000\r\n") + len(journal_frame(("SET", "k", "1")))
    damaged = bytearray(whole)
    # The bit is in the record of the value 2.
    damaged[-record - 10] ^= 1
    segment.write_bytes(damaged)
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("GET", "k") == b"$1\r\n1\r\n"
    assert "damaged journal" in server.log_text()
    (aside,) = asides(folder)
    assert aside.read_bytes() == damaged[-2 * record :]
    server.once("SET", "k", "4")
    server = start_server(*ALWAYS, directory=crash(server))
    assert server.once("GET", "k") == b"$1\r\n4\r\n"


def test_journal_whose_records_are_of_both_layouts_is_replayed(start_server: StartServer) -> None:
    """A version of before KVJ2 has written the first ones, and the start does not rewrite them at once."""
    folder = written(start_server, "1", "2")
    segment = segments(folder)[0]
    segment.write_bytes(as_older(segment.read_bytes()) + journal_frame(("APPEND", "k", "3")))
    server = start_server(*ALWAYS, directory=folder)
    with server.connect() as wire:
        assert wire.value("GET", "k") == b"23"
        wire.command("APPEND", "k", "4")
    server = start_server(*ALWAYS, directory=crash(server))
    assert server.once("GET", "k") == b"$3\r\n234\r\n"
    assert "damaged" not in server.log_text()


def test_segment_that_is_missing_ends_the_replay(start_server: StartServer) -> None:
    folder = written(start_server, "1")
    for value in ("2", "3"):
        server = start_server(*ALWAYS, directory=folder)
        server.once("SET", "k", value)
        crash(server)
    segments(folder)[1].unlink()
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("GET", "k") == b"$1\r\n1\r\n"
    assert "is missing" in server.log_text()
    assert len(asides(folder)) == 1


def test_segment_that_holds_nothing_leaves_no_gap_for_a_later_start(start_server: StartServer) -> None:
    """A crash between two rotations leaves one. Once it was removed, and what followed it set aside by the next start."""
    folder = written(start_server, "1")
    server = start_server(*ALWAYS, directory=folder)
    server.once("SET", "k", "2")
    crash(server)
    last = segments(folder)[1]
    last.rename(last.with_name(last.name.replace("02.journal", "03.journal")))
    last.touch()
    for _ in range(3):
        server = start_server(*ALWAYS, directory=folder)
        assert server.once("GET", "k") == b"$1\r\n2\r\n"
        crash(server)
    assert not asides(folder)


def test_journal_whose_snapshot_is_nowhere_is_put_aside_and_told_of_in_one_line(start_server: StartServer) -> None:
    server = start_server(*ALWAYS)
    with server.connect() as wire:
        wire.command("SET", "old", "1")
        wire.command("SAVE")
        wire.command("SET", "older", "2")
        wire.command("SAVE")
        wire.command("SET", "new", "3")
    folder = crash(server)
    medium = (folder / "dump.kvs").read_bytes()
    (folder / "dump.kvs").write_bytes(medium[: HEADER_SIZE + int(medium[4:16])])
    server = start_server(*ALWAYS, directory=folder)
    told = [line for line in server.log_text().splitlines() if "which the medium does not have" in line]
    assert len(told) == 1
    assert "`kvserver apply DIR`" in told[0]
    with server.connect() as wire:
        assert [wire.value("GET", key) for key in ("old", "older", "new")] == [b"1", None, None]
    assert [path.name.split(".", 3)[3] for path in segments_aside(folder)] == ["journal.unlinked"]


def test_segments_without_a_link_are_set_aside(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "dump.kvs.0000000004.journal").write_bytes(journal_frame(("SET", "k", "1")))
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("DBSIZE") == b":0\r\n"
    assert "no segment is linked" in server.log_text()
    assert len(asides(folder)) == 1


def test_value_that_holds_a_whole_frame_is_never_taken_for_one(start_server: StartServer) -> None:
    evil = as_older(journal_frame(("SET", "evil", "1"))) + journal_frame(("SET", "evil", "1"))
    server = start_server(*ALWAYS)
    server.once("SET", "k", evil)
    folder = crash(server)
    segment = segments(folder)[0]
    data = segment.read_bytes()
    position = data.index(evil)
    segment.write_bytes(data[: position - 5] + b"?" + data[position - 4 :])
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("DBSIZE") == b":0\r\n"
