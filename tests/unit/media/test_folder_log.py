"""The log in a folder: writers that are killed, disks that fail, power that fails, and damage."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from helpers.disks import Disk
from helpers.simulated_disk import ROOT, Fault, PowerLoss, SimulatedDisk
from kvserver.errors import MediumError, Refused, Trimmed, Unknown
from kvserver.formats.manifest import BEGINNING, Position
from kvserver.media import folder_log
from kvserver.media.filesystem import FileSystem
from kvserver.media.folder_entries import End, Pending, encode_entry, segment_name
from kvserver.media.folder_log import FolderLog
from kvserver.media.shared import Entry, Mark, digest_of

# Campaigns set more.
POWER_LOSSES = int(os.environ.get("KVSERVER_FOLDER_POWER_LOSSES", "150"))
KILLS = int(os.environ.get("KVSERVER_FOLDER_KILLS", "3"))
LONG_S = 30.0


def next_mark(last: Entry | None, epoch: int = 1) -> Mark:
    return Mark(epoch, last.mark.number + 1, digest_of(last.mark, last.data)) if last else Mark(epoch, 1, "")


def append(log: FolderLog, last: Entry | None, data: bytes, epoch: int = 1) -> Entry:
    mark = next_mark(last, epoch)
    return Entry(log.append(data, mark, last.position if last else BEGINNING), mark, data)


def fill(log: FolderLog, count: int, size: int = 10) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(count):
        entries.append(append(log, entries[-1] if entries else None, b"%d" % number * size))
    return entries


def all_of(log: FolderLog, after: Position = BEGINNING) -> list[Entry]:
    entries: list[Entry] = []
    while found := log.read(entries[-1].position if entries else after, 0):
        entries += found
    return entries


def segments_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("log-*.entries"))


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Each test ends without an open descriptor: a log has none between its calls."""
    before = descriptors()
    yield
    assert descriptors() <= before


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


# Segments


def test_name_of_the_first_segment_is_that_of_the_beginning(tmp_path: Path) -> None:
    FolderLog(str(tmp_path))
    assert [path.name for path in segments_in(tmp_path)] == [segment_name(BEGINNING)]


def test_segments_are_read_on_and_trimmed_as_a_whole(tmp_path: Path) -> None:
    log = FolderLog(str(tmp_path), segment_bytes=1000)
    entries = fill(log, 40)
    assert len(segments_in(tmp_path)) > 5
    for each in (log, FolderLog(str(tmp_path))):
        for place in (0, 1, 5, 6, 7, 38):
            assert all_of(each, entries[place].position) == entries[place + 1 :]
        assert all_of(each) == entries
    behind = FolderLog(str(tmp_path))
    assert behind.read(BEGINNING, 0)
    log.trim(entries[20].position)
    assert len(segments_in(tmp_path)) < 5
    for each in (log, behind, FolderLog(str(tmp_path))):
        with pytest.raises(Trimmed):
            each.read(BEGINNING, 0)
        assert all_of(each, entries[20].position) == entries[21:]
    log.trim(entries[-1].position)
    assert len(segments_in(tmp_path)) == 1
    assert append(FolderLog(str(tmp_path)), entries[-1], b"next").position == Position(1, 41)


def test_reader_goes_on_in_the_next_segment(tmp_path: Path) -> None:
    writer, reader = FolderLog(str(tmp_path), segment_bytes=500), FolderLog(str(tmp_path))
    last: Entry | None = None
    for number in range(20):
        entry = append(writer, last, b"%d" % number)
        assert reader.read(last.position if last else BEGINNING, 0) == [entry]
        last = entry


# Writers that are killed


def test_torn_end_is_cut_and_a_whole_entry_stays(tmp_path: Path) -> None:
    entries = fill(FolderLog(str(tmp_path)), 3)
    mark = next_mark(entries[-1])
    left = Entry(Position(1, 4), mark, b"left")
    encoded = encode_entry(left)
    (segment,) = segments_in(tmp_path)
    content = segment.read_bytes()
    for length in (1, 4, 5, 60, len(encoded) - 1):
        segment.write_bytes(content + encoded[:length])
        reader = FolderLog(str(tmp_path))
        assert segment.read_bytes() == content
        assert all_of(reader) == entries
    reader = FolderLog(str(tmp_path))
    segment.write_bytes(content + encoded)
    # Nobody writes, and it is seen even so: else nobody could take the log over.
    assert reader.read(entries[-1].position, LONG_S) == [left]
    with pytest.raises(Refused):
        append(FolderLog(str(tmp_path)), entries[-1], b"rival")
    append(FolderLog(str(tmp_path)), left, b"next")


