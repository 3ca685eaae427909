"""The files of a log: numbers, failures that stick, the order of syncs and removals, and a file that only grows."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.disks import NO_SUCH_CALL
from kvserver.errors import MediumError, MediumPoisoned
from kvserver.media.filesystem import FileSystem
from kvserver.media.medium import Aside
from kvserver.media.segments import FileLog, SegmentFile, Segments


class Recorder(FileSystem):
    """The real file system; notes what is done to what, and fails what it is told to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failing = ""
        self.during_sync: Callable[[], None] | None = None  # called once: what another thread does meanwhile

    def _note(self, what: str) -> None:
        self.done.append(what)
        if what == self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def append(self, descriptor: int, data: bytes | memoryview, *, synced: bool) -> int:
        self._note("append synced" if synced else "append")
        return super().append(descriptor, data, synced=synced)

    def sync(self, descriptor: int) -> None:
        self._note("sync")
        super().sync(descriptor)
        if meanwhile := self.during_sync:
            self.during_sync = None
            meanwhile()

    def sync_folder(self, path: str) -> None:
        self._note("sync folder")
        super().sync_folder(path)

    def remove(self, path: str) -> None:
        self._note("remove")
        super().remove(path)


@pytest.fixture
def filesystem() -> Recorder:
    return Recorder()


@pytest.fixture
def segments(tmp_path: Path, filesystem: Recorder) -> Segments:
    return Segments(str(tmp_path / "dump.kvs"), filesystem)


@pytest.fixture
def log(tmp_path: Path, filesystem: Recorder) -> Iterator[FileLog]:
    log = FileLog(str(tmp_path / "dump.kvs"), filesystem)
    log.cut(1)
    yield log
    log.close()


def test_only_whole_names_are_segments(tmp_path: Path, segments: Segments) -> None:
    for name in ("dump.kvs", "dump.kvs.0000000012.journal", "dump.kvs.0000000003.journal", "dump.kvs.12.journal"):
        (tmp_path / name).touch()
    for name in ("dump.kvs.0000000004.journal.damaged", "other.kvs.0000000005.journal", "dump.kvs.00000000x6.journal"):
        (tmp_path / name).touch()
    assert segments.numbers() == [3, 12]


def test_new_segment_is_private_durable_and_never_an_old_one(segments: Segments, filesystem: Recorder) -> None:
    segments.create(1).close()
    assert os.stat(segments.path(1)).st_mode & 0o777 == 0o600
    assert filesystem.done[-1] == "sync folder"
    with pytest.raises(MediumError, match="there already"):
        segments.create(1)


def test_end_of_a_segment_is_synced_before_the_next_begins(log: FileLog, filesystem: Recorder) -> None:
    log.write(b"x")
    filesystem.done.clear()
    log.cut(2)
    assert filesystem.done[0] == "sync"
    assert not log.has_unsynced


def test_link_is_synced_before_anything_is_removed(log: FileLog, segments: Segments, filesystem: Recorder) -> None:
    log.write(b"x")
    log.cut(2)
    filesystem.done.clear()
    log.link(b"link")
    assert filesystem.done == ["append synced", "remove", "sync folder"]
    assert (segments.numbers(), log.needed_bytes) == ([2], 4)


def test_synced_write_leaves_nothing_unsynced_behind_it(log: FileLog, segments: Segments, filesystem: Recorder) -> None:
    filesystem.done.clear()
    log.write(b"a", synced=True)
    assert (filesystem.done, log.has_unsynced) == (["append synced"], False)
    filesystem.done.clear()
    log.write(b"b")
    assert (filesystem.done, log.has_unsynced) == (["append"], True)
    filesystem.done.clear()
    log.write(b"c", synced=True)  # a synced append makes no more durable than what it appends
    assert (filesystem.done, log.has_unsynced) == (["append", "sync"], False)
    assert Path(segments.path(1)).read_bytes() == b"abc"


def test_what_is_written_during_a_sync_is_still_unsynced(log: FileLog, filesystem: Recorder) -> None:
    log.write(b"a")
    filesystem.during_sync = lambda: log.write(b"b")
    assert log.sync() is True
    assert log.has_unsynced
    assert log.sync() is True
    assert not log.has_unsynced


@pytest.mark.parametrize("failing", ["append", "sync"])
def test_failure_lasts_until_a_cut_heals_it(log: FileLog, filesystem: Recorder, failing: str) -> None:
    filesystem.failing = failing

    def record() -> None:
        log.write(b"x")
        log.sync()

    with pytest.raises(MediumError):
        record()
    filesystem.failing = ""
    for attempt in (lambda: log.write(b"y"), log.sync, lambda: log.cut(2), lambda: log.link(b"z")):
        with pytest.raises(MediumPoisoned):
            attempt()
    log.cut(3, heals=True)
    log.write(b"y")
    assert log.sync() is True
    assert log.sync() is False


