"""A medium that is a file: whose it is, in which order it writes and syncs, and what a disk may do to it."""

from __future__ import annotations

import errno
import gc
import os
import signal
import stat
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from helpers.disks import Disk, contents_after_power_loss
from helpers.frames import FIRST, NAME, SECOND, put
from helpers.servers import kvserver_environment
from kvserver.errors import MediumError, MediumLocked, MediumPoisoned
from kvserver.formats.frame import HEADER_SIZE, UNWRITTEN, decode_header
from kvserver.formats.scan import Tail
from kvserver.library.keeping import run
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem
from kvserver.media.medium import Medium
from kvserver.media.memory import MemoryMedium
from kvserver.types import PLAIN

# --- A file: what it is, and whose ---


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_and_folder_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "folder" / NAME
    old = os.umask(0)
    try:
        with FileMedium(path) as medium:
            medium.append(b"x")
            medium.set_aside(0)
            rewrite = medium.begin_rewrite()
            list(rewrite.copy(0, 1))
            rewrite.commit(None)
    finally:
        os.umask(old)
    assert mode(path.parent) == 0o700
    assert sorted(mode(found) for found in path.parent.iterdir()) == [0o600, 0o600]


def test_content_outlives_the_object(tmp_path: Path) -> None:
    with FileMedium(tmp_path / NAME) as medium:
        put(medium.begin_frame(), FIRST)
    with FileMedium(str(tmp_path / NAME)) as medium:
        assert medium.read_all() == FIRST
        put(medium.begin_frame(), SECOND)
    assert (tmp_path / NAME).read_bytes() == FIRST + SECOND


def test_file_that_is_open_is_refused_in_the_same_process_until_it_is_closed(tmp_path: Path) -> None:
    first = FileMedium(tmp_path / NAME)
    with pytest.raises(MediumLocked, match=NAME):
        FileMedium(tmp_path / NAME)
    first.append(FIRST)
    first.close()
    first.close()
    with FileMedium(tmp_path / NAME) as second:
        assert second.read_all() == FIRST


def test_file_stays_locked_behind_a_rewrite(tmp_path: Path) -> None:
    with FileMedium(tmp_path / NAME) as medium:
        put(medium.begin_rewrite(), FIRST)
        with pytest.raises(MediumLocked):
            FileMedium(tmp_path / NAME)


def test_file_held_by_another_process_is_refused_and_free_once_that_is_killed(tmp_path: Path) -> None:
    program = "import sys, kvserver; m = kvserver.FileMedium(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / NAME)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=kvserver_environment(),
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(MediumLocked, match="another process"):
            FileMedium(tmp_path / NAME)
        other.send_signal(signal.SIGKILL)
    FileMedium(tmp_path / NAME).close()


def test_file_that_was_renamed_over_while_it_was_opened_is_opened_again(tmp_path: Path) -> None:
    """Whoever held the lock may have put a new file in the place: the lock on the old one is worth nothing."""
    path = tmp_path / NAME
    path.write_bytes(b"old")

    class Racing(FileSystem):
        has_raced = False

        def lock(self, descriptor: int) -> None:
            super().lock(descriptor)
            if not self.has_raced:
                self.has_raced = True
                (tmp_path / "other").write_bytes(FIRST)
                os.replace(tmp_path / "other", path)

    with FileMedium(path, Racing()) as medium:
        assert medium.read_all() == FIRST
        with pytest.raises(MediumLocked):
            FileMedium(path)


@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "folder", "device", "folder that is a file"])
def test_what_is_no_regular_file_is_refused_at_once_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / NAME
    target = tmp_path / "target"
    match kind:
        case "link":
            target.write_bytes(b"precious")
            path.symlink_to(target)
        case "dangling link":
            path.symlink_to(target)
        case "FIFO":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path = Path("/dev/null")
        case "folder that is a file":
            target.write_bytes(b"precious")
            path = target / NAME
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(MediumError, match=f"cannot open {path}: ") as raised:
        FileMedium(path)
    assert "\n" not in str(raised.value)
    if kind == "dangling link":
        assert not target.exists()
    elif target.exists():
        assert target.read_bytes() == b"precious"
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor is left open"


