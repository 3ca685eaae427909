"""The machine's own file system: locks and syncs of folders, and calls that a file system doesn't have."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path

import pytest

from helpers.disks import NO_SUCH_CALL
from helpers.frames import FIRST, NAME, SECOND, put
from kvserver.errors import MediumError
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem
from kvserver.media.medium import Aside
from kvserver.media.segments import FileLog, Segments


def test_folder_lock_is_held_until_it_is_closed(tmp_path: Path) -> None:
    filesystem = FileSystem()
    descriptor = filesystem.lock_folder(str(tmp_path))
    with pytest.raises(BlockingIOError):
        filesystem.lock_folder(str(tmp_path))
    filesystem.close(descriptor)
    filesystem.close(filesystem.lock_folder(str(tmp_path)))


def test_lock_goes_by_its_own_process_alone(tmp_path: Path) -> None:
    filesystem = FileSystem()
    descriptor = filesystem.lock_folder(str(tmp_path))
    theirs, ours = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        filesystem.close(descriptor)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(BlockingIOError):
        filesystem.lock_folder(str(tmp_path))
    child = os.fork()
    if not child:
        # It has the folder open until the pipe is closed.
        os.close(ours)
        os.read(theirs, 1)
        os._exit(0)
    filesystem.close(descriptor)
    filesystem.close(filesystem.lock_folder(str(tmp_path)))
    os.close(ours)
    assert os.waitpid(child, 0)[1] == 0
    os.close(theirs)


def test_lock_of_a_folder_that_was_replaced_goes_with_it(tmp_path: Path) -> None:
    filesystem, folder = FileSystem(), tmp_path / "folder"
    folder.mkdir()
    descriptor = filesystem.lock_folder(str(folder))
    folder.rename(tmp_path / "moved")
    folder.mkdir()
    assert filesystem.hold_folder(descriptor, str(folder))
    copy = os.dup(descriptor)
    filesystem.close(descriptor)
    filesystem.close(filesystem.lock_folder(str(folder)))
    os.close(copy)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has a lock")
def test_holder_of_a_lock_is_told(tmp_path: Path) -> None:
    filesystem = FileSystem()
    assert filesystem.holder(str(tmp_path)) == ""
    descriptor = filesystem.lock_folder(str(tmp_path))
    assert filesystem.holder(str(tmp_path)) == " (this process)"
    assert filesystem.holder(str(tmp_path.parent)) == filesystem.holder(str(tmp_path / "nothing")) == ""
    filesystem.close(descriptor)


def test_folder_lock_of_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        FileSystem().lock_folder(str(tmp_path / "file"))


def test_sync_of_a_folder_reaches_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[os.stat_result] = []
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    FileSystem().sync_folder(str(tmp_path))
    assert len(synced) == 1
    assert os.path.samestat(synced[0], tmp_path.stat())


class OfMacOS(FileSystem):
    """It has the call that empties the drive's own memory; here that is one which Linux does not know."""

    _has_write_flags = False
    _full_sync = 51


def test_macos_is_asked_to_empty_the_memory_of_the_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(fcntl, "fcntl", lambda descriptor, number: calls.append(number))
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("fsync is not enough there"))
    filesystem = OfMacOS()
    descriptor = filesystem.open(str(tmp_path / "file"), create=True)
    filesystem.sync(descriptor)
    assert filesystem.append(descriptor, b"x", synced=True) == 1
    filesystem.sync_folder(str(tmp_path))
    filesystem.close(descriptor)
    assert calls == [51, 51, 51]


@pytest.mark.parametrize(("number", "is_lacking"), [(errno.ENOTSUP, True), (errno.ENOTTY, True), (errno.EIO, False)])
def test_file_system_that_lacks_that_call_is_synced_as_usual_and_a_failure_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_lacking: bool
) -> None:
    def fail(descriptor: int, call: int) -> None:
        raise OSError(number, os.strerror(number))

    synced: list[int] = []
    monkeypatch.setattr(fcntl, "fcntl", fail)
    monkeypatch.setattr(os, "fsync", synced.append)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    if is_lacking:
        OfMacOS().sync(descriptor)
        assert synced == [descriptor]
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            OfMacOS().sync(descriptor)
        assert synced == []
    os.close(descriptor)


class FoldersUnsynced(FileSystem):
    """As CIFS and FUSE file systems are."""

    def __init__(self, number: int) -> None:
        self._number = number

    def sync_folder(self, path: str) -> None:
        raise OSError(self._number, os.strerror(self._number), path)


@pytest.mark.parametrize("number", [*NO_SUCH_CALL, errno.EBADF], ids=errno.errorcode.get)
def test_folder_that_cannot_be_synced_keeps_nothing_from_working_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    folder, filesystem = tmp_path / "one" / "two", FoldersUnsynced(number)
    with FileMedium(folder / NAME, filesystem) as medium:
        put(medium.begin_frame(), FIRST)
        put(medium.begin_rewrite(), SECOND)
        assert Path(medium.set_aside(0)).read_bytes() == SECOND
        assert not medium.poisoned
        segments = Segments(str(folder / NAME), filesystem)
        log = FileLog(str(folder / NAME), filesystem)
        log.cut(1)
        log.cut(2)
        log.link(b"link")
        log.close()
        assert segments.set_aside(segments.path(2), Aside.DAMAGED).endswith(".damaged")
        assert medium.read_all() == SECOND
    assert not list(folder.glob("*.journal"))
    told = [record.getMessage() for record in caplog.records if f"the folder {folder} can't be synced" in record.getMessage()]
    assert len(told) == 1
    assert os.strerror(number) in told[0]


def test_folder_whose_sync_fails_is_still_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediumError, match="Input/output error"):
        FileMedium(tmp_path / NAME, FoldersUnsynced(errno.EIO))


@pytest.mark.parametrize("number", NO_SUCH_CALL, ids=errno.errorcode.get)
def test_cache_that_cannot_be_dropped_keeps_no_file_from_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def advise(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fadvise", advise, raising=False)
    with FileMedium(tmp_path / NAME) as medium:
        medium.append(FIRST)


@pytest.mark.parametrize("number", [*NO_SUCH_CALL, errno.ENOLCK], ids=errno.errorcode.get)
def test_file_system_without_locks_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(MediumError, match=rf"cannot open {tmp_path / NAME}: its file system has no locks") as raised:
        FileMedium(tmp_path / NAME)
    assert "\n" not in str(raised.value)
    with pytest.raises(OSError, match="its file system has no locks"):
        FileSystem().lock_folder(str(tmp_path))
