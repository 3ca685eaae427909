"""A Log in files: numbered segments beside a medium, the spare that becomes the next one, and those that were put aside.

Owns these files. A file whose write or sync failed is never written to again: the way back is `cut(heals=True)`, into a new
file. A segment's file is synced before the next one begins. Never looks into what it writes.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from kvserver.errors import MediumDisplaced, MediumError, MediumPoisoned
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.media.history import HistoryFolder
from kvserver.media.medium import APPLICABLE, Aside, Lease, Log
from kvserver.media.names import segment_name, segment_path, spare_path

_log = logging.getLogger("kvserver")


class SegmentFile(FileMedium):
    """The file of a segment: pieces are appended and never taken back; after a failure nobody writes to it any more."""

    def extend(self, data: bytes, *, synced: bool) -> None:
        """Append the bytes. `synced`: they are durable then, and their file is at its place. MediumError otherwise."""
        rest = memoryview(data)
        while rest:
            written = self._call("write", lambda: self._filesystem.append(self._descriptor, rest, synced=synced))  # noqa: B023
            rest = rest[written:]
            self._known_size += written
        if synced:
            self._prove(self._known_size, may_be_longer=True)

    def extend_now(self, data: bytes) -> int:
        """Append the bytes that need not wait for the disk. Return their number. MediumError if that fails."""
        try:
            written = self._filesystem.append_now(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise MediumError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._known_size += written
        return written

    def sync(self) -> None:
        """Make durable what `extend` has written. Another thread may extend meanwhile."""
        size = self._known_size
        self._sync()
        self._prove(size, may_be_longer=True)

    def rename(self, path: str) -> None:
        """Give the file another name, which is durable when its folder is synced."""
        self._call("rename", lambda: self._filesystem.rename(self.path, path))
        self.path = path


class Segments:
    """The files of the segments beside the medium at `medium_path`. Every call raises MediumError where the disk fails."""

    def __init__(self, medium_path: str, filesystem: FileSystem | None = None) -> None:
        self._medium_path = os.path.abspath(medium_path)
        self._folder = os.path.dirname(self._medium_path)
        self._filesystem = filesystem or FileSystem()

    def path(self, number: int) -> str:
        return segment_path(self._medium_path, number)

    def numbers(self) -> list[int]:
        """The numbers of the segments that are there, in order."""
        return [number for number, path in self._files("")]

    def asides(self, *reasons: Aside) -> list[tuple[int, str]]:
        """The numbers and paths of the segments that were put aside for one of these reasons (or of APPLICABLE), in order."""
        return self._files(*(reasons or APPLICABLE))

    def _files(self, *reasons: str) -> list[tuple[int, str]]:
        try:
            names = self._filesystem.list(self._folder)
        except OSError as error:
            raise MediumError(f"cannot list {self._folder}: {error.strerror or error}") from error
        paths = [os.path.join(self._folder, name) for name in names]
        found = [(segment_name(self._medium_path, path), path) for path in paths]
        return sorted((name.number, path) for name, path in found if name and name.aside in reasons)

    def open(self, path: str) -> FileMedium:
        """Open the file of a segment for reading and repair, as a medium."""
        return FileMedium(path, self._filesystem, with_journal=True)

    def create(self, number: int) -> SegmentFile:
        """Create an empty segment, whose name is durable."""
        path = self.path(number)
        if self._filesystem.exists(path):
            raise MediumError(f"cannot create {path}: it is there already")
        return SegmentFile(path, self._filesystem, with_journal=True)

    def create_spare(self) -> SegmentFile:
        """Create an empty file that becomes the next segment when `name_spare` gives it that name."""
        path = spare_path(self._medium_path)
        try:
            # A crash may have left one. No other process can be writing it, since we hold the folder's lock.
            with suppress(FileNotFoundError):
                self._filesystem.remove(path)
        except OSError as error:
            raise MediumError(f"cannot remove {path}: {error.strerror or error}") from error
        return SegmentFile(path, self._filesystem, with_journal=True)

    def name_spare(self, spare: SegmentFile, number: int) -> None:
        """Let a spare be the segment of this number, durably when `sync_names` returns."""
        path = self.path(number)
        if self._filesystem.exists(path):
            raise MediumError(f"cannot create {path}: it is there already")
        spare.rename(path)

    def sync_names(self) -> None:
        """Make the names of all segments durable."""
        try:
            sync_names(self._filesystem, self._folder)
        except OSError as error:
            raise MediumError(f"cannot sync the folder {self._folder}: {error.strerror or error}") from error

    def remove(self, numbers: list[int]) -> None:
        """Remove segments, durably and oldest first: a crash midway leaves no gap before those that stay."""
        try:
            for number in sorted(numbers):
                with suppress(FileNotFoundError):
                    self._filesystem.remove(self.path(number))
            if numbers:
                sync_names(self._filesystem, self._folder)
        except OSError as error:
            raise MediumError(f"cannot remove old segments of {self._medium_path}: {error.strerror or error}") from error

    def make_way(self, number: int, displaced: list[int], *, is_other_folder: bool) -> None:
        """Set aside the segments that others put there, before a new segment of this number.

        Those are all behind the new one, those in the place of ours (`displaced`), and all of a folder that is not ours.
        """
        for found in self.numbers():
            if found >= number or found in displaced or is_other_folder:
                target = self.set_aside(self.path(found), Aside.FOREIGN)
                _log.error("%s was put there by somebody else: it is %s now", self.path(found), target)

    def set_aside(self, path: str, reason: Aside) -> str:
        """Give a segment, put aside already or not, the name of one that was put aside for this reason. Return that name."""
        name = segment_name(self._medium_path, path)
        assert name, f"{path} is no segment"
        base = f"{self.path(name.number)}.{reason}"
        target, count = base, 0
        try:
            while self._filesystem.exists(target):
                count += 1
                target = f"{base}.{count}"
            self._filesystem.rename(path, target)
            sync_names(self._filesystem, self._folder)
        except OSError as error:
            raise MediumError(f"cannot rename {path}: {error.strerror or error}") from error
        return target

    def age_asides(self) -> None:
        """Remove what RESTORE put aside before the last snapshot. What it put aside since stays for one snapshot more."""
        try:
            for _, path in self.asides(Aside.DROPPED_EARLIER):
                self._filesystem.remove(path)
        except OSError as error:
            raise MediumError(f"cannot remove old segments of {self._medium_path}: {error.strerror or error}") from error
        for _, path in self.asides(Aside.DROPPED):
            self.set_aside(path, Aside.DROPPED_EARLIER)


class FileLog(Log):
    """The segments beside the medium at `medium_path`: those that a start would read, and the file of the newest.

    `lease` is that of their folder, if it is held. The folder has to be there: taking the lease makes it. What is retired goes
    to the `history`, if one is kept there.
    """

    def __init__(self, medium_path: str, filesystem: FileSystem | None = None, lease: Lease | None = None) -> None:
        super().__init__()
        self.history = HistoryFolder(medium_path, filesystem)
        self._segments = Segments(medium_path, filesystem)
        self._lease = lease
        self._needed: list[int] = []
        # The numbers of needed segments whose files others moved, removed, replaced or cut.
        self._displaced: list[int] = []
        self._file: SegmentFile | None = None
        # The file that becomes the next segment.
        self._spare: SegmentFile | None = None
        # The name of the segment that is written to is not certain to be durable.
        self._is_name_unsynced = False

    # What a start finds

    def segments(self) -> dict[int, str]:
        return {number: self._segments.path(number) for number in self._segments.numbers()}

    def asides(self) -> list[tuple[int, str]]:
        return self._segments.asides()

    def open(self, name: str) -> FileMedium:
        return self._segments.open(name)

    def set_aside(self, name: str, reason: Aside) -> str:
        return self._segments.set_aside(name, reason)

    def remove(self, numbers: list[int]) -> None:
        self._segments.remove(numbers)

    def retire(self, numbers: list[int]) -> None:
        if self.history.is_kept:
            try:
                self.history.take((number, self._segments.path(number)) for number in sorted(numbers))
            except MediumError as error:
                # Nothing that is needed depends on it: what could not be kept goes, and the history has a gap.
                self.history.failure = str(error)
                _log.error("the history has a gap: %s", error)
        self._segments.remove(numbers)

    def last_retired(self) -> int:
        try:
            return max((segment.number for segment in self.history.segments()), default=0)
        except MediumError as error:
            self.history.failure = str(error)
            return 0

    def adopt(self, numbers: list[int], length: int, last_number: int) -> None:
        self._needed, self.needed_bytes, self.last_number = list(numbers), length, last_number

    # Appending

    @property
    def number(self) -> int:
        return self._needed[-1] if self._file else 0

    @property
    def needed_count(self) -> int:
        return len(self._needed)

    def write(self, data: bytes, *, synced: bool = False) -> None:
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

    def write_now(self, data: bytes) -> int:
        self._refuse_if_failed()
        assert self._file is not None
        try:
            length = self._file.extend_now(data)
        except MediumError as error:
            self._fail(error)
            raise
        self.needed_bytes += length
        self.has_unsynced = self.has_unsynced or length > 0
        return length

    def sync(self) -> bool:
        self._refuse_if_failed()
        if not self.has_unsynced:
            self._prove()
            return False
        self.sync_all()
        return True

    def sync_all(self) -> None:
        self._refuse_if_failed()
        assert self._file is not None
        # This comes first, since what is written from here on may miss the sync.
        self.has_unsynced = False
        try:
            self._file.sync()
            if self._is_name_unsynced:
                self._segments.sync_names()
                self._is_name_unsynced = False
        except MediumError as error:
            self.has_unsynced = True
            self._fail(error)
            raise

    def _prove(self) -> None:
        """Raise MediumError if what was written and synced is not there any more."""
        if self._file:
            try:
                self._file.prove()
                if self._file.poisoned:
                    raise MediumDisplaced(self._file.poisoned)
            except MediumError as error:
                self._fail(error)
                raise

    def cut(self, number: int, *, heals: bool = False) -> None:
        if not heals:
            self.sync()
        try:
            if heals:
                self.failure, self.has_unsynced = "", False
                is_other_folder = self._lease is not None and self._lease.hold()
                self._segments.make_way(number, self._displaced, is_other_folder=is_other_folder)
                self._displaced = []
            self._close_file()
            # The number is needed even if creating the file fails midway: then the file goes with the others.
            self._needed.append(number)
            self.last_number = number
            self._file = None if heals else self._take_spare(number)
            # A spare's name is made durable by the next sync, whereas a new file's is durable when it is there.
            self.has_unsynced = self._is_name_unsynced = self._file is not None
            self._file = self._file or self._segments.create(number)
        except MediumError as error:
            self._fail(error)
            raise

    def prepare(self) -> None:
        if not self._spare:
            with suppress(MediumError):
                self._spare = self._segments.create_spare()

    def _take_spare(self, number: int) -> SegmentFile | None:
        """Make the spare the segment of this number and return it, or None if there is no spare, or it can't be used."""
        spare, self._spare = self._spare, None
        if spare:
            with suppress(MediumError):
                spare.prove()
                if not spare.poisoned:
                    self._segments.name_spare(spare, number)
                    return spare
            spare.close()
        return None

    def drop_before(self, number: int, *, keeps_aside: bool = False) -> list[str]:
        assert self._file is not None
        earlier = [found for found in self._needed if found < number]
        try:
            names = []
            if keeps_aside and not self.history.is_kept:
                # The newest goes first: a crash midway leaves segments that belong together, from the oldest on.
                there = [number for number in self._segments.numbers() if number in earlier]
                names = [self._segments.set_aside(self._segments.path(number), Aside.DROPPED) for number in reversed(there)]
            else:
                self.retire(earlier)
            self._needed = [found for found in self._needed if found >= number]
            if len(self._needed) == 1:
                self.needed_bytes = self._file.size()
        except MediumError as error:
            self._fail(error)
            raise
        return names[::-1]

    def drop(self, number: int) -> None:
        if number not in self._needed:
            return
        if number == self._needed[-1]:
            self._close_file()
            self.has_unsynced = False
        self._segments.remove([number])
        self._needed = [found for found in self._needed if found != number]
        if not self._needed:
            self.needed_bytes = 0

    def age_asides(self) -> None:
        self._segments.age_asides()

    def close(self) -> None:
        self._close_file()
        if self._spare:
            self._spare.close()
            self._spare = None

    def _close_file(self) -> None:
        if self._file:
            file, self._file = self._file, None
            file.close()

    def _refuse_if_failed(self) -> None:
        if self.failure:
            raise (MediumDisplaced if self._displaced else MediumPoisoned)(self.failure)

    def _fail(self, error: MediumError) -> None:
        self.failure = str(error)
        if isinstance(error, MediumDisplaced) and self.number not in self._displaced:
            self._displaced.append(self.number)
