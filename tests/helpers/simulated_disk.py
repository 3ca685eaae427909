"""A disk in memory for tests: it counts calls, fails the call that it is told to, and forgets what was not synced.

A power loss keeps by chance what a real file system may keep: of each file any subset of the sectors written since its last
sync; the length of a file, and the names in a folder, as they were at some moment since their last sync. A failed sync may
lose sectors for good while reads go on showing them, and the next sync succeeds without them.
"""

from __future__ import annotations

import asyncio
import errno as numbers
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kvserver.media.filesystem import FileSystem, Identity
from kvserver.persistence.disk import Disk

SECTOR_BYTES = 512
ROOT = "/simulated"
T = TypeVar("T")


class PowerLoss(BaseException):
    """The machine stopped in the middle of a call. Every later call raises this, too, until `crash`."""


@dataclass
class Fault:
    """A failure of a call.

    - `at` is the number of the call, from 1 on, among the calls of its `kind`, or among all if the kind is empty.
    - If it is `for_good`, every later call of the kind fails, too.
    - If it is `short`, a write doesn't fail, but takes only a part of its bytes.
    """

    at: int
    kind: str = ""
    errno: int = numbers.EIO
    for_good: bool = False
    short: bool = False

    def hits(self, number: int) -> bool:
        return number == self.at or (self.for_good and number > self.at)


class _File:
    """An inode: the content that reads show, and the content on the platter."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.platter = bytearray()
        # The sectors that differ, as far as the kernel knows, but for those in flight.
        self.dirty: set[int] = set()
        # The sectors that a sync has begun to write.
        self.in_flight: set[int] = set()
        # The sectors that differ while the kernel takes them for equal.
        self.lost: set[int] = set()
        self.is_broken = False
        # The length at the last sync, then after each change.
        self.lengths = [0]
        # The number of lengths that were there before these.
        self.forgotten = 0

    def write(self, data: bytes, offset: int) -> None:
        self.content.extend(bytes(max(0, offset - len(self.content))))
        self.content[offset : offset + len(data)] = data
        self._touch(offset, offset + len(data))

    def truncate(self, size: int) -> None:
        end = max(size, len(self.content))
        start = min(size, len(self.content))
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))
        self._touch(start, end)

    def _touch(self, start: int, end: int) -> None:
        sectors = range(start // SECTOR_BYTES, (end + SECTOR_BYTES - 1) // SECTOR_BYTES)
        self.dirty.update(sectors)
        self.lost.difference_update(sectors)
        if len(self.content) != self.lengths[-1]:
            self.lengths.append(len(self.content))

    def sync(self) -> None:
        self.end_sync(self.begin_sync())

    def begin_sync(self) -> int:
        """Begin a sync, which is of all writes so far. Returns the number that `end_sync` takes."""
        self.in_flight |= self.dirty
        self.dirty = set()
        return self.forgotten + len(self.lengths) - 1

    def end_sync(self, begun: int) -> None:
        self.write_back(self.in_flight)
        self.in_flight.clear()
        # Another sync may have begun later, and ended before.
        synced = max(0, begun - self.forgotten)
        self._set_platter_length(self.lengths[synced])
        del self.lengths[:synced]
        self.forgotten += synced

    def fail_to_sync(self, rng: random.Random) -> None:
        """Write some of the sectors to the platter, and count all of them as clean."""
        synced = self.in_flight | self.dirty
        written = {sector for sector in sorted(synced) if rng.random() < 0.5}
        self.write_back(written)
        self.lost |= synced - written
        self.in_flight.clear()
        self.dirty.clear()

    def evict(self) -> None:
        """Let reads show the platter's content of the sectors that the kernel takes for equal."""
        for sector in self.lost:
            start, end = sector * SECTOR_BYTES, min((sector + 1) * SECTOR_BYTES, len(self.content))
            if start < end:
                self.content[start:end] = self.platter[start:end].ljust(end - start, b"\0")
        self.lost.clear()

    def write_back(self, sectors: set[int]) -> None:
        for sector in sectors:
            start = sector * SECTOR_BYTES
            data = self.content[start : start + SECTOR_BYTES]
            self.platter.extend(bytes(max(0, start + SECTOR_BYTES - len(self.platter))))
            self.platter[start : start + SECTOR_BYTES] = data.ljust(SECTOR_BYTES, b"\0")

    def lose_power(self, rng: random.Random) -> None:
        share = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        self.write_back({sector for sector in sorted(self.in_flight | self.dirty) if rng.random() < share})
        self.in_flight.clear()
        moment = rng.randrange(len(self.lengths))
        length = self.lengths[moment]
        if moment + 1 < len(self.lengths) and self.lengths[moment + 1] > length and rng.random() < 0.5:
            length = rng.randrange(length, self.lengths[moment + 1])
        self._set_platter_length(length)
        self.content = bytearray(self.platter)
        self.dirty.clear()
        self.lost.clear()
        self.lengths = [length]

    def _set_platter_length(self, length: int) -> None:
        del self.platter[length:]
        self.platter.extend(bytes(length - len(self.platter)))


