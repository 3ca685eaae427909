"""Library and server load what the other has kept, by one recovery, and nothing newer is passed over."""

from __future__ import annotations

import gc
import logging
import os
import time
from pathlib import Path

import pytest

from helpers.servers import StartServer
from kvserver import FileMedium, KVStore, MediumError, MediumLocked, ServerFolder
from kvserver.cli.main import main
from kvserver.formats.record import encode_link, encode_records, pack
from kvserver.formats.scan import Scan
from kvserver.library.keeping import run
from kvserver.media.segments import FileLog
from kvserver.types import TAGGED

ALWAYS = ("--save", "", "--appendfsync", "always")
BINARY = b"\xff\x00bytes"


def leave(folder: Path, frames: list[dict[str, str]], records: list[list[list[bytes]]], *, linked: int = -1) -> None:
    """The files that a server leaves: frames, and a segment that goes on from one of them."""
    with FileMedium(folder / "dump.kvs") as medium:
        store = KVStore(medium)
        for members in frames:
            for key, value in members.items():
                store.set(key, value)
            store.shutdown()
    digest = scan(folder).frames[linked].digest
    log = FileLog(str(folder / "dump.kvs"))
    log.cut(1)
    log.write(encode_link(digest))
    for commands in records:
        log.write(encode_records([pack(commands)]), synced=True)
    log.close()