class Killed(Exception):
    """The writer's process ends here."""


class Killing(FileSystem):
    """A file system whose process is killed amid a write to a segment, so many bytes before its end."""

    def __init__(self) -> None:
        self.missing = 0

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        if self.missing and bytes(data[:4]) == b"KVE1":
            super().write(descriptor, data[: len(data) - self.missing], offset)
            raise Killed
        return super().write(descriptor, data, offset)


@pytest.mark.parametrize("missing", [1, 100, 5000, 5200])
def test_value_that_looks_like_an_entry_is_cut_with_the_entry_that_it_is_in(tmp_path: Path, missing: int) -> None:
    system = Killing()
    log = FolderLog(str(tmp_path), system)
    entries = fill(log, 3)
    inner = encode_entry(Entry(Position(1, 10**6), Mark(1, 10**6, ""), b"x"))
    system.missing = missing
    with pytest.raises(Killed):
        append(log, entries[-1], inner + b"." * 5000)
    assert all_of(FolderLog(str(tmp_path), is_reader=True)) == entries
    other = FolderLog(str(tmp_path))
    assert all_of(other) == entries
    # Damage before what was acknowledged is told, and nothing is cut.
    entries.append(append(other, entries[-1], b"more"))
    entries.append(append(other, entries[-1], b"last"))
    (segment,) = segments_in(tmp_path)
    content = segment.read_bytes().replace(b"more", b"MORE")
    segment.write_bytes(content)
    (tmp_path / "log.lock").write_bytes(b"")
    with pytest.raises(MediumError, match="and goes on behind that"):
        FolderLog(str(tmp_path))
    assert segment.read_bytes() == content


def test_what_was_pending_before_excuses_no_damage(tmp_path: Path) -> None:
    log = FolderLog(str(tmp_path))
    entries = fill(log, 5)
    (segment,) = segments_in(tmp_path)
    lengths = [len(encode_entry(entry)) for entry in entries]
    begin, content = sum(lengths[:3]), segment.read_bytes()
    damaged = content[:begin] + b"KVE1 " + content[begin + 5 :].replace(b"3", b"4", 1)
    assert damaged != content
    segment.write_bytes(damaged)
    end = End(BEGINNING, begin, entries[2].position).encode()
    # The writer had this entry to add, and it was there: another one came behind it.
    pending = Pending(BEGINNING, begin, begin + lengths[3]).encode()
    (tmp_path / "log.lock").write_bytes(end + pending)
    with pytest.raises(MediumError, match="and goes on behind that"):
        FolderLog(str(tmp_path))
    assert segment.read_bytes() == damaged


def test_reader_sees_nothing_that_a_writer_has_not_synced(tmp_path: Path) -> None:
    disk = Disk()
    writer, reader = FolderLog(str(tmp_path), disk), FolderLog(str(tmp_path))
    entries = fill(writer, 2)
    seen: list[list[Entry]] = []
    sync = disk.sync

    def look_and_sync(descriptor: int) -> None:
        # The writer has the lock.
        seen.append(reader.read(entries[-1].position, 3 * folder_log.SETTLE_S))
        sync(descriptor)

    disk.sync = look_and_sync  # type: ignore[method-assign]
    third = append(writer, entries[-1], b"third")
    assert seen == [[]]
    assert reader.read(entries[-1].position, 0) == [third]


WRITER = """
import sys
from kvserver.media.folder_log import FolderLog
from kvserver.media.shared import Mark, digest_of
log = FolderLog(sys.argv[1], segment_bytes=20_000)
entries = []
last = None
while found := log.read(last.position if last else log_begin, 0):
    last = found[-1]
epoch = last.mark.epoch + 1 if last else 1
mark = Mark(epoch, last.mark.number + 1, digest_of(last.mark, last.data)) if last else Mark(1, 1, "")
position = last.position if last else log_begin
number = 0
while True:
    data = b"%d %d " % (epoch, number) + b"x" * (number * 37 % 3000)
    position = log.append(data, mark, position)
    print(epoch, number, flush=True)
    mark = Mark(epoch, mark.number + 1, digest_of(mark, data))
    number += 1
""".replace("log_begin", "(__import__('kvserver.formats.manifest', fromlist=['x']).BEGINNING)")