def test_removal_that_fails_is_a_failure(log: FileLog, filesystem: Recorder) -> None:
    log.cut(2)
    filesystem.failing = "remove"
    with pytest.raises(MediumError):
        log.link(b"link")
    assert log.failure


def test_set_aside_never_overwrites(segments: Segments) -> None:
    for _ in range(2):
        segments.create(1).close()
        segments.set_aside(segments.path(1), Aside.DAMAGED)
    assert segments.numbers() == []
    assert os.path.exists(segments.path(1) + ".damaged")
    assert os.path.exists(segments.path(1) + ".damaged.1")


# --- A spare: the next segment's file, made beforehand ---


def spare_of(segments: Segments) -> Path:
    return Path(segments.path(1)).with_name("dump.kvs.next-segment")


def test_cut_to_a_spare_waits_for_no_name_and_the_next_sync_makes_it_durable(
    log: FileLog, segments: Segments, filesystem: Recorder
) -> None:
    log.prepare()
    assert spare_of(segments).exists()
    filesystem.done.clear()
    log.cut(2)
    assert "sync folder" not in filesystem.done
    assert not spare_of(segments).exists()
    assert segments.numbers() == [1, 2]
    log.write(b"x", synced=True)
    assert filesystem.done[-2:] == ["sync", "sync folder"]
    filesystem.done.clear()
    log.write(b"y", synced=True)
    assert filesystem.done == ["append synced"]
    assert Path(segments.path(2)).read_bytes() == b"xy"


def test_name_that_is_not_made_durable_is_a_failure_of_what_was_written(log: FileLog, filesystem: Recorder) -> None:
    log.prepare()
    log.cut(2)
    filesystem.failing = "sync folder"
    with pytest.raises(MediumError):
        log.write(b"x", synced=True)
    assert log.failure
    assert log.has_unsynced


@pytest.mark.parametrize("harm", ["removed", "replaced", "cut short by a crash"])
def test_spare_that_others_have_touched_is_never_a_segment(log: FileLog, segments: Segments, harm: str) -> None:
    spare = spare_of(segments)
    if harm == "cut short by a crash":
        spare.write_bytes(b"of an earlier life")
        log.prepare()
        assert spare.read_bytes() == b""
    else:
        log.prepare()
        spare.unlink()
        if harm == "replaced":
            spare.write_bytes(b"foreign")
    log.cut(2)
    log.write(b"x", synced=True)
    assert Path(segments.path(2)).read_bytes() == b"x"


def test_spare_is_not_used_where_a_cut_heals(log: FileLog, segments: Segments, filesystem: Recorder) -> None:
    log.prepare()
    filesystem.done.clear()
    log.cut(2, heals=True)
    assert "sync folder" in filesystem.done, "the name is durable when the link is"
    assert spare_of(segments).exists()


def test_segments_behind_the_one_that_is_linked_stay_when_those_before_it_go(log: FileLog, segments: Segments) -> None:
    log.cut(2)
    log.write(b"link")
    log.cut(3)
    log.sync_all()
    log.drop_before(2)
    assert segments.numbers() == [2, 3]
    log.cut(4)
    assert log.drop_before(4, keeps_aside=True) == [f"{segments.path(number)}.dropped" for number in (2, 3)]


def test_segment_that_is_not_of_this_log_is_never_dropped(log: FileLog, segments: Segments) -> None:
    Path(segments.path(7)).write_bytes(b"of another server, whose folder stands here now")
    log.drop(7)
    assert segments.numbers() == [1, 7]


@pytest.mark.parametrize("refuses", [0, *NO_SUCH_CALL], ids=lambda number: errno.errorcode.get(number, "in one call"))
@pytest.mark.parametrize("synced", [False, True])
def test_extended_file_holds_all_and_is_synced_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: int, synced: bool
) -> None:
    calls: list[str] = []
    pwritev, fsync = os.pwritev, os.fsync

    def write(descriptor: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        if refuses:
            raise OSError(refuses, os.strerror(refuses))
        calls.append("synced write" if flags & os.RWF_DSYNC else "write")
        return pwritev(descriptor, [memoryview(bytes(buffers[0]))[:5]], offset, flags)  # some of it

    def sync(descriptor: int) -> None:
        calls.append("sync")
        fsync(descriptor)

    with SegmentFile(str(tmp_path / "m.kvs")) as medium:
        medium.append(b"before")
        monkeypatch.setattr(os, "pwritev", write)
        monkeypatch.setattr(os, "fsync", sync)
        medium.extend(b"0123456789ab", synced=synced)
        medium.extend(b"c", synced=synced)
        assert medium.read_all() == b"before0123456789abc"
    if refuses:
        assert calls == ["sync", "sync"] * synced
    else:
        assert calls == ["synced write" if synced else "write"] * 4


def test_extension_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with SegmentFile(str(tmp_path / "m.kvs")) as medium:
        monkeypatch.setattr(os, "pwritev", write)
        with pytest.raises(MediumError, match="No space left"):
            medium.extend(b"x", synced=True)