def test_folder_without_permission_is_told_in_one_line(tmp_path: Path) -> None:
    disk = Disk()
    disk.fail("open", errno.EACCES)
    with pytest.raises(MediumError, match=rf"cannot open {tmp_path / NAME}: Permission denied$"):
        FileMedium(tmp_path / NAME, disk)


def test_file_that_cannot_be_synced_when_it_is_new_is_refused_and_not_held(tmp_path: Path) -> None:
    for method in ("sync", "sync_folder"):
        disk = Disk()
        disk.fail(method, errno.EIO)
        path = tmp_path / method
        with pytest.raises(MediumError, match="cannot open"):
            FileMedium(path, disk)
        FileMedium(path).close()


def test_relative_path_is_that_of_the_folder_it_was_opened_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with FileMedium(NAME) as medium:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        put(medium.begin_rewrite(), FIRST)
    assert (tmp_path / NAME).read_bytes() == FIRST


# --- A file: the order of its calls ---


def test_new_file_and_folder_have_their_names_synced(tmp_path: Path) -> None:
    disk = Disk()
    FileMedium(tmp_path / "data" / NAME, disk).close()
    assert disk.names("make_folder", "open", "sync", "sync_folder") == [
        ("make_folder", "data"),
        ("sync_folder", tmp_path.name),
        ("open", NAME),
        ("sync", NAME),
        ("sync_folder", "data"),
        ("sync_folder", tmp_path.name),
    ]


def test_every_folder_that_was_made_has_its_name_synced(tmp_path: Path) -> None:
    disk = Disk()
    FileMedium(tmp_path / "one" / "two" / NAME, disk).close()
    synced = [name for _, name in disk.names("sync_folder")]
    assert {tmp_path.name, "one", "two"} <= set(synced)


def test_file_that_was_there_is_synced_but_not_written(tmp_path: Path) -> None:
    """The program that made the folder may have been killed before its name was durable."""
    (tmp_path / NAME).write_bytes(FIRST)
    disk = Disk()
    FileMedium(tmp_path / NAME, disk).close()
    assert disk.names("write", "truncate", "rename", "remove") == []
    assert ("sync", NAME) in disk.names("sync")
    assert ("sync_folder", tmp_path.name) in disk.names("sync_folder")


