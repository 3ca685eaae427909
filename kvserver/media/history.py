"""The history of a folder's data: frames and segments that are older than the last snapshot, in a folder beside the medium.

    dump.kvs.history/0000000007.journal                       a segment, as it was when a snapshot took its place
    dump.kvs.history/0000000007-1700000000000-1000000.kvs     the frame that this segment begins behind: a medium of one frame

The name of a frame has the number of the segment, or 0 where no journal was written; the time at which the data was cut (Unix
milliseconds), and the number of keys. Blocking. Never decides what is kept: `persistence/history` does.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from kvserver.errors import MediumDisplaced, MediumError
from kvserver.formats.frame import encode_header
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.media.names import NUMBER_DIGITS
from kvserver.media.readonly import ReadOnlyFile

_log = logging.getLogger("kvserver")

_SEGMENT: Final = re.compile(rf"([0-9]{{{NUMBER_DIGITS}}})\.journal")
_FRAME: Final = re.compile(rf"([0-9]{{{NUMBER_DIGITS}}})-([0-9]{{1,19}})-([0-9]{{1,19}})\.kvs")
# What a crash has left of a frame.
_PART: Final = ".part"


class KeptFrame(NamedTuple):
    """A frame of the history. `number` is that of the segment behind it, or 0; `bytes` is the length of its file."""

    number: int
    time_ms: int
    keys: int
    path: str
    bytes: int


class KeptSegment(NamedTuple):
    """A segment of the journal, in the history or not, and its length in bytes."""

    number: int
    path: str
    bytes: int


class HistoryFolder:
    """The folder with the history of the medium at `medium_path`. Every call raises MediumError where the disk fails.

    `is_kept`: segments that a snapshot takes the place of go there. Whoever has the place open says so; else it is so where
    there is such a folder.
    """

    def __init__(self, medium_path: str, filesystem: FileSystem | None = None) -> None:
        self.path = f"{os.path.abspath(medium_path)}.history"
        self._filesystem = filesystem or FileSystem()
        self.is_kept = self.exists()

    def exists(self) -> bool:
        """True if there is such a folder."""
        return self._filesystem.exists(self.path)

    def create(self) -> None:
        """Make the folder, if there is none, and remove what a crash has left there."""
        with self._told("make"):
            if not self.exists():
                self._filesystem.make_folder(self.path)
            for name in self._filesystem.list(self.path):
                if name.endswith(_PART):
                    self._filesystem.remove(os.path.join(self.path, name))

    def segments(self) -> list[KeptSegment]:
        """The segments that are there, by number."""
        return sorted(KeptSegment(int(match[1]), path, size) for match, path, size in self._found(_SEGMENT))

    def measured(self, journal: Iterable[tuple[int, str]]) -> list[KeptSegment]:
        """The journal's segments of these numbers and paths, without those that have gone: they may be in the history now."""
        found = []
        for number, path in journal:
            with suppress(FileNotFoundError), self._told("read a segment beside"):
                found.append(KeptSegment(number, path, self._size(path)))
        return found

    def frames(self) -> list[KeptFrame]:
        """The frames that are there, by the number of their segments and by time."""
        return sorted(
            KeptFrame(int(match[1]), int(match[2]), int(match[3]), path, size) for match, path, size in self._found(_FRAME)
        )

    def open(self, path: str) -> ReadOnlyFile:
        """Open a file to read it. MediumDisplaced if it has gone."""
        try:
            return ReadOnlyFile(path, self._filesystem)
        except FileNotFoundError:
            raise MediumDisplaced(f"{path} is not there any more") from None

    def set_aside(self, first: int) -> None:
        """Give the folder another name if it has a segment of this number or a later one: it is of other data.

        That is so where an older state was put back. The folder is made anew.
        """
        if any(segment.number >= first for segment in self.segments()):
            with self._told("put aside"):
                count = 1
                while self._filesystem.exists(target := f"{self.path}.{count}"):
                    count += 1
                self._filesystem.rename(self.path, target)
                sync_names(self._filesystem, os.path.dirname(self.path))
            _log.error("the history is not that of the data, which goes back further: it is %s now", target)
            self.create()

    def take(self, paths: Iterable[tuple[int, str]]) -> None:
        """Take segments in, by their numbers and paths, in this order. Some may have been taken in by a call that failed."""
        paths = [(number, path) for number, path in paths if self._filesystem.exists(path)]
        if paths:
            self.set_aside(paths[0][0])
        with self._told("keep a segment in"):
            for number, path in paths:
                with suppress(FileNotFoundError):
                    self._filesystem.rename(path, os.path.join(self.path, f"{number:0{NUMBER_DIGITS}d}.journal"))
            sync_names(self._filesystem, self.path)
            sync_names(self._filesystem, os.path.dirname(self.path))

    def add(self, number: int, time_ms: int, keys: int, digest: str, length: int, pieces: Iterable[bytes]) -> Iterator[None]:
        """Add a frame, whose payload has this digest and length (bytes), in steps.

        MediumError if it can't be written, or the pieces are not this payload: then nothing is left of it.
        """
        name = f"{number:0{NUMBER_DIGITS}d}-{time_ms}-{keys}.kvs"
        path = os.path.join(self.path, name)
        part = path + _PART
        try:
            with FileMedium(part, self._filesystem, with_journal=True) as medium:
                frame = medium.begin_frame()
                written = 0
                for piece in pieces:
                    frame.write(piece)
                    written += len(piece)
                    yield
                if written != length:
                    raise MediumError(f"the frame for {path} has {written} payload bytes, not {length}")
                frame.commit(encode_header(length, digest))
            with self._told("keep a frame in"):
                self._filesystem.rename(part, path)
                sync_names(self._filesystem, self.path)
        except BaseException:
            with suppress(OSError):
                self._filesystem.remove(part)
            raise

    def remove(self, paths: Iterable[str]) -> None:
        """Remove frames or segments, in this order."""
        with self._told("remove something from"):
            for path in paths:
                with suppress(FileNotFoundError):
                    self._filesystem.remove(path)

    def _found(self, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str, int]]:
        """The files with such names: what was found in the name, the path, and the length in bytes."""
        with suppress(FileNotFoundError), self._told("read"):
            for name in self._filesystem.list(self.path):
                if match := pattern.fullmatch(name):
                    path = os.path.join(self.path, name)
                    # It may be removed at any time.
                    with suppress(FileNotFoundError):
                        yield match, path, self._size(path)

    def _size(self, path: str) -> int:
        descriptor = self._filesystem.open_to_read(path)
        try:
            return self._filesystem.size(descriptor)
        finally:
            self._filesystem.close(descriptor)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (MediumError, FileNotFoundError):
            raise
        except OSError as error:
            raise MediumError(f"cannot {what} {self.path}: {error.strerror or error}") from error
