"""A file system for tests: it records calls, writes short, runs full and fails on cue, and knows what a power loss leaves."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator

from kvserver.media.filesystem import FileSystem

Call = tuple[object, ...]

# A file system says with these that it lacks a call.
NO_SUCH_CALL = [errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL]


class Disk(FileSystem):
    """The machine's own file system behind a recorder. A test may set faults at any time."""

    def __init__(self) -> None:
        # The calls that change something: (method, name of the file, ...).
        self.calls: list[Call] = []
        # The bytes that one write takes, and the bytes that a file can have.
        self.most_per_write: int | None = None
        self.capacity: int | None = None
        # For each method the error numbers of its next calls. 0 lets a call pass.
        self.faults: dict[str, list[int]] = {}
        # The methods that fail until they are taken out.
        self.is_broken_for: set[str] = set()
        self._names: dict[int, str] = {}

    def fail(self, method: str, *numbers: int) -> None:
        self.faults[method] = list(numbers)

    def names(self, *methods: str) -> list[Call]:
        """The calls of these methods so far, without sizes and offsets."""
        return [call[:2] for call in self.calls if call[0] in methods]

    def _note(self, method: str, *what: object) -> None:
        self.calls.append((method, *what))
        pending = self.faults.get(method)
        number = pending.pop(0) if pending else 0
        if method in self.is_broken_for:
            number = number or errno.EIO
        if number:
            raise OSError(number, os.strerror(number))

    def _name(self, descriptor: int) -> str:
        return self._names[descriptor]

    def make_folder(self, path: str) -> None:
        super().make_folder(path)
        self._note("make_folder", os.path.basename(path))

    def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
        name = os.path.basename(path)
        self._note("open", name)
        descriptor = super().open(path, create=create, exclusive=exclusive)
        self._names[descriptor] = name
        return descriptor

    def lock(self, descriptor: int) -> None:
        if descriptor in self._names:
            self._note("lock", self._name(descriptor))
        super().lock(descriptor)

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        if "read" in self.is_broken_for:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(descriptor, length, offset)

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        data = data[: self.most_per_write]
        if self.capacity is not None and offset + len(data) > self.capacity:
            data = data[: max(0, self.capacity - offset)]
            if not data:
                self.fail("write", errno.ENOSPC)
        self._note("write", self._name(descriptor), offset, bytes(data))
        return super().write(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._note("sync", self._name(descriptor))
        super().sync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        self._note("truncate", self._name(descriptor), size)
        super().truncate(descriptor, size)

    def rename(self, source: str, target: str) -> None:
        self._note("rename", os.path.basename(source), os.path.basename(target))
        super().rename(source, target)

    def link(self, path: str, name: str) -> None:
        self._note("link", os.path.basename(path), os.path.basename(name))
        super().link(path, name)

    def remove(self, path: str) -> None:
        self._note("remove", os.path.basename(path))
        super().remove(path)

    def sync_folder(self, path: str) -> None:
        self._note("sync_folder", os.path.basename(path))
        super().sync_folder(path)


def contents_after_power_loss(before: bytes, calls: list[Call]) -> Iterator[bytes]:
    """Every content that a file may have if the power fails right after these calls on it.

    Each write and each truncation since the last sync is there or not, independently of the others. A write is there as a
    whole or not at all, since a frame that is not whole has no header.
    """
    last_sync = max((index for index, call in enumerate(calls) if call[0] == "sync"), default=-1)
    durable = _apply(before, calls[: last_sync + 1])
    pending = calls[last_sync + 1 :]
    for kept in itertools.product((False, True), repeat=len(pending)):
        yield _apply(durable, list(itertools.compress(pending, kept)))


def _apply(content: bytes, calls: list[Call]) -> bytes:
    for call in calls:
        match call:
            case ("write", _, int(offset), bytes(data)):
                content = content.ljust(offset, b"\0")[:offset] + data + content[offset + len(data) :]
            case ("truncate", _, int(size)):
                content = content[:size].ljust(size, b"\0")
    return content
