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
from typing import Final

from kvserver.errors import MediumDisplaced, MediumError
from kvserver.formats.frame import encode_header
from kvserver.media.archive import KeptFrame, KeptSegment
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.media.names import NUMBER_DIGITS, segment_name
from kvserver.media.readonly import ReadOnlyFile

_log = logging.getLogger("kvserver")

_SEGMENT: Final = re.compile(rf"([0-9]{{{NUMBER_DIGITS}}})\.journal")
_FRAME: Final = re.compile(rf"([0-9]{{{NUMBER_DIGITS}}})-([0-9]{{1,19}})-([0-9]{{1,19}})\.kvs")
# What a crash has left of a frame.
_PART: Final = ".part"


class HistoryFolder:
    """The folder with the history of the medium at `medium_path`: an Archive."""

    def __init__(self, medium_path: str, filesystem: FileSystem | None = None) -> None:
        self._medium_path = os.path.abspath(medium_path)
        self._folder = os.path.dirname(self._medium_path)
        self.path = f"{self._medium_path}.history"
        self._filesystem = filesystem or FileSystem()
        self.is_kept = self.exists()
        self.failure = ""

    def exists(self) -> bool:
        """True if there is such a folder."""
        return self._filesystem.exists(self.path)

    def create(self) -> None:
        with self._told("make"):
            if not self.exists():
                self._filesystem.make_folder(self.path)
                sync_names(self._filesystem, self._folder)
            # What is no folder is told here.
            self._filesystem.list(self.path)

    def tidy(self) -> None:
        with self._told("tidy"):
            for name in self._filesystem.list(self.path):
                if name.endswith(_PART):
                    self._filesystem.remove(os.path.join(self.path, name))

    def segments(self) -> list[KeptSegment]:
        return sorted(KeptSegment(int(match[1]), path, size) for match, path, size in self._found(_SEGMENT))

    def journal(self) -> list[KeptSegment]:
        found = []
        for name in self._names(self._folder):
            path = os.path.join(self._folder, name)
            segment = segment_name(self._medium_path, path)
            if segment and not segment.aside:
                # One that has gone may be in the history now.
                with suppress(OSError):
                    found.append(KeptSegment(segment.number, path, self._size(path)))
        return sorted(found)

    def frames(self) -> list[KeptFrame]:
        return sorted(
            KeptFrame(int(match[1]), int(match[2]), int(match[3]), path, size) for match, path, size in self._found(_FRAME)
        )

    def open(self, path: str) -> ReadOnlyFile:
        try:
            return ReadOnlyFile(path, self._filesystem)
        except FileNotFoundError:
            raise MediumDisplaced(f"{path} is not there any more") from None

    def open_medium(self) -> ReadOnlyFile | None:
        try:
            return ReadOnlyFile(self._medium_path, self._filesystem)
        except FileNotFoundError:
            return None

    def set_aside(self, first: int) -> None:
        # That is so where an older state was put back.
        if any(segment.number >= first for segment in self.segments()):
            with self._told("put aside"):
                count = 1
                while self._filesystem.exists(target := f"{self.path}.{count}"):
                    count += 1
                self._filesystem.rename(self.path, target)
                sync_names(self._filesystem, self._folder)
            _log.error("the history is not that of the data, which goes back further: it is %s now", target)
            self.create()

    def take(self, paths: Iterable[tuple[int, str]]) -> None:
        """Take segments in, by their numbers and paths, in this order. Some may have been taken in by a call that failed."""
        self.create()
        with self._told("keep a segment in"):
            for number, path in paths:
                target = os.path.join(self.path, f"{number:0{NUMBER_DIGITS}d}.journal")
                if self._filesystem.exists(path) and self._filesystem.exists(target):
                    # Somebody else put it there.
                    self._filesystem.rename(target, f"{target}.foreign")
                with suppress(FileNotFoundError):
                    self._filesystem.rename(path, target)
            sync_names(self._filesystem, self.path)
            sync_names(self._filesystem, self._folder)

    def add(self, number: int, time_ms: int, keys: int, digest: str, length: int, pieces: Iterable[bytes]) -> Iterator[None]:
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
        with self._told("remove something from"):
            for path in paths:
                with suppress(FileNotFoundError):
                    self._filesystem.remove(path)

    def _found(self, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str, int]]:
        """The files with such names: what was found in the name, the path, and the length in bytes."""
        for name in self._names(self.path):
            if match := pattern.fullmatch(name):
                path = os.path.join(self.path, name)
                # It may be removed at any time, and what is no file is none of ours.
                with suppress(OSError):
                    yield match, path, self._size(path)

    def _names(self, folder: str) -> list[str]:
        try:
            return self._filesystem.list(folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise MediumError(f"cannot read {folder}: {error.strerror or error}") from error

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
        except MediumError:
            raise
        except OSError as error:
            raise MediumError(f"cannot {what} {self.path}: {error.strerror or error}") from error
