"""The journal's segments: numbered files beside a medium, and the one that is written to.

May block, never imports asyncio, and does not know what it writes. A segment whose write or sync failed is never written
to again; the way back is `rotate(heals=True)`, into a new file. A segment's end is synced before the next one begins, so
that a crash can't keep what is later and lose what is earlier.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from kvserver.errors import MediumDisplaced, MediumError, MediumLocked, MediumPoisoned
from kvserver.media.file import MOVED, FileMedium
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.media.names import DAMAGED, DROPPED, DROPPED_EARLIER, FOREIGN, UNLINKED, segment_name, segment_path, spare_path

ASIDE = (UNLINKED, DROPPED, DROPPED_EARLIER)  # what may be applied after all

_log = logging.getLogger("kvserver")


class Segments:
    """The segments beside the medium at `medium_path`."""

    def __init__(self, medium_path: str, filesystem: FileSystem | None = None, folder_lock: int | None = None) -> None:
        self._medium_path = os.path.abspath(medium_path)
        self._folder = os.path.dirname(self._medium_path)
        self._filesystem = filesystem or FileSystem()
        self._folder_lock = folder_lock  # the descriptor that holds it, if it is held

    def path(self, number: int) -> str:
        return segment_path(self._medium_path, number)

    def numbers(self) -> list[int]:
        """Those that are there, in order."""
        return [number for number, path in self._files("")]

    def put_aside(self, *reasons: str) -> list[tuple[int, str]]:
        """Number and path of those that were put aside for one of these reasons, of all without a reason, in order."""
        return self._files(*(reasons or ASIDE))

    def _files(self, *reasons: str) -> list[tuple[int, str]]:
        try:
            names = self._filesystem.list(self._folder)
        except OSError as error:
            raise MediumError(f"cannot list {self._folder}: {error.strerror or error}") from error
        paths = [os.path.join(self._folder, name) for name in names]
        found = [(segment_name(self._medium_path, path), path) for path in paths]
        return sorted((name.number, path) for name, path in found if name and name.aside in reasons)

    def open(self, path: str) -> FileMedium:
        """The file of a segment, for reading and repair, as a medium."""
        return FileMedium(path, self._filesystem, with_journal=True)

    def create(self, number: int) -> FileMedium:
        """A new and empty segment, whose name is durable."""
        path = self.path(number)
        if self._filesystem.exists(path):
            raise MediumError(f"cannot create {path}: it is there already")
        return FileMedium(path, self._filesystem, with_journal=True)

    def create_spare(self) -> FileMedium:
        """An empty file that becomes the next segment when `name_spare` gives it that name."""
        path = spare_path(self._medium_path)
        try:
            with suppress(FileNotFoundError):
                self._filesystem.remove(path)  # what a crash left: no other process can be at it, we hold the folder's lock
        except OSError as error:
            raise MediumError(f"cannot remove {path}: {error.strerror or error}") from error
        return FileMedium(path, self._filesystem, with_journal=True)

    def name_spare(self, spare: FileMedium, number: int) -> None:
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

    def make_way(self, number: int, displaced: list[int]) -> None:
        """Before a new segment of this number: set aside what others put in our segments' place, or behind the new one.

        MediumError where the folder is gone: it is the server's start that makes folders.
        """
        try:
            is_other_folder = self._folder_lock is not None and self._filesystem.hold_folder(self._folder_lock, self._folder)
        except BlockingIOError:
            raise MediumLocked(f"{self._folder} {MOVED}, and what is there now is in use by another kvserver") from None
        except OSError as error:
            raise MediumError(f"cannot lock the folder {self._folder}: {error.strerror or error}") from error
        for found in self.numbers():
            if found >= number or found in displaced or is_other_folder:
                target = self.set_aside(found, FOREIGN)
                _log.error("%s was put there by somebody else: it is %s now", self.path(found), target)

    def set_aside(self, number: int, reason: str = DAMAGED) -> str:
        """Give a segment a name that no start looks at; that name."""
        return self.rename(self.path(number), number, reason)

    def rename(self, source: str, number: int, reason: str) -> str:
        """Give the file of a segment the name of one that was put aside for this reason; that name."""
        base = f"{self.path(number)}.{reason}"
        target, count = base, 0
        try:
            while self._filesystem.exists(target):
                count += 1
                target = f"{base}.{count}"
            self._filesystem.rename(source, target)
            sync_names(self._filesystem, self._folder)
        except OSError as error:
            raise MediumError(f"cannot rename {source}: {error.strerror or error}") from error
        return target

    def age_dropped(self) -> None:
        """Remove what RESTORE put aside before the snapshot before this one; what it put aside since has one to go."""
        try:
            for _, path in self.put_aside(DROPPED_EARLIER):
                self._filesystem.remove(path)
        except OSError as error:
            raise MediumError(f"cannot remove old segments of {self._medium_path}: {error.strerror or error}") from error
        for number, path in self.put_aside(DROPPED):
            self.rename(path, number, DROPPED_EARLIER)


class SegmentLog:
    """The segment that is written to, and those before it that are still needed. A failure lasts until a rotation heals it."""

    def __init__(self, segments: Segments) -> None:
        self.failure = ""
        self.needed_bytes = 0  # of all segments that a start would read
        self.has_unsynced = False
        self._segments = segments
        self._needed: list[int] = []
        self._displaced: list[int] = []  # of the needed: others moved, removed, replaced or cut their files
        self._file: FileMedium | None = None
        self._spare: FileMedium | None = None  # what the next segment is made of
        self._is_name_unsynced = False  # of the segment that is written to

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

    def write_now(self, data: bytes) -> int:
        """As `write`, but what would have to wait for the disk is left out: how many bytes were appended."""
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
        """Make durable what was written. False: there was nothing. Another thread may write meanwhile, but not rotate."""
        self._refuse_if_failed()
        if not self.has_unsynced:
            self._prove()
            return False
        self.sync_all()
        return True

    def sync_all(self) -> None:
        """The same, whatever another thread makes durable meanwhile."""
        self._refuse_if_failed()
        assert self._file is not None
        self.has_unsynced = False  # first: what is written from here on may miss this sync
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
        """MediumError where what was written and synced is not there any more."""
        if self._file:
            try:
                self._file.prove()
                if self._file.poisoned:
                    raise MediumDisplaced(self._file.poisoned)
            except MediumError as error:
                self._fail(error)
                raise

    def rotate(self, number: int, *, heals: bool = False) -> None:
        """Begin a new segment. `heals`: also after a failure, since nothing of what failed is needed any more."""
        if not heals:
            self.sync()
        try:
            if heals:
                self.failure, self.has_unsynced = "", False
                self._segments.make_way(number, self._displaced)
                self._displaced = []
            self.close_file()
            self._needed.append(number)  # even if creating it fails midway: it goes with the others
            self._file = None if heals else self._take_spare(number)
            # A spare's name is made durable by the next sync, whereas a new file's is durable when it is there.
            self.has_unsynced = self._is_name_unsynced = self._file is not None
            self._file = self._file or self._segments.create(number)
        except MediumError as error:
            self._fail(error)
            raise

    def prepare(self) -> None:
        """Have a spare for the next rotation, which makes its file itself otherwise, and waits for the disk.

        Another thread may write meanwhile, but not rotate.
        """
        if not self._spare:
            with suppress(MediumError):
                self._spare = self._segments.create_spare()

    def _take_spare(self, number: int) -> FileMedium | None:
        """The spare as the segment of this number, or None where there is none that can be."""
        spare, self._spare = self._spare, None
        if spare:
            with suppress(MediumError):
                spare.prove()
                if not spare.poisoned:
                    self._segments.name_spare(spare, number)
                    return spare
            spare.close()
        return None

    def link(self, frame: bytes, *, drops: bool = False) -> list[str]:
        """Write a frame that makes the segments before this one superfluous; when it is durable, remove them.

        `drops`: the data went back to what it was before them, so they are put aside. The names that they have then.
        """
        self.write(frame, synced=True)
        return self.give_up_before(self._needed[-1], drops=drops)

    def give_up_before(self, number: int, *, drops: bool) -> list[str]:
        """Remove the segments before this one, whose link is durable, or put them aside; the names that they have then."""
        assert self._file is not None
        earlier = [found for found in self._needed if found < number]
        try:
            names = []
            if drops:
                # The newest first: a crash midway leaves those that belong together, from the oldest on.
                there = [number for number in self._segments.numbers() if number in earlier]
                names = [self._segments.set_aside(number, DROPPED) for number in reversed(there)]
            else:
                self._segments.remove(earlier)
            self._needed = [found for found in self._needed if found >= number]
            if len(self._needed) == 1:
                self.needed_bytes = self._file.size()
        except MediumError as error:
            self._fail(error)
            raise
        return names[::-1]

    def end(self, number: int, frame: bytes, *, drops: bool = False) -> list[str]:
        """Go on without a journal from the snapshot that this link names. As for `link`.

        The link stands in a segment of this number until the others are gone: whenever a start looks, it finds the same.
        """
        self.rotate(number, heals=True)
        names = self.link(frame, drops=drops)
        self.remove([number])
        return names

    def age_dropped(self) -> None:
        """A snapshot has succeeded: what RESTORE put aside has one less to go."""
        self._segments.age_dropped()

    def remove(self, numbers: list[int]) -> None:
        """Give up segments that are not needed; the present one among them is closed first."""
        if self._needed and self._needed[-1] in numbers:
            self.close_file()
            self.has_unsynced = False
        self._segments.remove([number for number in self._needed if number in numbers])
        self._needed = [number for number in self._needed if number not in numbers]
        if not self._needed:
            self.needed_bytes = 0

    def close(self) -> None:
        """Let go of the files."""
        self.close_file()
        if self._spare:
            self._spare.close()
            self._spare = None

    def close_file(self) -> None:
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
