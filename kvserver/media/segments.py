"""The journal's segments: numbered files beside a medium, and the one that is written to.

May block, never imports asyncio, and does not know what it writes. A segment whose write or sync failed is never written
to again; the way back is `rotate(heals=True)`, into a new file. A segment's end is synced before the next one begins, so
that a crash can't keep what is later and lose what is earlier.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from kvserver.errors import MediumError, MediumPoisoned
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem

NUMBER_DIGITS = 10
_NUMBER = re.compile(rf"\.([0-9]{{{NUMBER_DIGITS}}})\.journal")


def segment_number(medium_path: str, path: str) -> int | None:
    """The number of the segment of this name, or None where it is none of this medium's."""
    match = _NUMBER.fullmatch(path.removeprefix(medium_path)) if path.startswith(medium_path) else None
    return int(match[1]) if match else None


class Segments:
    """The segments beside the medium at `medium_path`."""

    def __init__(self, medium_path: str, filesystem: FileSystem | None = None) -> None:
        self._medium_path = os.path.abspath(medium_path)
        self._folder = os.path.dirname(self._medium_path)
        self._filesystem = filesystem or FileSystem()

    def path(self, number: int) -> str:
        return f"{self._medium_path}.{number:0{NUMBER_DIGITS}d}.journal"

    def numbers(self) -> list[int]:
        """Those that are there, in order."""
        try:
            names = self._filesystem.list(self._folder)
        except OSError as error:
            raise MediumError(f"cannot list {self._folder}: {error.strerror or error}") from error
        numbers = (segment_number(self._medium_path, os.path.join(self._folder, name)) for name in names)
        return sorted(number for number in numbers if number is not None)

    def open(self, number: int) -> FileMedium:
        """The file of a segment, for reading and repair, as a medium."""
        return FileMedium(self.path(number), self._filesystem)

    def create(self, number: int) -> FileMedium:
        """A new and empty segment, whose name is durable."""
        path = self.path(number)
        if self._filesystem.exists(path):
            raise MediumError(f"cannot create {path}: it is there already")
        return FileMedium(path, self._filesystem)

    def remove(self, numbers: list[int]) -> None:
        """Remove segments, durably and oldest first: a crash midway leaves no gap before those that stay."""
        try:
            for number in sorted(numbers):
                with suppress(FileNotFoundError):
                    self._filesystem.remove(self.path(number))
            if numbers:
                self._filesystem.sync_folder(self._folder)
        except OSError as error:
            raise MediumError(f"cannot remove old segments of {self._medium_path}: {error.strerror or error}") from error

    def set_aside(self, number: int) -> str:
        """Give a segment a name that no start looks at; that name."""
        source = self.path(number)
        target, count = source + ".damaged", 0
        try:
            while self._filesystem.exists(target):
                count += 1
                target = f"{source}.damaged.{count}"
            self._filesystem.rename(source, target)
            self._filesystem.sync_folder(self._folder)
        except OSError as error:
            raise MediumError(f"cannot rename {source}: {error.strerror or error}") from error
        return target


class SegmentLog:
    """The segment that is written to, and those before it that are still needed. A failure lasts until a rotation heals it."""

    def __init__(self, segments: Segments) -> None:
        self.failure = ""
        self.needed_bytes = 0  # of all segments that a start would read
        self.has_unsynced = False
        self._segments = segments
        self._needed: list[int] = []
        self._file: FileMedium | None = None

    def adopt(self, numbers: list[int], length: int) -> None:
        """Take over what an earlier process has left: these segments, of so many bytes together."""
        self._needed, self.needed_bytes = list(numbers), length

    @property
    def number(self) -> int:
        """Of the segment that is open, or 0."""
        return self._needed[-1] if self._file else 0

    @property
    def needed_count(self) -> int:
        return len(self._needed)

    def write(self, data: bytes, *, synced: bool = False) -> None:
        """Append to the segment. MediumError if that fails now, or has failed before.

        Synced: what was written before is durable, and when this returns so is this.
        """
        self._refuse_if_failed()
        assert self._file is not None
        try:
            self._file.extend(data, synced=synced and not self.has_unsynced)
            self.needed_bytes += len(data)
            if not synced:
                self.has_unsynced = True
            elif self.has_unsynced:
                self.sync()
        except MediumError as error:
            self._fail(error)
            raise

    def sync(self) -> bool:
        """Make durable what was written. False: there was nothing. Another thread may write meanwhile, but not rotate."""
        self._refuse_if_failed()
        if not self.has_unsynced:
            return False
        assert self._file is not None
        self.has_unsynced = False  # first: what is written from here on may miss this sync
        try:
            self._file.sync()
        except MediumError as error:
            self.has_unsynced = True
            self._fail(error)
            raise
        return True

    def rotate(self, number: int, *, heals: bool = False) -> None:
        """Begin a new segment. `heals`: also after a failure, since nothing of what failed is needed any more."""
        if heals:
            self.failure, self.has_unsynced = "", False
        self.sync()
        try:
            self.close_file()
            self._needed.append(number)  # even if creating it fails midway: it goes with the others
            self._file = self._segments.create(number)
        except MediumError as error:
            self._fail(error)
            raise

    def link(self, frame: bytes) -> None:
        """Write a frame that makes the segments before this one superfluous; when it is durable, remove them."""
        self.write(frame, synced=True)
        assert self._file is not None
        try:
            self._segments.remove(self._needed[:-1])
            self._needed = self._needed[-1:]
            self.needed_bytes = self._file.size()
        except MediumError as error:
            self._fail(error)
            raise

    def remove(self, numbers: list[int]) -> None:
        """Give up segments that are not needed; the present one among them is closed first."""
        if self._needed and self._needed[-1] in numbers:
            self.close_file()
            self.has_unsynced = False
        self._segments.remove([number for number in self._needed if number in numbers])
        self._needed = [number for number in self._needed if number not in numbers]
        if not self._needed:
            self.needed_bytes = 0

    def close_file(self) -> None:
        if self._file:
            file, self._file = self._file, None
            file.close()

    def _refuse_if_failed(self) -> None:
        if self.failure:
            raise MediumPoisoned(self.failure)

    def _fail(self, error: MediumError) -> None:
        self.failure = str(error)
