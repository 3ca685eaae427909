"""A medium in a file: locked, private, append-only but for repair, and never believed again after a failed sync.

The order of calls is the whole point, and stays as it is: tests/crash cuts the power behind every call, and lets every call
fail. A frame's header is written last, when its payload is synced, so that a torn frame never looks whole. A new file takes
the old one's place by a rename, between a sync of the file and one of the folder.

Others may move, remove, replace or cut the file while it is open here; then what is written to it helps nobody. So a frame
counts only if its file is still the one at the path, and as long as it should be. If it is not, a rewrite makes a new file.
What others put in the place is never lost by that: it gets another name.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NoReturn, Self, TypeVar

from kvserver.errors import MediumDisplaced, MediumError, MediumLocked, MediumPoisoned
from kvserver.formats.frame import HEADER_SIZE, UNWRITTEN
from kvserver.media.filesystem import FileSystem, Identity, make_folders, sync_names
from kvserver.media.lease import MOVED
from kvserver.media.medium import COPY_BYTES
from kvserver.media.names import segment_name

T = TypeVar("T")

# These say that the disk is full. What is synced is as good as before: the file is cut back, and can be appended to again.
_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

CHANGED: Final = "was changed by somebody else"

_log = logging.getLogger("kvserver")


class FileMedium:
    """The file at `path`, created if there is none (mode 0600; its folder, if that has to be created, 0700).

    MediumLocked if another process or object has it open, MediumError if it can't be opened or is not a regular file (links
    are refused), or if a server's journal is beside it, which has what is newer than the last frame: a caller who reads and
    writes the journal, too, says so by `with_journal`. Close the medium, or use it in a `with` statement.
    """

    def __init__(
        self, path: str | os.PathLike[str], filesystem: FileSystem | None = None, *, with_journal: bool = False
    ) -> None:
        self._descriptor = -1
        self.path = os.path.abspath(os.fspath(path))
        self.poisoned = ""
        self._filesystem = filesystem or FileSystem()
        self._identity: Identity = (0, 0)
        # The size that we have given the file, whatever others do.
        self._known_size = 0
        # The first: others have moved, removed, replaced or cut the file. The second: they have cut it, or appended to it.
        self._is_displaced = self._is_changed = False
        try:
            # A caller who minds a journal has made the folder; if that is gone by now, the failure to open has to tell.
            if not with_journal:
                self._refuse_journal()
                make_folders(self._filesystem, os.path.dirname(self.path))
            self._descriptor = self._open()
        except BlockingIOError:
            raise MediumLocked(f"{self.path} is in use by another process{self._filesystem.holder(self.path)}") from None
        except MediumError:
            raise
        except OSError as error:
            raise MediumError(f"cannot open {self.path}: {_reason(error)}") from error

    def _refuse_journal(self) -> None:
        folder = os.path.dirname(self.path)
        with suppress(FileNotFoundError, PermissionError):
            paths = [os.path.join(folder, name) for name in self._filesystem.list(folder)]
            if any(name and not name.aside for name in (segment_name(self.path, path) for path in paths)):
                raise MediumError(
                    f"{self.path} has a server's journal beside it, which a FileMedium does not read: "
                    f"open the folder, KVStore(ServerFolder({folder!r}))"
                )

    def _open(self) -> int:
        filesystem = self._filesystem
        folder = os.path.dirname(self.path)
        while True:
            descriptor = filesystem.open(self.path, create=True)
            try:
                filesystem.lock(descriptor)
                # Whoever held the lock before us may have renamed a new file onto the path after we opened the old one.
                identity = filesystem.identity(descriptor)
                size = filesystem.size_at(self.path, identity)
                if size is not None:
                    # File and names are synced each time: a process that made or renamed the file may have ended before it
                    # did so.
                    filesystem.sync(descriptor)
                    # A process whose sync failed may have left pages that the system takes for written: it would show
                    # them until it needs their memory, and a frame in them would be believed that is not on the disk.
                    filesystem.drop_cache(descriptor)
                    sync_names(filesystem, folder)
                    # A parent that we may not read is one in which we have not made the folder.
                    with suppress(PermissionError):
                        sync_names(filesystem, os.path.dirname(folder))
                    self._identity, self._known_size = identity, size
                    return descriptor
            except BaseException:
                filesystem.close(descriptor)
                raise
            filesystem.close(descriptor)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            self._filesystem.close_forgotten(self._descriptor, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Reading

    def size(self) -> int:
        # The system is asked each time: the lock binds only those who ask for it, and what others append must not be
        # overwritten.
        return self._call("read", lambda: self._filesystem.size(self._descriptor))

    def read(self, offset: int, length: int) -> bytes:
        pieces = []
        while length > 0:
            piece = self._call("read", lambda: self._filesystem.read(self._descriptor, length, offset))  # noqa: B023
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)

    def read_all(self) -> bytes:
        return self.read(0, self.size())

    # Writing

    def prove(self) -> None:
        if not self.poisoned:
            with suppress(MediumDisplaced):
                self._prove(self._known_size, may_be_longer=True)

    def prove_place(self) -> None:
        self._prove(0, may_be_longer=True)

    def append(self, data: bytes) -> None:
        """Append the bytes and sync them, or cut the file back to its length of before and raise MediumError."""
        frame = self.begin_frame(reserve=0)
        try:
            frame.write(data)
            frame.commit(b"")
        except MediumError:
            frame.abort()
            raise

    def begin_frame(self, reserve: int = HEADER_SIZE) -> _FileFrame:
        if self.poisoned:
            raise MediumPoisoned(f"{self.path}: {self.poisoned}")
        return _FileFrame(self, reserve)

    def begin_rewrite(self) -> _FileRewrite:
        return _FileRewrite(self)

    def truncate(self, size: int) -> None:
        self._call("truncate", lambda: self._filesystem.truncate(self._descriptor, size))
        self._known_size = size
        self._sync()

    def set_aside(self, offset: int, end: int | None = None) -> str:
        filesystem = self._filesystem
        target, path = self._create_beside(f"damaged-{offset}")
        try:
            end = self.size() if end is None else end
            for position in range(offset, end, COPY_BYTES):
                self._write(target, self.read(position, min(COPY_BYTES, end - position)), position - offset)
            self._call("sync", lambda: filesystem.sync(target))
            self._call("sync the folder of", lambda: sync_names(filesystem, os.path.dirname(path)))
        except BaseException:
            with suppress(OSError):
                filesystem.remove(path)
            raise
        finally:
            filesystem.close(target)
        return path

    def close(self) -> None:
        if self._descriptor >= 0:
            self._filesystem.close(self._descriptor)
            self._descriptor = -1

    # Shared with the frame and the rewrite below, and with the file of a segment (`segments`)

    def _call(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except OSError as error:
            raise MediumError(f"cannot {what} {self.path}: {_reason(error)}") from error

    def _write(self, descriptor: int, data: bytes, offset: int) -> None:
        rest = memoryview(data)
        while rest:
            written = self._call("write", lambda: self._filesystem.write(descriptor, rest, offset))  # noqa: B023
            rest = rest[written:]
            offset += written

    def _sync(self) -> None:
        try:
            self._call("sync", lambda: self._filesystem.sync(self._descriptor))
        except MediumError as error:
            # After a failed sync the kernel may call lost pages clean: a second one would succeed and prove nothing.
            self.poisoned = str(error)
            raise

    def _prove(self, size: int, *, may_be_longer: bool = False) -> None:
        """Poison the medium and raise MediumDisplaced, unless the path names this file and it has this size."""
        found = self._call("look at", lambda: self._filesystem.size_at(self.path, self._identity))
        if found is None:
            self._displace(MOVED)
        if found < size or (found > size and not may_be_longer):
            self._displace_changed(found, size)

    def _displace_changed(self, found: int, size: int) -> NoReturn:
        self._is_changed = True
        self._displace(f"{CHANGED}: it has {found} bytes, where {size} were written")

    def _displace(self, what: str) -> NoReturn:
        self._is_displaced = True
        self.poisoned = f"{self.path} {what}"
        raise MediumDisplaced(self.poisoned)

    def _lock_other(self) -> int:
        """Lock a file at the path that is not ours. Return its descriptor, or -1 if there is none. MediumLocked if in use."""
        filesystem = self._filesystem
        if self._call("look at", lambda: filesystem.size_at(self.path, self._identity)) is not None:
            return -1
        try:
            other = filesystem.open(self.path)
        except OSError:
            # Nothing is there, or a link, or a folder: nobody's medium.
            return -1
        try:
            self._call("lock what stands at", lambda: filesystem.lock(other))
        except MediumError as error:
            filesystem.close(other)
            if isinstance(error.__cause__, BlockingIOError):
                raise MediumLocked(f"{self.path} {MOVED}, and what stands there now is in use by another process") from None
            raise
        return other

    def _make_way(self) -> str:
        """Give another name to what stands at the path, before a rename onto it, unless it is our file as we left it.

        Return what the log has to say about that, or an empty string.
        """
        filesystem = self._filesystem
        if not self.poisoned:
            with suppress(MediumDisplaced):
                self._prove(self._known_size)
        is_moved = self._call("look at", lambda: filesystem.size_at(self.path, self._identity)) is None
        if not is_moved and not self._is_changed:
            return ""
        story = f"{self.path} {MOVED if is_moved else CHANGED} while it was in use; all data is in a new file there now"
        if not filesystem.exists(self.path):
            return story
        number = 0
        while filesystem.exists(name := f"{self.path}.foreign" + (f".{number}" if number else "")):
            number += 1
        try:
            # It keeps its name beside the second one, so that at no moment the path is without a file.
            filesystem.link(self.path, name)
        except OSError:
            self._call("give another name to what stands at", lambda: filesystem.rename(self.path, name))
        return f"{story}, and what stood there is {name}"

    def _create_beside(self, suffix: str) -> tuple[int, str]:
        """Create a file with a name of its own beside the medium. Return its descriptor and path."""
        number = 0
        while True:
            path = f"{self.path}.{suffix}" + (f".{number}" if number else "")
            try:
                return self._filesystem.open(path, exclusive=True), path
            except FileExistsError:
                number += 1
            except OSError as error:
                raise MediumError(f"cannot create {path}: {_reason(error)}") from error

    def _replace(self, descriptor: int, identity: Identity, size: int) -> None:
        self._filesystem.close(self._descriptor)
        self._descriptor, self._identity, self._known_size = descriptor, identity, size
        self.poisoned, self._is_displaced, self._is_changed = "", False, False


class _FileFrame:
    """A FrameWriter that writes behind what the file holds, the header last."""

    def __init__(self, medium: FileMedium, reserve: int) -> None:
        self._medium = medium
        self._start = self._position = medium.size()
        self._reserved = reserve
        # The number and the text of the error of a write that failed.
        self._failure: tuple[int | None, str] | None = None

    def write(self, data: bytes) -> None:
        if self._position == self._start and self._reserved:
            self._write(UNWRITTEN)
        self._write(data)

    def _write(self, data: bytes) -> None:
        medium = self._medium
        if self._failure:
            raise MediumError(f"cannot write {medium.path}: what stands before these bytes could not be written")
        # The size is asked each time: after others cut the file, a write behind its end would leave a hole that no size shows.
        if (size := medium.size()) != self._position:
            medium._displace_changed(size, self._position)
        try:
            medium._write(medium._descriptor, data, self._position)
        except MediumError as error:
            # The error itself, kept here, would hold this object, by its traceback, and with it what was to be written.
            self._failure = _number_and_reason(error.__cause__ or error)
            raise
        self._position += len(data)

    def commit(self, header: bytes) -> None:
        medium = self._medium
        medium._sync()
        medium._prove(self._position)
        medium._known_size = self._position
        if header:
            try:
                medium._write(medium._descriptor, header, self._start)
            except MediumError as error:
                medium.poisoned = str(error)
                raise
            medium._sync()
            medium._prove(self._position)

    def abort(self) -> None:
        medium = self._medium
        # A file that is not at its place any more is not ours to cut.
        if medium._is_displaced:
            return
        if self._failure and self._failure[0] not in _OUT_OF_SPACE:
            medium.poisoned = medium.poisoned or f"cannot write {medium.path}: {self._failure[1]}"
        try:
            medium.truncate(self._start)
        except MediumError as error:
            medium.poisoned = medium.poisoned or str(error)


class _FileRewrite:
    """A Rewrite into a new file, which is renamed onto the old one's name when it is whole and synced."""

    def __init__(self, medium: FileMedium) -> None:
        self._medium = medium
        self._path = medium.path + ".new"
        filesystem = medium._filesystem
        if (other := medium._lock_other()) >= 0:
            filesystem.close(other)
        # A crash left this. No other process can be writing it, since we hold the medium's lock.
        if filesystem.exists(self._path):
            medium._call("remove the unfinished copy of", lambda: filesystem.remove(self._path))
        self._descriptor, self._path = medium._create_beside("new")
        self._position = 0
        self._frame_start: int | None = None

    def copy(self, offset: int, length: int) -> Iterator[bytes]:
        for position in range(offset, offset + length, COPY_BYTES):
            piece = self._medium.read(position, min(COPY_BYTES, offset + length - position))
            self._medium._write(self._descriptor, piece, self._position)
            self._position += len(piece)
            yield piece

    def write(self, data: bytes) -> None:
        if self._frame_start is None:
            self._frame_start = self._position
            self._medium._write(self._descriptor, UNWRITTEN, self._position)
            self._position += HEADER_SIZE
        self._medium._write(self._descriptor, data, self._position)
        self._position += len(data)

    def commit(self, header: bytes | None) -> None:
        medium, filesystem = self._medium, self._medium._filesystem
        if header is not None:
            assert self._frame_start is not None
            medium._call("sync the copy of", lambda: filesystem.sync(self._descriptor))
            medium._write(self._descriptor, header, self._frame_start)
        medium._call("sync the copy of", lambda: filesystem.sync(self._descriptor))
        identity = medium._call("look at the copy of", lambda: filesystem.identity(self._descriptor))
        # The copy is locked before it has the name, so that whoever opens the name finds it locked.
        medium._call("lock the copy of", lambda: filesystem.lock(self._descriptor))
        other = medium._lock_other()
        try:
            story = medium._make_way()
            medium._call("rename the copy of", lambda: filesystem.rename(self._path, medium.path))
        finally:
            if other >= 0:
                filesystem.close(other)
        # The new file has the name now, whatever becomes of the sync below.
        descriptor, self._descriptor = self._descriptor, -1
        medium._replace(descriptor, identity, self._position)
        try:
            medium._call("sync the folder of", lambda: sync_names(filesystem, os.path.dirname(medium.path)))
            medium._prove(self._position)
        except MediumError as error:
            medium.poisoned = str(error)
            raise
        if story:
            _log.error("%s", story)

    def abort(self) -> None:
        if self._descriptor < 0:
            return
        self._medium._filesystem.close(self._descriptor)
        self._descriptor = -1
        # If the file stays, the next rewrite removes it.
        with suppress(OSError):
            self._medium._filesystem.remove(self._path)


def _number_and_reason(error: BaseException) -> tuple[int | None, str]:
    return getattr(error, "errno", None), _reason(error)


def _reason(error: BaseException) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