class SimulatedDisk(FileSystem):
    """The files and folders below ROOT. A test may set the attributes at any time.

    - `fault` is the call that fails, and `broken_calls` are the kinds of calls that fail on a broken file.
    - `in_sync` is called between the begin of a sync and its end.
    - `power_loss_at` is the number of the call that a power loss interrupts, or 0.
    - `evicts_at_close` says that a file which nobody has open any more is read from the platter when it is opened again. None
      leaves that to chance.
    - `capacity_bytes` is the size of all files together, also of those without a name, or None for no limit.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self.rng = rng or random.Random(0)
        self.fault: Fault | None = None
        self.faults_met = 0
        self.broken_calls: set[str] = set()
        self.syncs_failed = 0
        self.in_sync: Callable[[], None] = lambda: None
        self.power_loss_at = 0
        self.evicts_at_close: bool | None = None
        self.capacity_bytes: int | None = None
        self.calls: Counter[str] = Counter()
        self.call_count = 0
        self._is_dead = False
        # The file of each path, or None for a folder.
        self._names: dict[str, _File | None] = {ROOT: None}
        self._durable_names = dict(self._names)
        # The changes that are not durable, each a folder, the names that were set and the names that were removed.
        self._pending: list[tuple[str, dict[str, _File | None], list[str]]] = []
        # The open files by descriptor.
        self._files: dict[int, _File] = {}
        # The descriptor that holds the lock, by file or by a folder's path.
        self._locks: dict[object, int] = {}
        self._next_descriptor = 1000

    # For tests

    @property
    def open_count(self) -> int:
        """The number of open descriptors."""
        return len(self._files)

    @property
    def used_bytes(self) -> int:
        """The size of all files that have a name or are open."""
        files = {id(file): file for file in (*self._names.values(), *self._files.values()) if file}
        return sum(len(file.content) for file in files.values())

    def names(self) -> list[str]:
        """The paths of all files."""
        return sorted(path for path, file in self._names.items() if file)

    def content(self, path: str) -> bytes:
        """The content that reads of a file show now."""
        file = self._names[path]
        assert file is not None
        return bytes(file.content)

    def put(self, path: str, content: bytes) -> None:
        """Make a file that is durable."""
        file = _File()
        file.write(content, 0)
        file.sync()
        folder = os.path.dirname(path)
        self._names[folder] = self._durable_names[folder] = None
        self._names[path] = self._durable_names[path] = file

    def cut(self, path: str, size: int) -> None:
        """Make a file shorter, as another process might."""
        file = self._names[path]
        assert file is not None
        file.truncate(size)

    def break_file(self, path: str, *kinds: str) -> None:
        """Let these kinds of calls fail on this file, and on no other, from now on."""
        file = self._names[path]
        assert file is not None
        file.is_broken = True
        self.broken_calls = set(kinds)

    def kill(self) -> None:
        """End the process: its open files are closed, and nothing is forgotten."""
        for descriptor in list(self._files):
            self.close(descriptor)
        self._is_dead = False

    def crash(self, rng: random.Random | None = None) -> None:
        """Let the power fail and come back."""
        rng = rng or self.rng
        self.kill()
        for folder in sorted({folder for folder, _, _ in self._pending}):
            changes = [change for change in self._pending if change[0] == folder]
            for _, set_, removed in changes[: rng.randrange(len(changes) + 1)]:
                self._make_durable(set_, removed)
        self._pending.clear()
        lost = [
            path for path, file in self._durable_names.items() if file and os.path.dirname(path) not in self._durable_names
        ]
        for path in lost:
            del self._durable_names[path]
        self._names = dict(self._durable_names)
        for file in {id(file): file for file in self._names.values() if file}.values():
            file.lose_power(rng)

    # The calls of a file system

    def _call_on(self, kind: str, descriptor: int) -> bool:
        is_short = self._call(kind)
        if kind in self.broken_calls and self._files[descriptor].is_broken:
            raise OSError(numbers.EIO, os.strerror(numbers.EIO))
        return is_short

    def _call(self, kind: str) -> bool:
        """Count a call. True if it is to be short; OSError or PowerLoss if it fails."""
        self.call_count += 1
        self.calls[kind] += 1
        if self._is_dead:
            raise PowerLoss
        if self.call_count == self.power_loss_at:
            self._is_dead = True
            self.power_loss_at = 0
            raise PowerLoss
        fault = self.fault
        if fault and fault.kind in ("", kind) and fault.hits(self.calls[kind] if fault.kind else self.call_count):
            self.faults_met += 1
            if not fault.short:
                raise OSError(fault.errno, os.strerror(fault.errno))
            return True
        return False

    def make_folder(self, path: str) -> None:
        self._call("make_folder")
        if path not in self._names:
            self._change(os.path.dirname(path), {path: None}, [])

    def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
        self._call("open")
        file = self._names.get(path)
        if file and exclusive:
            raise FileExistsError(numbers.EEXIST, os.strerror(numbers.EEXIST), path)
        if file is None:
            if path in self._names or os.path.dirname(path) not in self._names or not (create or exclusive):
                raise FileNotFoundError(numbers.ENOENT, os.strerror(numbers.ENOENT), path)
            file = _File()
            self._change(os.path.dirname(path), {path: file}, [])
        self._next_descriptor += 1
        self._files[self._next_descriptor] = file
        return self._next_descriptor

    def open_to_read(self, path: str) -> int:
        return self.open(path)

    def exists(self, path: str) -> bool:
        """True if the path is there. Never fails: os.path.lexists takes an error for a no."""
        return path in self._names

    def lock(self, descriptor: int) -> None:
        self._call_on("lock", descriptor)
        self._lock(self._files[descriptor], descriptor)

    def _lock(self, what: object, descriptor: int) -> None:
        if self._locks.setdefault(what, descriptor) != descriptor:
            raise BlockingIOError(numbers.EWOULDBLOCK, os.strerror(numbers.EWOULDBLOCK))

    def identity(self, descriptor: int) -> Identity:
        self._call_on("identity", descriptor)
        return 0, id(self._files[descriptor])

    def size_at(self, path: str, identity: Identity) -> int | None:
        self._call("size_at")
        file = self._names.get(path)
        return len(file.content) if file and (0, id(file)) == identity else None

    def size(self, descriptor: int) -> int:
        self._call_on("size", descriptor)
        return len(self._files[descriptor].content)

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        if self._call_on("read", descriptor):
            length = max(1, length // 3)
        return bytes(self._files[descriptor].content[offset : offset + length])

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        file = self._files[descriptor]
        try:
            is_short = self._call_on("write", descriptor)
        except (OSError, PowerLoss):
            # A write that fails may have written some whole sectors, and nobody is told how many.
            end = offset + self.rng.randrange(len(data) + 1)
            if end < offset + len(data):
                end -= end % SECTOR_BYTES
            if end > offset:
                file.write(bytes(data[: end - offset]), offset)
            raise
        if is_short:
            data = data[: max(1, len(data) // 3)]
        if self.capacity_bytes is not None:
            room = self.capacity_bytes - self.used_bytes + max(0, len(file.content) - offset)
            if room <= 0:
                raise OSError(numbers.ENOSPC, os.strerror(numbers.ENOSPC))
            data = data[:room]
        file.write(bytes(data), offset)
        return len(data)

    def append(self, descriptor: int, data: bytes | memoryview, *, synced: bool) -> int:
        length = self.write(descriptor, data, len(self._files[descriptor].content))
        if synced:
            self.sync(descriptor)
        return length

    def append_now(self, descriptor: int, data: bytes | memoryview) -> int:
        """Append the bytes, or by chance a part of them or none, as if the rest had to wait."""
        if self.rng.random() < 0.2:
            data = data[: self.rng.randrange(len(data))]
            if not data:
                raise BlockingIOError(numbers.EAGAIN, os.strerror(numbers.EAGAIN))
        return self.append(descriptor, data, synced=False)

    def sync(self, descriptor: int) -> None:
        file = self._files[descriptor]
        begun = file.begin_sync()
        self.in_sync()
        try:
            self._call_on("sync", descriptor)
        except OSError:
            self.syncs_failed += 1
            file.fail_to_sync(self.rng)
            raise
        file.end_sync(begun)

    def drop_cache(self, descriptor: int) -> None:
        self._call_on("drop_cache", descriptor)
        self._files[descriptor].evict()

    def truncate(self, descriptor: int, size: int) -> None:
        self._call_on("truncate", descriptor)
        self._files[descriptor].truncate(size)

    def rename(self, source: str, target: str) -> None:
        self._call("rename")
        file = self._names[source]
        assert file is not None
        assert os.path.dirname(source) == os.path.dirname(target)
        self._change(os.path.dirname(target), {target: file}, [source])

    def link(self, path: str, name: str) -> None:
        self._call("link")
        self._change(os.path.dirname(name), {name: self._names[path]}, [])

    def remove(self, path: str) -> None:
        self._call("remove")
        if self._names.get(path) is None:
            raise FileNotFoundError(numbers.ENOENT, os.strerror(numbers.ENOENT), path)
        self._change(os.path.dirname(path), {}, [path])

    def sync_folder(self, path: str) -> None:
        self._call("sync_folder")
        for folder, set_, removed in self._pending:
            if folder == path:
                self._make_durable(set_, removed)
        self._pending = [change for change in self._pending if change[0] != path]

    def lock_folder(self, path: str) -> int:
        self._call("lock")
        self._next_descriptor += 1
        self._lock(path, self._next_descriptor)
        self._files[self._next_descriptor] = _File()
        return self._next_descriptor

    def hold_folder(self, descriptor: int, path: str) -> bool:
        """False, since nobody moves a folder here."""
        return False

    def close(self, descriptor: int) -> None:
        """Close a descriptor. Never fails: a descriptor is closed even if a close reports an error."""
        file = self._files.pop(descriptor)
        evicts = self.rng.random() < 0.5 if self.evicts_at_close is None else self.evicts_at_close
        if evicts and file not in self._files.values():
            file.evict()
        self._locks = {what: holder for what, holder in self._locks.items() if holder != descriptor}

    def close_forgotten(self, descriptor: int, path: str) -> None:
        """Do nothing: only a process that was killed forgets a descriptor, and that has closed it."""

    def _change(self, folder: str, set_: dict[str, _File | None], removed: list[str]) -> None:
        for path in removed:
            del self._names[path]
        self._names.update(set_)
        self._pending.append((folder, set_, removed))

    def _make_durable(self, set_: dict[str, _File | None], removed: list[str]) -> None:
        for path in removed:
            self._durable_names.pop(path, None)
        self._durable_names.update(set_)

    def list(self, folder: str) -> list[str]:
        self._call("list")
        return [os.path.basename(path) for path in self.names() if os.path.dirname(path) == folder]


class DiskInLoop(Disk):
    """A Disk that runs each call at once, in the event loop's thread, so that tests are repeatable."""

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        return future