def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    acknowledged: list[str] = []
    for _ in range(KILLS):
        arguments = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            acknowledged += [process.stdout.readline().strip() for _ in range(rng.randrange(1, 60))]
            process.kill()
            # Some more lines were on their way.
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    entries = all_of(FolderLog(str(tmp_path)))
    there = [entry.data.decode().rsplit(" ", 1)[0] for entry in entries]
    assert "" not in acknowledged
    assert len(set(there)) == len(there)
    assert len(there) - KILLS <= len(acknowledged) <= len(there)
    assert set(acknowledged) <= set(there)
    for last, entry in pairwise(entries):
        assert entry.mark[1:] == (last.mark.number + 1, digest_of(last.mark, last.data))


def test_lock_of_one_who_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_log, "LOCK_WAIT_S", 0.05)
    log, filesystem = FolderLog(str(tmp_path)), FileSystem()
    descriptor = filesystem.open(str(tmp_path / "log.lock"))
    filesystem.lock(descriptor)
    with pytest.raises(MediumError, match=r"/log\.lock is locked by somebody who neither goes on nor ends"):
        append(log, None, b"data")
    assert log.read(BEGINNING, 0.3) == []
    filesystem.close(descriptor)
    append(log, None, b"data")


# Disks that fail


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.mark.parametrize("method", ["write", "sync"])
def test_failed_append_is_taken_back(tmp_path: Path, disk: Disk, method: str) -> None:
    log, other = FolderLog(str(tmp_path), disk), FolderLog(str(tmp_path))
    entries = fill(log, 2)
    disk.fail(method, errno.EIO)
    with pytest.raises(MediumError, match=r"^cannot write the log in .*: Input/output error$") as failure:
        append(log, entries[-1], b"lost")
    assert not isinstance(failure.value, Unknown)
    assert all_of(other) == entries
    append(log, entries[-1], b"found")


def test_disk_that_is_full_takes_a_part_and_gives_it_back(tmp_path: Path, disk: Disk) -> None:
    log = FolderLog(str(tmp_path), disk)
    entries = fill(log, 2)
    size = os.path.getsize(segments_in(tmp_path)[0])
    disk.most_per_write = 100
    disk.capacity = size + 200
    with pytest.raises(MediumError, match="No space left on device"):
        append(log, entries[-1], b"x" * 1000)
    assert os.path.getsize(segments_in(tmp_path)[0]) == size
    disk.capacity = None
    entries.append(append(log, entries[-1], b"x" * 1000))
    assert all_of(FolderLog(str(tmp_path))) == entries


def test_append_that_can_not_be_taken_back_is_unknown_and_written_again(tmp_path: Path, disk: Disk) -> None:
    log = FolderLog(str(tmp_path), disk)
    entries = fill(log, 2)
    disk.fail("sync", errno.EIO)
    disk.fail("truncate", errno.EIO)
    with pytest.raises(Unknown):
        append(log, entries[-1], b"unknown")
    # Whoever looks finds it, and by that it is durable.
    disk.calls.clear()
    (found,) = log.read(entries[-1].position, LONG_S)
    assert found.data == b"unknown"
    methods = [call[0] for call in disk.calls if str(call[1]).startswith("log-")]
    assert methods.index("write") < methods.index("sync")


def test_folder_that_can_not_be_used_is_told_in_one_line(tmp_path: Path, disk: Disk) -> None:
    disk.fail("open", errno.EACCES)
    with pytest.raises(MediumError, match=r"^cannot open the log in .*: Permission denied$"):
        FolderLog(str(tmp_path), disk)


# Damage


def test_damage_is_told_and_nothing_is_touched(tmp_path: Path) -> None:
    fill(FolderLog(str(tmp_path)), 5)
    (segment,) = segments_in(tmp_path)
    content = bytearray(segment.read_bytes())
    place = bytes(content).index(b"2222")
    content[place] ^= 1
    segment.write_bytes(content)
    log = FolderLog(str(tmp_path))
    with pytest.raises(MediumError, match=r"\.entries is damaged at byte \d+: the entry there is damaged$"):
        all_of(log)
    # The end is not known any more, either: what is behind the damage would be cut off.
    (tmp_path / "log.lock").write_bytes(b"garbage")
    with pytest.raises(MediumError, match=r"is damaged at byte \d+, and goes on behind that$"):
        FolderLog(str(tmp_path))
    assert segment.read_bytes() == content


def test_segment_that_became_shorter_is_told(tmp_path: Path) -> None:
    log = FolderLog(str(tmp_path))
    entries = fill(log, 5)
    (segment,) = segments_in(tmp_path)
    os.truncate(segment, 300)
    with pytest.raises(MediumError, match=r"has 300 bytes, and had \d+$"):
        append(log, entries[-1], b"data")
    with pytest.raises(MediumError, match="it ends amid an entry"):
        all_of(log)
    segment.unlink()
    with pytest.raises(MediumError, match=r"^the segments of the log in .* are gone$"):
        append(log, entries[-1], b"data")