def test_header_of_a_frame_is_written_between_two_syncs_behind_its_payload(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(FIRST)
        disk.calls.clear()
        put(medium.begin_frame(), SECOND, pieces=2)
    start, payload = len(FIRST), SECOND[HEADER_SIZE:]
    half = -(-len(payload) // 2)
    assert disk.calls == [
        ("write", NAME, start, UNWRITTEN),
        ("write", NAME, start + HEADER_SIZE, payload[:half]),
        ("write", NAME, start + HEADER_SIZE + half, payload[half:]),
        ("sync", NAME),
        ("write", NAME, start, SECOND[:HEADER_SIZE]),
        ("sync", NAME),
    ]


def test_append_is_synced_and_so_is_a_cut(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        disk.calls.clear()
        medium.append(b"data")
        medium.truncate(1)
    assert disk.calls == [("write", NAME, 0, b"data"), ("sync", NAME), ("truncate", NAME, 1), ("sync", NAME)]


def test_damage_is_durable_in_its_own_file_before_set_aside_returns(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(b"0123456789")
        disk.calls.clear()
        place = os.path.basename(medium.set_aside(4))
    assert place.startswith(NAME + ".damaged-4")
    assert disk.calls == [
        ("open", place),
        ("write", place, 0, b"456789"),
        ("sync", place),
        ("sync_folder", tmp_path.name),
    ]


def test_rewrite_is_synced_and_locked_before_it_is_renamed_and_the_folder_after(tmp_path: Path) -> None:
    disk = Disk()
    new = NAME + ".new"
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(FIRST)
        disk.calls.clear()
        rewrite = medium.begin_rewrite()
        list(rewrite.copy(0, len(FIRST)))
        put(rewrite, SECOND)
        disk.calls.remove(("lock", new))  # anywhere before the rename, see below
        assert disk.calls == [
            ("open", new),
            ("write", new, 0, FIRST),
            ("write", new, len(FIRST), UNWRITTEN),
            ("write", new, len(FIRST) + HEADER_SIZE, SECOND[HEADER_SIZE:]),
            ("sync", new),
            ("write", new, len(FIRST), SECOND[:HEADER_SIZE]),
            ("sync", new),
            ("rename", new, NAME),
            ("sync_folder", tmp_path.name),
        ]
        with pytest.raises(MediumLocked):
            FileMedium(tmp_path / NAME)


def test_rewrite_is_locked_before_it_has_the_name(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        put(medium.begin_rewrite(), FIRST)
        calls = disk.names("lock", "rename")
    assert calls == [("lock", NAME), ("lock", NAME + ".new"), ("rename", NAME + ".new")]


def test_unfinished_copy_that_a_crash_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / (NAME + ".new")).write_bytes(b"unfinished" * 1_000)
    with FileMedium(tmp_path / NAME) as medium:
        put(medium.begin_rewrite(), FIRST)
        assert medium.read_all() == FIRST
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_aborted_rewrite_leaves_no_file(tmp_path: Path) -> None:
    with FileMedium(tmp_path / NAME) as medium:
        rewrite = medium.begin_rewrite()
        rewrite.write(b"x")
        rewrite.abort()
        rewrite.abort()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


# --- A file: what a disk may do to it ---


def test_short_writes_are_continued(tmp_path: Path) -> None:
    disk = Disk()
    disk.most_per_write = 7
    with FileMedium(tmp_path / NAME, disk) as medium:
        put(medium.begin_frame(), SECOND)
        medium.append(FIRST)
        assert medium.read_all() == SECOND + FIRST
        assert Path(medium.set_aside(0)).read_bytes() == SECOND + FIRST
        rewrite = medium.begin_rewrite()
        list(rewrite.copy(0, len(SECOND)))
        put(rewrite, FIRST)
        assert medium.read_all() == SECOND + FIRST


def test_short_reads_are_continued(tmp_path: Path) -> None:
    class Short(FileSystem):
        def read(self, descriptor: int, length: int, offset: int) -> bytes:
            return super().read(descriptor, min(length, 7), offset)

    with FileMedium(tmp_path / NAME, Short()) as medium:
        medium.append(SECOND)
        assert medium.read_all() == SECOND


@pytest.mark.parametrize("room", range(0, len(SECOND), 60))
def test_full_disk_gives_its_space_back_and_keeps_the_earlier_frames(tmp_path: Path, room: int) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(FIRST)
        disk.capacity = len(FIRST) + room
        frame = medium.begin_frame()
        with pytest.raises(MediumError, match="No space left"):
            put(frame, SECOND)
        frame.abort()
        with pytest.raises(MediumError, match="No space left"):
            medium.append(SECOND)
        assert (tmp_path / NAME).read_bytes() == medium.read_all() == FIRST
        assert not medium.poisoned, "a full disk is no reason to distrust what is synced"
        disk.capacity = None
        put(medium.begin_frame(), SECOND)
        assert medium.read_all() == FIRST + SECOND


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_failed_write_poisons_what_full_disks_do_not(tmp_path: Path, number: int) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(FIRST)
        disk.fail("write", number)
        with pytest.raises(MediumError):
            medium.append(SECOND)
        assert medium.poisoned
        assert medium.read_all() == FIRST


def test_failed_write_leaves_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    """Its bytes would stay for ever in a server, whose collector looks at what is new alone."""
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        gc.collect()
        gc.disable()
        try:
            disk.fail("write", errno.ENOSPC)
            frame = medium.begin_frame()
            gone = weakref.ref(frame)
            try:
                frame.write(b"x" * 1000)
            except MediumError:
                frame.abort()
            del frame
            assert gone() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("fault", [("sync", 1), ("sync", 2), ("truncate", 1)])
def test_failed_sync_poisons_until_a_rewrite_is_committed(tmp_path: Path, fault: tuple[str, int]) -> None:
    method, call = fault
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(FIRST)
        disk.fail(method, *[0] * (call - 1), errno.EIO)
        frame = medium.begin_frame()
        if method == "truncate":
            frame.write(b"x")
        else:
            with pytest.raises(MediumError, match="cannot sync"):
                put(frame, SECOND)
        frame.abort()
        assert "Input/output error" in medium.poisoned
        disk.calls.clear()
        for _ in range(2):
            with pytest.raises(MediumPoisoned, match="Input/output error"):
                medium.begin_frame()
            with pytest.raises(MediumPoisoned):
                medium.append(SECOND)
        assert disk.calls == [], "what failed to sync is written to again"
        rewrite = medium.begin_rewrite()
        list(rewrite.copy(0, len(FIRST)))
        put(rewrite, SECOND)
        assert medium.poisoned == ""
        assert medium.read_all() == FIRST + SECOND


@pytest.mark.parametrize(
    ("method", "call"),
    [("open", 1), ("write", 1), ("write", 2), ("write", 3), ("write", 4), ("sync", 1), ("sync", 2), ("rename", 1)],
)
def test_failed_rewrite_leaves_the_old_file_in_its_place(tmp_path: Path, method: str, call: int) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(FIRST)
        disk.fail(method, *[0] * (call - 1), errno.EIO)
        with pytest.raises(MediumError, match=NAME):
            rewrite_whole(medium)
        assert not disk.faults[method]
        assert medium.read_all() == (tmp_path / NAME).read_bytes() == FIRST
        assert not medium.poisoned
        assert [path.name for path in tmp_path.iterdir()] == [NAME]
        put(medium.begin_frame(), SECOND)
        assert medium.read_all() == FIRST + SECOND


def rewrite_whole(medium: Medium) -> None:
    """As a caller has to do it."""
    rewrite = medium.begin_rewrite()
    try:
        list(rewrite.copy(0, len(FIRST)))
        put(rewrite, SECOND)
    except MediumError:
        rewrite.abort()
        raise


def test_rename_that_may_not_be_durable_is_not_believed(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        rewrite = medium.begin_rewrite()
        disk.fail("sync_folder", errno.EIO)
        with pytest.raises(MediumError, match="sync the folder"):
            put(rewrite, FIRST)
        rewrite.abort()
        assert medium.poisoned
        assert medium.read_all() == FIRST
        with pytest.raises(MediumPoisoned):
            medium.append(SECOND)
        put(medium.begin_rewrite(), SECOND)
        assert not medium.poisoned


def test_failed_read_is_a_medium_error_that_names_the_file(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(FIRST)
        disk.is_broken_for.add("read")
        with pytest.raises(MediumError, match=rf"cannot read .*{NAME}: Input/output error"):
            medium.read_all()


def test_power_loss_at_any_call_of_a_flush_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(FIRST)
        disk.calls.clear()
        put(medium.begin_frame(), SECOND, pieces=3)
    for count in range(len(disk.calls) + 1):
        for content in contents_after_power_loss(FIRST, disk.calls[:count]):
            result = run(MemoryMedium(content), PLAIN, load=False)
            assert [frame.offset for frame in result.frames] in ([0], [0, len(FIRST)])
            assert result.tail is not Tail.DAMAGED
    assert set(contents_after_power_loss(FIRST, disk.calls)) == {FIRST + SECOND}


def test_power_loss_at_any_call_of_a_failed_flush_leaves_the_old_state(tmp_path: Path) -> None:
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        medium.append(FIRST)
        disk.calls.clear()
        disk.capacity = len(FIRST) + 300
        frame = medium.begin_frame()
        with pytest.raises(MediumError):
            put(frame, SECOND, pieces=3)
        frame.abort()
    for count in range(len(disk.calls) + 1):
        for content in contents_after_power_loss(FIRST, disk.calls[:count]):
            result = run(MemoryMedium(content), PLAIN, load=False)
            assert [frame.offset for frame in result.frames] == [0]
            assert result.tail is not Tail.DAMAGED


def test_header_on_disk_means_the_payload_was_synced_before(tmp_path: Path) -> None:
    """A torn frame can be recognized: there is no moment at which a header stands before bytes that may be lost."""
    disk = Disk()
    with FileMedium(tmp_path / NAME, disk) as medium:
        put(medium.begin_frame(), SECOND, pieces=3)
        put(medium.begin_rewrite(), SECOND, pieces=3)
    is_dirty = False
    headers = 0
    for call in disk.calls:
        if call[0] == "write":
            data = call[3]
            assert isinstance(data, bytes)
            if decode_header(data):
                headers += 1
                assert not is_dirty
            is_dirty = True
        elif call[0] == "sync":
            is_dirty = False
    assert headers == 2