def scan(folder: Path) -> Scan:
    with FileMedium(folder / "dump.kvs", with_journal=True) as medium:
        return run(medium, TAGGED, load=False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_store_gives_the_collections_of_a_server(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*ALWAYS, directory=tmp_path)
    with server.connect() as wire:
        for words in ("HSET h a 1 b 2", "RPUSH l x y x", "SADD s 1 b", "ZADD z 1.5 a -inf b"):
            assert wire.value(*words.split()) > 0
        wire.value("XADD", "x", "5-1", "f", "v", "f", BINARY)
        wire.command("SAVE")
        wire.value("HSET", "h", "c", BINARY)
        wire.value("RPUSH", "l", BINARY)
        wire.value("SADD", "s", BINARY)
        wire.value("ZADD", "z", 3, BINARY)
    server.kill()
    expected = {
        "h": {"a": "1", "b": "2", "c": BINARY},
        "l": ["x", "y", "x", BINARY],
        "s": {"1", "b", BINARY},
        "z": {"b": float("-inf"), "a": 1.5, BINARY: 3.0},
        "x": [["5-1", ["f", "v", "f", BINARY]]],
    }
    for _ in range(2):
        with ServerFolder(tmp_path) as folder:
            store = KVStore(folder)
            assert {key: store.get(key) for key in expected} == dict(store.items()) == store == expected
            assert store.setdefault("x", "new") == expected["x"]
            assert list(store.get("z")) == ["b", "a", BINARY]
            # The frame that the library appends is read again by the next turn, and by the server.
            store.shutdown()
    with start_server(*ALWAYS, directory=tmp_path).connect() as wire:
        assert wire.value("ZRANGE", "z", 0, -1) == [b"b", b"a", BINARY]
        assert wire.value("HGET", "h", "c") == BINARY


def test_store_starts_with_the_last_frame_and_what_the_journal_recorded_behind_it(tmp_path: Path) -> None:
    leave(tmp_path, [{"a": "old"}, {"a": "1", "b": "2"}], [[[b"SET", b"a", b"3"]], [[b"DEL", b"b"], [b"SET", b"c", BINARY]]])
    with ServerFolder(tmp_path) as folder:
        store = KVStore(folder)
        assert [store.get(key) for key in ("a", "b", "c")] == ["3", None, BINARY]
        store.set("a", "not flushed")
        assert store.restore() is True
        assert store.get("a") == "3"


def test_expiry_is_honoured(tmp_path: Path) -> None:
    past, future = [b"%d" % (time.time_ns() // 1_000_000 + change) for change in (-1000, 1_000_000)]
    leave(tmp_path, [{}], [[[b"SET", b"gone", b"1", b"PXAT", past], [b"SET", b"there", b"2", b"PXAT", future]]])
    with ServerFolder(tmp_path) as folder:
        assert [KVStore(folder).get(key) for key in ("gone", "there")] == [None, "2"]


def test_frame_of_the_library_takes_the_journals_place(tmp_path: Path) -> None:
    leave(tmp_path, [{"a": "1"}], [[[b"SET", b"a", b"2"]]])
    with ServerFolder(tmp_path) as folder:
        store = KVStore(folder)
        store.set("b", {"n": [1, 2.5]})
        store.set("c", BINARY)
        assert store.shutdown() is True
    assert names(tmp_path) == ["dump.kvs"]
    with ServerFolder(tmp_path) as folder:
        store = KVStore(folder)
        assert [store.get(key) for key in ("a", "b", "c")] == ["2", {"n": [1, 2.5]}, BINARY]


def test_empty_folder_is_made_and_has_nothing(tmp_path: Path) -> None:
    with ServerFolder(tmp_path / "new") as folder:
        store = KVStore(folder)
        assert store.restore() is False
        store.set("a", "1")
        store.shutdown()
        assert store.restore() is True
        assert store.get("a") == "1"


def test_value_that_is_no_json_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with ServerFolder(tmp_path) as folder:
        store = KVStore(folder)
        store.set("a", "1")
        with pytest.raises(TypeError):
            store.set("a", {1, 2})
        assert store.get("a") == "1"


def test_server_and_library_load_what_the_other_has_kept(start_server: StartServer, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    server = start_server(*ALWAYS, directory=folder)
    for command in (b"SET text \xc3\xa9", b"SET number 1", b"SET soon x PX 10000000", b"SET gone x"):
        assert server.once(*command.split()) == b"+OK\r\n"
    assert server.once(b"SET", b"bytes", BINARY) == b"+OK\r\n"
    assert server.once(b"JSON.SET", b"document", b"$", b'{"$kvs":{"base64":"gA=="}}') == b"+OK\r\n"
    assert server.once(b"SAVE") == b"+OK\r\n"
    assert server.once(b"DEL", b"gone") == b":1\r\n"
    assert server.once(b"APPEND", b"number", b"2") == b":2\r\n"
    with pytest.raises(MediumLocked, match="in use"):
        ServerFolder(folder)
    server.kill()
    with ServerFolder(folder) as kept:
        store = KVStore(kept)
        assert [store.get(key) for key in ("text", "number", "soon", "gone")] == ["é", "12", "x", None]
        assert store.get("bytes") == BINARY
        assert store.get("document") == {"$kvs": {"base64": "gA=="}}
        store.set("library", "was here")
        store.set("number", 13)
        store.shutdown()
    server = start_server(*ALWAYS, directory=folder)
    assert server.once(b"GET", b"library") == b"$8\r\nwas here\r\n"
    assert server.once(b"GET", b"number") == b"$2\r\n13\r\n"
    assert server.once(b"GET", b"bytes") == b"$%d\r\n%b\r\n" % (len(BINARY), BINARY)
    assert server.once(b"DBSIZE") == b":6\r\n"
    assert server.once(b"SET", b"number", b"14") == b"+OK\r\n"
    server.kill()
    with ServerFolder(folder) as kept:
        assert KVStore(kept).get("number") == "14"


@pytest.mark.parametrize("is_folder", [False, True], ids=["medium", "folder"])
def test_store_that_is_left_lets_go_of_what_it_kept_its_data_in(tmp_path: Path, is_folder: bool) -> None:
    def opened() -> FileMedium | ServerFolder:
        return ServerFolder(tmp_path) if is_folder else FileMedium(tmp_path / "users.kvs")

    for _ in range(2):
        with KVStore(opened()) as store:
            store.set("a", "1")
            store.shutdown()
            with pytest.raises(MediumLocked):
                opened()


# --- A medium of the library's own ---


def test_file_with_a_journal_beside_it_is_refused_by_a_line_that_names_the_way(tmp_path: Path) -> None:
    leave(tmp_path, [{"a": "1"}], [])
    before = (tmp_path / "dump.kvs").read_bytes()
    with pytest.raises(MediumError, match=rf"ServerFolder\('{tmp_path}'\)") as caught:
        FileMedium(tmp_path / "dump.kvs")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "dump.kvs").read_bytes() == before
    FileMedium(tmp_path / "other.kvs").close()


@pytest.mark.parametrize("is_folder", [False, True], ids=["medium", "folder"])
def test_store_that_is_forgotten_lets_go_of_its_lock_with_a_warning(tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path / "users.kvs"

    def opened() -> FileMedium | ServerFolder:
        return ServerFolder(tmp_path) if is_folder else FileMedium(path)

    store = KVStore(opened())
    with pytest.raises(MediumLocked):
        opened()
    gc.collect()
    with pytest.warns(ResourceWarning, match="was not closed"):
        del store
    opened().close()


# --- Segments that lost their snapshot ---


def unlinked_journal(folder: Path) -> bytes:
    """A journal on a snapshot that is not in the medium any more, since an older file was put back; the newer one."""
    leave(folder, [{"a": "1"}], [])
    older = (folder / "dump.kvs").read_bytes()
    for path in folder.glob("*.journal"):
        path.unlink()
    (folder / "dump.kvs").unlink()
    leave(folder, [{"a": "1"}, {"a": "2", "b": "2"}], [[[b"SET", b"c", b"3"]]])
    newer = (folder / "dump.kvs").read_bytes()
    (folder / "dump.kvs").write_bytes(older)
    return newer


def test_journal_is_never_replayed_on_another_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unlinked_journal(tmp_path)
    segment = (tmp_path / "dump.kvs.0000000001.journal").read_bytes()
    for _ in range(2):
        with ServerFolder(tmp_path) as folder:
            store = KVStore(folder)
            assert [store.get(key) for key in "abc"] == ["1", None, None]
    assert names(tmp_path) == ["dump.kvs", "dump.kvs.0000000001.journal.unlinked"]
    assert (tmp_path / "dump.kvs.0000000001.journal.unlinked").read_bytes() == segment
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(lines) == 1
    assert "put the segments 1 (1 records) aside" in lines[0]
    assert "kvserver apply" in lines[0]


def test_segments_put_aside_are_applied_to_the_data_by_a_persons_decision(tmp_path: Path) -> None:
    unlinked_journal(tmp_path)
    with ServerFolder(tmp_path) as folder:
        told = folder.apply_aside()
        assert "replayed 1 commands in 1 records on the data as it was" in told
        store = KVStore(folder)
        assert [store.get(key) for key in "abc"] == ["1", None, "3"]
    assert names(tmp_path) == ["dump.kvs", "dump.kvs.0000000001.journal.applied"]
    with ServerFolder(tmp_path) as folder:
        assert KVStore(folder).get("c") == "3"
        with pytest.raises(MediumError, match="no segment of a journal is put aside"):
            folder.apply_aside()


def test_segments_put_aside_are_applied_to_their_own_frame_where_it_is_back(tmp_path: Path) -> None:
    newer = unlinked_journal(tmp_path)
    ServerFolder(tmp_path).close()
    (tmp_path / "dump.kvs").write_bytes(newer)
    with ServerFolder(tmp_path) as folder:
        assert KVStore(folder).get("c") is None
        assert "on the frame at offset" in folder.apply_aside()
        store = KVStore(folder)
        assert [store.get(key) for key in "abc"] == ["2", "2", "3"]


@pytest.mark.parametrize("is_there", [False, True])
def test_apply_where_nothing_is_put_aside_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_there: bool
) -> None:
    if is_there:
        (tmp_path / "dump.kvs").write_bytes(b"something else")
    assert main(["apply", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"kvserver: no segment of a journal is put aside in {tmp_path}\n"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"something else"] * is_there


def test_apply_goes_with_a_start_that_has_not_been_made_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unlinked_journal(tmp_path)
    assert main(["apply", str(tmp_path)]) == 0
    assert "replayed 1 commands in 1 records" in capsys.readouterr().out
    assert names(tmp_path) == ["dump.kvs", "dump.kvs.0000000001.journal.applied"]


def test_only_what_was_replayed_of_what_was_put_aside_counts_as_applied(tmp_path: Path) -> None:
    unlinked_journal(tmp_path)
    ServerFolder(tmp_path).close()
    for number in (2, 3):  # another journal that has lost its snapshot, with something behind a gap
        log = FileLog(str(tmp_path / "dump.kvs"))
        log.cut(2 * number)
        log.write(encode_link("0" * 64) if number == 2 else b"")
        log.write(encode_records([pack([[b"SET", b"key %d" % number, b"1"]])]), synced=True)
        log.close()
    ServerFolder(tmp_path).close()
    first, second, behind = (f"dump.kvs.000000000{number}.journal" for number in (1, 4, 6))
    with ServerFolder(tmp_path) as folder:
        told = folder.apply_aside()
        assert "segment 5 is missing" in told
        assert told.endswith(f"still put aside: {tmp_path / first}.unlinked, {tmp_path / behind}.unlinked")
        store = KVStore(folder)
        assert [store.get(key) for key in ("key 2", "key 3", "c")] == ["1", None, None]
        assert names(tmp_path) == ["dump.kvs", f"{first}.unlinked", f"{second}.applied", f"{behind}.unlinked"]
        folder.apply_aside()
        assert [store.get(key) for key in ("key 2", "c")] == ["1", "3"]


def test_what_was_there_before_segments_are_applied_is_kept_as_a_frame(tmp_path: Path) -> None:
    unlinked_journal(tmp_path)
    with ServerFolder(tmp_path) as folder:
        store = KVStore(folder)
        store.set("d", "since")
        store.shutdown()
        before = len(scan_open(tmp_path).frames)
        folder.apply_aside()
        assert len(scan_open(tmp_path).frames) == before + 1


def scan_open(folder: Path) -> Scan:
    """`scan` of a file that somebody has open."""
    copy = folder.parent / f"copy-of-{folder.name}"
    copy.write_bytes((folder / "dump.kvs").read_bytes())
    with FileMedium(copy) as medium:
        found = run(medium, TAGGED, load=False)
    os.unlink(copy)
    return found


def test_newer_frames_than_the_one_that_is_linked_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    leave(tmp_path, [{"a": "1"}, {"a": "2"}], [[[b"SET", b"b", b"1"]]], linked=0)
    with ServerFolder(tmp_path) as folder:
        assert KVStore(folder).get("a") == "1"
    assert "so 1 newer frames" in caplog.text


def test_newer_frames_are_told_of_where_all_have_moved_since_damage_before_them_went(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave(tmp_path, [{"x": "long" * 100}, {"a": "1", "x": ""}, {"a": "2"}], [[[b"SET", b"b", b"1"]]], linked=1)
    content = bytearray((tmp_path / "dump.kvs").read_bytes())
    content[scan(tmp_path).frames[0].end - 3] ^= 1
    (tmp_path / "dump.kvs").write_bytes(content)
    with ServerFolder(tmp_path) as folder:
        assert KVStore(folder).get("a") == "1"
        assert folder.recovered.frame == scan_open(tmp_path).frames[0]
    assert "from the frame at offset 0, so 1 newer frames" in caplog.text


# --- Damage in an old frame ---


def test_damage_in_an_old_frame_costs_that_frame_and_nothing_else(tmp_path: Path) -> None:
    leave(tmp_path, [{"a": "1"}, {"a": "2"}, {"a": "3"}], [[[b"SET", b"b", b"1"]]])
    frames = scan(tmp_path).frames
    content = bytearray((tmp_path / "dump.kvs").read_bytes())
    content[frames[1].end - 3] ^= 1
    (tmp_path / "dump.kvs").write_bytes(content)
    damaged = bytes(content[frames[1].offset : frames[1].end])
    for _ in range(2):
        with ServerFolder(tmp_path) as folder:
            store = KVStore(folder)
            assert [store.get(key) for key in "ab"] == ["3", "1"]
    assert (tmp_path / f"dump.kvs.damaged-{frames[1].offset}").read_bytes() == damaged
    assert [frame.digest for frame in scan(tmp_path).frames] == [frames[0].digest, frames[2].digest]


def test_damage_in_an_old_frame_costs_no_more_where_a_flush_was_cut_short_behind_the_linked_frame(tmp_path: Path) -> None:
    leave(tmp_path, [{"a": "1"}, {"a": "2"}, {"a": "3"}], [[[b"SET", b"b", b"1"]]])
    frames = scan(tmp_path).frames
    content = bytearray((tmp_path / "dump.kvs").read_bytes())
    content[frames[0].end - 3] ^= 1
    (tmp_path / "dump.kvs").write_bytes(content + bytes(100))
    with ServerFolder(tmp_path) as folder:
        store = KVStore(folder)
        assert [store.get(key) for key in "ab"] == ["3", "1"]
    assert [frame.digest for frame in scan(tmp_path).frames] == [frames[1].digest, frames[2].digest]


def test_server_that_is_given_an_old_file_starts_with_it_and_apply_brings_the_rest(
    start_server: StartServer, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("SET", "a", "1") + server.once("SAVE") == b"+OK\r\n+OK\r\n"
    backup = (folder / "dump.kvs").read_bytes()
    assert server.once("SET", "b", "2") + server.once("SAVE") + server.once("SET", "c", "3") == b"+OK\r\n" * 3
    server.kill()
    (folder / "dump.kvs").write_bytes(backup)
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("MGET", "a", "b", "c") == b"*3\r\n$1\r\n1\r\n$-1\r\n$-1\r\n"
    server.kill()
    with ServerFolder(folder) as kept:
        kept.apply_aside()
    server = start_server(*ALWAYS, directory=folder)
    assert server.once("MGET", "a", "b", "c") == b"*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n3\r\n"
