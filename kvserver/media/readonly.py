"""The files of a folder for one who only reads, beside a server that writes them: nothing is locked, made or changed.

What is open stays readable when others remove it or put something else in its place. So a reader opens all segments, reads
them, and opens the medium behind that: the snapshot that a segment names was there before it was named.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

from kvserver.errors import MediumDisplaced, MediumError
from kvserver.media.filesystem import FileSystem
from kvserver.media.medium import Log
from kvserver.media.names import segment_name


def _refuse(self: object, *arguments: Any, **options: Any) -> NoReturn:
    """Raise MediumError, since what is read here is somebody else's."""
    raise MediumError("opened read_only: nothing can be written")


class ReadOnlyFile:
    """The file at `path`. FileNotFoundError if there is none, MediumError if it can't be opened for another reason."""

    def __init__(self, path: str, filesystem: FileSystem) -> None:
        self._descriptor = -1
        self._path = path
        self._filesystem = filesystem
        try:
            self._descriptor = filesystem.open_to_read(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise MediumError(f"cannot open {path}: {error.strerror or error}") from error

    def __del__(self) -> None:
        if self._descriptor >= 0:
            self._filesystem.close_forgotten(self._descriptor, self._path)

    def size(self) -> int:
        try:
            return self._filesystem.size(self._descriptor)
        except OSError as error:
            raise MediumError(f"cannot read {self._path}: {error.strerror or error}") from error

    def read(self, offset: int, length: int) -> bytes:
        pieces = []
        try:
            while length > 0 and (piece := self._filesystem.read(self._descriptor, length, offset)):
                pieces.append(piece)
                offset += len(piece)
                length -= len(piece)
        except OSError as error:
            raise MediumError(f"cannot read {self._path}: {error.strerror or error}") from error
        return b"".join(pieces)

    append = truncate = set_aside = _refuse

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._filesystem.close(descriptor)


class ReadOnlyMedium:
    """The medium at `path`, which is empty where there is none. It is opened anew by each `prove_place`."""

    poisoned = ""

    def __init__(self, path: str, filesystem: FileSystem) -> None:
        self._path = path
        self._filesystem = filesystem
        self._file: ReadOnlyFile | None = None

    def prove_place(self) -> None:
        """Hold what is at the place now. MediumError if it can't be opened."""
        self.close()
        try:
            self._file = ReadOnlyFile(self._path, self._filesystem)
        except FileNotFoundError:
            self._file = None

    def size(self) -> int:
        return self._file.size() if self._file else 0

    def read(self, offset: int, length: int) -> bytes:
        return self._file.read(offset, length) if self._file else b""

    def read_all(self) -> bytes:
        return self.read(0, self.size())

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    append = prove = truncate = set_aside = begin_frame = begin_rewrite = _refuse


class _Held:
    """A segment that the log holds open, for one who closes it."""

    def __init__(self, file: ReadOnlyFile) -> None:
        self.size, self.read = file.size, file.read

    append = truncate = set_aside = _refuse

    def close(self) -> None:
        """Do nothing: the log closes it."""


class ReadOnlyLog(Log):
    """The segments beside the medium at `medium_path`. All are opened by `segments`, and held until `close`."""

    number = needed_count = 0

    def __init__(self, medium_path: str, filesystem: FileSystem) -> None:
        super().__init__()
        self._medium_path = medium_path
        self._folder = os.path.dirname(medium_path)
        self._filesystem = filesystem
        self._files: dict[str, ReadOnlyFile] = {}

    def segments(self) -> dict[int, str]:
        """The names of the segments that are there. MediumDisplaced if one of them has gone meanwhile."""
        self.close()
        try:
            names = self._filesystem.list(self._folder)
        except OSError as error:
            raise MediumError(f"cannot read the directory {self._folder}: {error.strerror or error}") from error
        paths = [os.path.join(self._folder, name) for name in names]
        found = sorted(
            (name.number, path) for path in paths if (name := segment_name(self._medium_path, path)) and not name.aside
        )
        try:
            for _, path in found:
                self._files[path] = ReadOnlyFile(path, self._filesystem)
        except FileNotFoundError as error:
            raise MediumDisplaced(f"{error.filename} was removed by the server") from None
        return dict(found)

    def open(self, name: str) -> _Held:
        return _Held(self._files[name])

    def close(self) -> None:
        while self._files:
            self._files.popitem()[1].close()

    asides = set_aside = remove = retire = last_retired = adopt = cut = prepare = write = write_now = sync = sync_all = _refuse
    drop_before = drop = age_asides = _refuse


class NoLease:
    """No right to write anything."""

    hold = _refuse

    def release(self) -> None:
        """Do nothing: nothing is held."""
