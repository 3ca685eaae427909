"""Others move, remove, replace or cut files in use, and a server never says that data is kept that a start would not find."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.disks import Disk
from helpers.servers import ServerProcess, StartServer, Wire, encode, info, wait_until
from kvserver import FileMedium, KVStore, ServerFolder
from kvserver.errors import MediumDisplaced, MediumError, MediumLocked
from kvserver.formats.frame import HEADER_SIZE, encode_frame
from kvserver.library.keeping import run
from kvserver.media.filesystem import FileSystem
from kvserver.media.lease import FolderLease
from kvserver.media.segments import FileLog, Segments
from kvserver.types import PLAIN

NAME = "dump.kvs"
FOREIGN = b"of somebody else"


def move(path: Path) -> None:
    path.rename(path.with_name("backup.kvs"))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(FOREIGN)
    other.replace(path)


def link_and_replace(path: Path) -> None:
    os.link(path, path.with_name("backup.kvs"))
    replace(path)


def move_and_link(path: Path) -> None:
    move(path)
    path.symlink_to("backup.kvs")


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def overwrite(path: Path) -> None:
    """As `cp old.kvs dump.kvs` does it."""
    path.write_bytes(FOREIGN)


HARMS: dict[str, Callable[[Path], None]] = {
    harm.__name__: harm
    for harm in (move, Path.unlink, replace, link_and_replace, move_and_link, put_folder, empty, cut, overwrite)
}


class Meanwhile(Disk):
    """Calls something in the middle of a call of a kind: behind so many of them."""

    def __init__(self, kind: str, count: int, action: Callable[[], None]) -> None:
        super().__init__()
        self._kind, self._count, self._action = kind, count, action

    def _done(self, kind: str) -> None:
        if kind == self._kind:
            self._count -= 1
            if self._count == 0:
                self._action()

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self._done("sync")

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        length = super().write(descriptor, data, offset)
        self._done("write")
        return length


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


def asides(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{NAME}*.foreign*"))


def restored(path: Path) -> dict[str, object]:
    """The values of the keys a and b that a start finds."""
    with FileMedium(path) as medium:
        store = KVStore(medium)
        assert store.restore() is True
        return {key: value for key in "ab" if (value := store.get(key)) is not None}


# --- The medium of the library ---


@pytest.mark.parametrize("harm", HARMS)
def test_flush_behind_a_displaced_file_goes_to_a_new_one_and_says_so(
    path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    with FileMedium(path) as medium:
        store = KVStore(medium)
        store.set("a", 1)
        store.shutdown()
        before = path.read_bytes()
        HARMS[harm](path)
        left = path.read_bytes() if path.is_file() else None
        store.set("b", 2)
        assert store.shutdown() is True
        assert not medium.poisoned
        with pytest.raises(MediumLocked):
            FileMedium(path)
        store.set("b", 3)
        assert store.shutdown() is True, "the new file is as good as the old one was"
    assert restored(path) == {"a": 1, "b": 3}
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1
    assert str(path) in told[0].getMessage()
    assert len(asides(path)) == (harm not in ("move", "unlink")), "a file that stood there is lost"
    for aside in asides(path):
        assert str(aside) in told[0].getMessage()
        if aside.is_file():
            assert aside.read_bytes() == left
    backup = path.with_name("backup.kvs")
    assert not backup.exists() or backup.read_bytes() == before, "the moved file is left alone"


@pytest.mark.parametrize("is_folder", [False, True], ids=["medium", "folder"])
@pytest.mark.parametrize("harm", ["move", "unlink", "replace", "link_and_replace", "move_and_link", "put_folder"])
def test_restore_of_a_displaced_file_is_an_error_and_changes_nothing(path: Path, harm: str, is_folder: bool) -> None:
    with ServerFolder(path.parent) if is_folder else FileMedium(path) as medium:
        store = KVStore(medium)
        store.set("a", 1)
        store.shutdown()
        store.set("a", 2)
        HARMS[harm](path)
        with pytest.raises(MediumDisplaced, match="moved, removed or replaced"):
            store.restore()
        assert store.get("a") == 2
        store.shutdown()
        assert store.restore() is True
    assert restored(path) == {"a": 2}


@pytest.mark.parametrize("harm", ["move", "unlink", "replace"])
def test_new_file_has_the_earlier_frames_of_the_one_that_is_gone(path: Path, harm: str) -> None:
    with FileMedium(path) as medium:
        store = KVStore(medium)
        for number in (1, 2):
            store.set("a", number)
            store.shutdown()
        before = path.read_bytes()
        HARMS[harm](path)
        store.shutdown()
        assert path.read_bytes().startswith(before)
        assert len(run(medium, PLAIN, load=False).frames) == 3


def test_frames_that_others_append_stay_and_junk_is_set_aside(path: Path) -> None:
    with FileMedium(path) as medium:
        store = KVStore(medium)
        store.set("a", 1)
        store.shutdown()
        with path.open("ab") as file:
            file.write(encode_frame(b'{"b":9}') + b"junk")
        store.shutdown()
        assert len(run(medium, PLAIN, load=False).frames) == 3
    assert restored(path) == {"a": 1}
    assert [found.read_bytes() for found in path.parent.glob(f"{NAME}.damaged*")] == [b"junk"]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(("kind", "count"), [("write", 1), ("write", 2), ("sync", 1), ("write", 3), ("sync", 2)])
def test_file_that_is_displaced_during_a_flush_is_an_error_and_the_next_one_succeeds(
    path: Path, harm: str, kind: str, count: int
) -> None:
    """The calls of a flush: zeros, payload, sync, header, sync."""
    disk = Meanwhile("", 0, lambda: HARMS[harm](path))
    with FileMedium(path, disk) as medium:
        store = KVStore(medium)
        store.set("a", 1)
        store.shutdown()
        disk._kind, disk._count = kind, count
        store.set("b", 2)
        with pytest.raises(MediumDisplaced, match=str(path)):
            store.shutdown()
        assert disk._count <= 0
        assert store.shutdown() is True
    assert restored(path) == {"a": 1, "b": 2}
    backup = path.with_name("backup.kvs")
    is_finished = (kind, count) in (("write", 3), ("sync", 2))
    assert not backup.exists() or restored(backup) == ({"a": 1, "b": 2} if is_finished else {"a": 1})
    if harm in ("replace", "link_and_replace", "overwrite"):
        assert [aside.read_bytes() for aside in asides(path)] == [FOREIGN]


@pytest.mark.parametrize("harm", HARMS)
def test_compaction_of_a_displaced_file_loses_no_file(path: Path, harm: str) -> None:
    frames = [encode_frame(b'{"a":%d}' % number) for number in range(2)]
    with FileMedium(path) as medium:
        for frame in frames:
            medium.append(frame)
        rewrite = medium.begin_rewrite()
        list(rewrite.copy(len(frames[0]), len(frames[1])))
        HARMS[harm](path)
        rewrite.commit(None)
        assert path.read_bytes() == medium.read_all() == frames[1]
    assert len(asides(path)) == (harm not in ("move", "unlink"))


def test_new_file_that_is_replaced_right_away_does_not_count(path: Path) -> None:
    class Racing(FileSystem):
        def rename(self, source: str, target: str) -> None:
            super().rename(source, target)
            replace(path)

    with FileMedium(path, Racing()) as medium:
        store = KVStore(medium)
        path.unlink()
        with pytest.raises(MediumDisplaced):
            store.shutdown()
        assert path.read_bytes() == FOREIGN


def test_what_stands_there_gets_a_name_of_its_own_each_time(path: Path) -> None:
    with FileMedium(path) as medium:
        for _ in range(3):
            replace(path)
            assert KVStore(medium).shutdown() is True
    assert [aside.read_bytes() for aside in asides(path)] == [FOREIGN] * 3


def test_file_system_without_second_names_loses_no_file_either(path: Path) -> None:
    disk = Disk()
    with FileMedium(path, disk) as medium:
        replace(path)
        disk.is_broken_for.add("link")
        assert KVStore(medium).shutdown() is True
    assert [aside.read_bytes() for aside in asides(path)] == [FOREIGN]


def test_file_of_another_process_at_the_path_is_an_error_and_left_alone(path: Path) -> None:
    with FileMedium(path) as medium:
        store = KVStore(medium)
        store.set("a", 1)
        store.shutdown()
        path.unlink()
        with FileMedium(path) as other:
            other.append(FOREIGN)
            unfinished = path.with_name(NAME + ".new")
            unfinished.write_bytes(b"of the other's compaction")
            for _ in range(2):
                with pytest.raises(MediumLocked, match="in use by another process"):
                    store.shutdown()
            assert (path.read_bytes(), unfinished.read_bytes()) == (FOREIGN, b"of the other's compaction")
        assert store.shutdown() is True
    assert restored(path) == {"a": 1}
    assert [aside.read_bytes() for aside in asides(path)] == [FOREIGN]


@pytest.mark.parametrize("is_moved", [False, True])
def test_folder_that_is_gone_is_an_error_until_it_is_there_again(tmp_path: Path, is_moved: bool) -> None:
    path = tmp_path / "data" / NAME
    with FileMedium(path) as medium:
        store = KVStore(medium)
        store.set("a", 1)
        store.shutdown()
        if is_moved:
            path.parent.rename(tmp_path / "moved")
        else:
            shutil.rmtree(path.parent)
        for _ in range(2):
            with pytest.raises(MediumError, match=str(path)):
                store.shutdown()
            assert not path.parent.exists()
        path.parent.mkdir()
        assert store.shutdown() is True
    assert restored(path) == {"a": 1}


# --- The journal's segments ---


@pytest.fixture
def log(path: Path) -> Iterator[FileLog]:
    log = FileLog(str(path))
    log.cut(1)
    log.write(b"first" * 10, synced=True)
    yield log
    log.close()


def write_and_sync(log: FileLog) -> None:
    log.write(b"x")
    log.sync()


def write_now_and_sync(log: FileLog) -> None:
    log.write_now(b"longer than what was cut off" * 10)
    log.sync()


def write_unsynced_and_synced(log: FileLog) -> None:
    log.write(b"x")
    log.write(b"y", synced=True)


USES: dict[str, Callable[[FileLog], object]] = {
    "synced write": lambda log: log.write(b"x", synced=True),
    "write and sync": write_and_sync,
    "write without waiting, and sync": write_now_and_sync,
    "synced write behind one that is not": write_unsynced_and_synced,
    "sync of nothing": lambda log: log.sync(),
    "cut": lambda log: log.cut(2),
    "link": lambda log: log.link(b"x"),
}


@pytest.mark.parametrize(
    ("harm", "use"),
    [*((harm, "synced write") for harm in HARMS), *((harm, use) for harm in ("unlink", "cut") for use in USES)],
)
def test_displaced_segment_is_a_failure_until_a_cut_heals_it(log: FileLog, path: Path, harm: str, use: str) -> None:
    segments = Segments(str(path))
    first = Path(segments.path(1))
    HARMS[harm](first)
    with pytest.raises(MediumDisplaced, match=str(first)):
        USES[use](log)
    assert str(first) in log.failure
    with pytest.raises(MediumDisplaced):
        log.write(b"x")
    log.cut(7, heals=True)
    log.link(b"link")
    log.write(b"y", synced=True)
    assert segments.numbers() == [7]
    assert Path(segments.path(7)).read_bytes() == b"linky"
    assert len(asides(path)) == (harm not in ("move", "unlink")), "a file that stood there is lost"


def test_segment_that_is_removed_during_its_sync_is_a_failure(path: Path) -> None:
    disk = Meanwhile("", 0, lambda: None)
    segments = Segments(str(path), disk)
    log = FileLog(str(path), disk)
    log.cut(1)
    log.write(b"x")
    disk._kind, disk._count, disk._action = "sync", 1, Path(segments.path(1)).unlink
    with pytest.raises(MediumDisplaced):
        log.sync()
    assert log.has_unsynced
    log.close()


def test_segment_that_others_put_behind_the_new_one_is_set_aside(log: FileLog, path: Path) -> None:
    segments = Segments(str(path))
    Path(segments.path(1)).unlink()
    for number in (1, 7, 8):
        Path(segments.path(number)).write_bytes(FOREIGN)
    with pytest.raises(MediumDisplaced):
        log.sync()
    log.cut(7, heals=True)
    assert segments.numbers() == [7]
    assert [aside.read_bytes() for aside in asides(path)] == [FOREIGN] * 3


def test_folder_that_is_gone_gets_no_segment_until_it_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "data" / NAME
    segments = Segments(str(path))
    log = FileLog(str(path))
    path.parent.mkdir()
    log.cut(1)
    shutil.rmtree(path.parent)
    for number in (2, 3):
        with pytest.raises(MediumError):
            log.cut(number, heals=True)
        assert not path.parent.exists()
    path.parent.mkdir()
    log.cut(4, heals=True)
    log.write(b"x", synced=True)
    assert segments.numbers() == [4]
    log.close()


def test_other_folder_in_the_place_is_held_before_a_file_of_it_is_touched(tmp_path: Path) -> None:
    folder, filesystem = tmp_path / "data", FileSystem()
    lease = FolderLease(folder)
    segments = Segments(str(folder / NAME))
    log = FileLog(str(folder / NAME), lease=lease)
    log.cut(1)
    log.cut(2)
    folder.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", folder)
    other = filesystem.lock_folder(str(folder))
    with pytest.raises(MediumLocked, match="another kvserver"):
        log.cut(3, heals=True)
    assert segments.numbers() == [1, 2]
    filesystem.close(other)
    log.cut(4, heals=True)
    assert segments.numbers() == [4]
    assert len(asides(folder / NAME)) == 2
    with pytest.raises(BlockingIOError):
        filesystem.lock_folder(str(folder))
    lease.release()
    filesystem.close(filesystem.lock_folder(str(folder)))
    log.close()


# --- The server ---

# A flush that failed is tried again after 5 s.
RETRY_DEADLINE_S = 40


def kept(path: Path) -> dict[str, object]:
    """The data of the last frame, in a medium that is whole frames and nothing else."""
    with FileMedium(path) as medium:
        result = run(medium, PLAIN, load=False)
        assert result.frames[-1].end == medium.size()
        return dict(json.loads(medium.read(result.frames[-1].offset + HEADER_SIZE, medium.size())))


def data(server: ServerProcess) -> Path:
    return server.directory / NAME


def segment(server: ServerProcess) -> Path:
    return max(server.directory.glob("*.journal"))


def new_files(server: ServerProcess) -> int:
    assert server.once("PING") == b"+PONG\r\n"
    return server.log_text().count("all data is in a new file there now")


def background_save(wire: Wire) -> None:
    assert wire.command("BGSAVE") == b"+Background saving started\r\n"
    wait_until(lambda: info(wire)["rdb_bgsave_in_progress"] == "0", "the end of the flush")
    assert info(wire)["rdb_last_bgsave_status"] == "ok"


def test_saves_behind_a_displaced_file_are_kept(start_server: StartServer) -> None:
    server = start_server("--save", "", "--appendonly", "no")
    with server.connect() as wire:
        assert wire.command("SAVE") == b"+OK\r\n"
        for number, harm in enumerate(HARMS.values()):
            for word in ("SAVE", "BGSAVE"):
                harm(data(server))
                assert wire.command("SET", f"{harm.__name__} {word}", "kept") == b"+OK\r\n"
                if word == "SAVE":
                    assert wire.command("SAVE") == b"+OK\r\n"
                else:
                    background_save(wire)
                with suppress(FileNotFoundError):
                    data(server).with_name("backup.kvs").unlink()
            wait_until(lambda: new_files(server) == 2 * number + 2, "the log lines")  # noqa: B023
        assert not list(server.directory.glob("*.damaged*"))
        with data(server).open("ab") as file:
            file.write(encode_frame(b"{}"))
        assert wire.command("SAVE") == b"+OK\r\n"
        assert server.wait_for_line("somebody else has appended 82 bytes")
        server.kill()
    assert kept(data(server)) == {f"{harm} {word}": "kept" for harm in HARMS for word in ("SAVE", "BGSAVE")}


def test_restore_of_a_file_that_others_replaced_is_refused_by_name(start_server: StartServer) -> None:
    server = start_server("--save", "")
    with server.connect() as wire:
        for value in ("old", "new"):
            assert wire.command("SET", "a", value) == b"+OK\r\n"
            assert wire.command("SAVE") == b"+OK\r\n"
        assert wire.command("SET", "a", "newest") == b"+OK\r\n"
        replace(data(server))
        assert wire.command("RESTORE") == b"-ERR %b was moved, removed or replaced by somebody else\r\n" % bytes(data(server))
        assert wire.command("GET", "a") == b"$6\r\nnewest\r\n"
        assert not list(server.directory.glob("*.dropped"))
        assert wire.command("SAVE") == b"+OK\r\n"
        assert wire.command("RESTORE") == b":1\r\n"
        assert wire.command("GET", "a") == b"$6\r\nnewest\r\n"


@pytest.mark.parametrize("harm", ["move", "unlink", "replace", "cut"])
@pytest.mark.parametrize("end", ["SHUTDOWN", "SIGTERM"])
def test_end_behind_a_displaced_file_is_kept(start_server: StartServer, harm: str, end: str) -> None:
    server = start_server("--save", "", "--appendonly", "no")
    with server.connect() as wire:
        assert wire.command("SAVE") == b"+OK\r\n"
        assert wire.command("SET", "k", "v") == b"+OK\r\n"
        HARMS[harm](data(server))
        if end == "SHUTDOWN":
            wire.send(encode("SHUTDOWN"))
            assert wire.read_until_eof() == b""
        else:
            server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert kept(data(server)) == {"k": "v"}


def test_save_point_behind_a_displaced_file_is_kept(start_server: StartServer) -> None:
    server = start_server("--save", "1 1", "--appendonly", "no")
    with server.connect() as wire:
        data(server).unlink()
        assert wire.command("SET", "k", "v") == b"+OK\r\n"
        wait_until(lambda: new_files(server) == 1, "the flush of the save point")
        wait_until(lambda: info(wire)["rdb_bgsave_in_progress"] == "0", "its end")
        server.kill()
    assert kept(data(server)) == {"k": "v"}


@pytest.mark.parametrize("appendonly", ["no", "yes"])
def test_folder_that_is_gone_fails_the_flush_until_it_is_there_again(start_server: StartServer, appendonly: str) -> None:
    server = start_server("--save", "", "--appendonly", appendonly, "--appendfsync", "always")
    with server.connect() as wire:
        assert wire.command("SET", "k", "v") == b"+OK\r\n"
        assert wire.command("SAVE") == b"+OK\r\n"
        # The server may be about to make a file there, which then fails: it is not found in a folder that is about to go.
        gone = server.directory.rename(server.directory.with_name("gone"))
        shutil.rmtree(gone)
        assert wire.command("SAVE").startswith(b"-ERR ")
        assert wire.command("SHUTDOWN") == b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n"
        assert wire.command("GET", "k") == b"$1\r\nv\r\n"
        assert not server.directory.exists()
        server.directory.mkdir()
        assert wire.command("SAVE") == b"+OK\r\n"
        assert wire.command("SET", "l", "w") == b"+OK\r\n"
        if appendonly == "no":
            assert wire.command("SAVE") == b"+OK\r\n"
        server.kill()
    with start_server("--save", "", directory=server.directory).connect() as wire:
        assert wire.value("MGET", "k", "l") == [b"v", b"w"]


@pytest.mark.parametrize("harm", ["move", "unlink", "replace", "cut"])
def test_nothing_is_acknowledged_that_went_to_a_displaced_segment(start_server: StartServer, harm: str) -> None:
    server = start_server("--save", "", "--appendfsync", "always")
    with server.connect() as wire, server.connect() as other:
        assert wire.command("SET", "a", "1") == b"+OK\r\n"
        HARMS[harm](segment(server))
        wire.send(encode("SET", "b", "2"))
        assert wire.read_until_eof() == b"", "what is not on the disk is not acknowledged"
        assert other.command("SET", "c", "3").startswith(b"-MISCONF ")
        assert other.command("SAVE") == b"+OK\r\n"
        assert other.command("SET", "c", "4") == b"+OK\r\n"
        server.kill()
    with start_server("--save", "", directory=server.directory).connect() as wire:
        assert wire.value("MGET", "a", "b", "c") == [b"1", b"2", b"4"]


def test_displaced_segment_under_everysec_is_noticed_by_the_next_sync(start_server: StartServer) -> None:
    server = start_server("--save", "")

    def answer() -> bytes:
        try:
            return server.once("SET", "c", "3")
        # A reply that waited when the sync failed is never sent.
        except EOFError:
            return b""

    assert server.once("SET", "a", "1") == b"+OK\r\n"
    segment(server).unlink()
    assert server.once("SET", "b", "2") == b"+OK\r\n"
    wait_until(lambda: answer().startswith(b"-MISCONF "), "the next sync")
    wait_until(lambda: answer() == b"+OK\r\n", "the flush that heals it", RETRY_DEADLINE_S)
    assert server.wait_for_line("the journal goes on in a new segment")
    server.kill()
    with start_server("--save", "", directory=server.directory).connect() as wire:
        assert wire.value("MGET", "a", "b", "c") == [b"1", b"2", b"3"]


@pytest.mark.parametrize("end", ["SAVE", "SHUTDOWN", "BGSAVE"])
def test_flush_that_finds_its_segment_displaced_begins_anew(start_server: StartServer, end: str) -> None:
    """All files of the folder are gone, and nothing was written since: the flush is the first to notice."""
    server = start_server("--save", "", "--appendfsync", "always")
    with server.connect() as wire:
        assert wire.command("SET", "a", "1") == b"+OK\r\n"
        for file in server.directory.iterdir():
            file.unlink()
        if end == "SHUTDOWN":
            wire.send(encode("SHUTDOWN"))
            assert wire.read_until_eof() == b""
            assert server.wait() == 0
        elif end == "SAVE":
            assert wire.command("SAVE") == b"+OK\r\n"
        else:
            assert wire.command("BGSAVE") == b"+Background saving started\r\n"
            assert server.wait_for_line("the journal goes on in a new segment")
        if end != "SHUTDOWN":
            wait_until(lambda: wire.command("SET", "b", "2") == b"+OK\r\n", "writes")
            server.kill()
    with start_server("--save", "", directory=server.directory).connect() as wire:
        assert wire.value("MGET", "a", "b") == [b"1", None if end == "SHUTDOWN" else b"2"]