@pytest.mark.parametrize("end", [b"", b"garbage", b"0" * 200])
def test_end_is_found_again_where_its_line_is_lost(tmp_path: Path, end: bytes) -> None:
    entries = fill(FolderLog(str(tmp_path), segment_bytes=500), 10)
    (tmp_path / "log.lock").write_bytes(end)
    log = FolderLog(str(tmp_path))
    assert all_of(log) == entries
    append(log, entries[-1], b"next")


@pytest.mark.parametrize("torn", [b"", b"KVE1 "])
def test_reader_finds_all_where_the_lock_is_missing_and_makes_none(tmp_path: Path, torn: bytes) -> None:
    entries = fill(FolderLog(str(tmp_path), segment_bytes=500), 10)
    lock, last = tmp_path / "log.lock", segments_in(tmp_path)[-1]
    lock.unlink()
    last.write_bytes(last.read_bytes() + torn)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    reader = FolderLog(str(tmp_path), is_reader=True)
    assert all_of(reader) == entries
    assert all_of(reader, entries[4].position) == entries[5:]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for path in segments_in(tmp_path):
        path.unlink()
    assert FolderLog(str(tmp_path), is_reader=True).read(BEGINNING, 0) == []


def test_earlier_end_is_moved_on(tmp_path: Path) -> None:
    log = FolderLog(str(tmp_path), segment_bytes=500)
    entries = fill(log, 3)
    line = (tmp_path / "log.lock").read_bytes()
    for _ in range(10):
        entries.append(append(log, entries[-1], b"data"))
    (tmp_path / "log.lock").write_bytes(line)
    assert all_of(FolderLog(str(tmp_path))) == entries
    (tmp_path / "log.lock").write_bytes(line)
    log.trim(entries[-1].position)
    assert all_of(FolderLog(str(tmp_path)), entries[-2].position) == entries[-1:]


# Power losses


def simulated(disk: SimulatedDisk) -> FolderLog:
    return FolderLog(ROOT, disk, segment_bytes=2000)


def lose_power_by(seed: int) -> int:
    """Write until the power fails or a call does, by this seed; look at what is there. The number of acknowledged entries."""
    rng = random.Random(seed)
    disk = SimulatedDisk(rng)
    entries: list[Entry] = []
    seen = trimmed = 0
    for _ in range(3):
        disk.power_loss_at = disk.call_count + rng.randrange(1, 150)
        if rng.random() < 0.3:
            disk.fault = Fault(disk.call_count + rng.randrange(1, 150))
        attempted: list[Entry] = []
        with suppress(PowerLoss):
            logs: list[FolderLog] = []
            while True:
                with suppress(MediumError):
                    if not logs or rng.random() < 0.05:
                        logs.append(simulated(disk))
                    log = rng.choice(logs)
                    if entries and rng.random() < 0.1:
                        place = rng.randrange(len(entries))
                        trimmed = max(trimmed, place)
                        log.trim(entries[place].position)
                    last = entries[-1] if entries else None
                    if found := log.read(last.position if last else BEGINNING, 0):
                        # Settled after an unknown one.
                        assert found == attempted[-1:], seed
                        entries += found
                    seen = len(entries)
                    last = entries[-1] if entries else None
                    data = rng.randbytes(rng.choice((0, 10, 600)))
                    position = Position(1, last.position.number + 1 if last else 1)
                    attempted.append(Entry(position, next_mark(last), data))
                    entries.append(append(log, last, data))
        disk.fault = None
        disk.crash(rng)
        log = simulated(disk)
        try:
            start = 0
            there = all_of(log)
        except Trimmed:
            start = trimmed
            there = all_of(log, entries[trimmed].position)
            start += 1
        assert there[: len(entries) - start] == entries[start:], seed
        rest = there[len(entries) - start :]
        # The one that was under way may be there or not.
        assert rest in ([], attempted[-1:]), seed
        assert seen <= len(entries)
        entries += rest
    return len(entries)


def test_power_losses_take_nothing_that_was_acknowledged() -> None:
    first = random.randrange(1 << 32)
    print(f"seeds {first} to {first + POWER_LOSSES - 1}")
    count = sum(map(lose_power_by, range(first, first + POWER_LOSSES)))
    print(f"{count} entries")
    assert count > POWER_LOSSES
