"""The calls that media in files make, in one place, so that tests can pass a disk that fails, forgets and tears.

Each method is one thing that can fail, and raises OSError then. This module decides one thing alone: what is done where a
system or a file system lacks a call.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
import time
import warnings
from collections.abc import Iterator
from typing import Final

# The device and the inode of a file.
Identity = tuple[int, int]

FILE_MODE = 0o600
FOLDER_MODE = 0o700

# A call that is lacking fails with one of these: kernels, and file systems such as CIFS and FUSE, don't agree on a number.
_LACKING: Final = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}

_log = logging.getLogger("kvserver")
# The folders that can't be synced, as the log has said already.
_told: set[str] = set()
# The process that has locked a file or folder, by its descriptor: a process that is forked off shares the lock itself.
_lockers: dict[int, int] = {}


def make_folders(filesystem: FileSystem, path: str) -> None:
    """Create a folder and its parents if there are none, and make the name of each durable."""
    if not filesystem.exists(path):
        parent = os.path.dirname(path)
        make_folders(filesystem, parent)
        filesystem.make_folder(path)
        sync_names(filesystem, parent)


def sync_names(filesystem: FileSystem, folder: str) -> None:
    """Make the names in a folder durable, as far as its file system can: if it has no such call, the log says so once."""
    try:
        filesystem.sync_folder(folder)
    except OSError as error:
        if error.errno not in {*_LACKING, errno.EBADF}:
            raise
        if folder not in _told:
            _told.add(folder)
            text = "the folder %s can't be synced (%s): after a power loss, new names in it may be missing"
            _log.warning(text, folder, error.strerror or error)


class FileSystem:
    """The machine's own file system. A subclass can let calls fail."""

    # Linux has this flag; a write with it is as durable at its end as by fdatasync.
    _has_write_flags = hasattr(os, "RWF_DSYNC")
    # Linux has this flag; for writes that append XFS has it since 6.0, Btrfs since 6.1, and ext4 has not.
    _has_nowait = hasattr(os, "RWF_NOWAIT")

    # The number of macOS's call.
    _full_sync: int | None = getattr(fcntl, "F_FULLFSYNC", None)

    def make_folder(self, path: str) -> None:
        """Create one folder, unless somebody did it meanwhile."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, FOLDER_MODE)

    def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
        """Open a file for reading and writing. Return its descriptor. OSError for links, and for what is no regular file."""
        flags = os.O_CREAT if create or exclusive else 0
        flags |= os.O_EXCL if exclusive else 0
        return self._open(path, os.O_RDWR | flags)

    def open_to_read(self, path: str) -> int:
        """Open a file for reading alone. Return its descriptor. OSError as for `open`."""
        return self._open(path, os.O_RDONLY)

    def _open(self, path: str, flags: int) -> int:
        # O_NONBLOCK, since opening a FIFO must not wait for its other end.
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, FILE_MODE)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "not a regular file", path)
        return descriptor

    def list(self, folder: str) -> list[str]:
        """The names in a folder."""
        return os.listdir(folder)

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def lock(self, descriptor: int) -> None:
        """Take the exclusive lock of a file or folder, without waiting: BlockingIOError if another has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {*_LACKING, errno.ENOLCK}:
                raise
            reason = "its file system has no locks (flock), without which two processes could write to it at once"
            raise OSError(error.errno, f"{reason}: {error.strerror}") from error
        _lockers[descriptor] = os.getpid()

    def holder(self, path: str) -> str:
        """The process that has the lock of a file or folder, as the end of a line that tells of it, or nothing."""
        # Only Linux tells.
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(path)
            place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
            with open("/proc/locks", encoding="ascii") as locks:
                words = next((line.split() for line in locks if " FLOCK " in line and f" {place} " in line), [])
            process = int(words[words.index(place) - 1]) if words else 0
            if process > 0:
                return " (this process)" if process == os.getpid() else f" (process {process})"
        return ""

    def identity(self, descriptor: int) -> Identity:
        """The identity of a file, which no other file has while this one is open."""
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino

    def size_at(self, path: str, identity: Identity) -> int | None:
        """The size (bytes) of the file of this identity, or None if the path does not name it (any more)."""
        try:
            # One call tells all: each sync of the journal waits for it.
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_size if (status.st_dev, status.st_ino) == identity else None

    def age_s(self, path: str) -> float:
        """The seconds since something was written to a file."""
        return time.time() - os.lstat(path).st_mtime

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        return os.pread(descriptor, length, offset)

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """Write some of the data. Return the number of bytes."""
        return os.pwrite(descriptor, data, offset)

    def append(self, descriptor: int, data: bytes | memoryview, *, synced: bool) -> int:
        """Write some of the data behind what the file holds. Return the number of bytes. `synced`: as durable as by `sync`."""
        if self._has_write_flags:
            # One call gives up the interpreter's lock and takes it back once: that takes longer than many a sync.
            try:
                return os.pwritev(descriptor, [data], 0, os.RWF_APPEND | (os.RWF_DSYNC if synced else 0))
            except OSError as error:
                if error.errno not in _LACKING:
                    raise
                # If something else was wrong, the calls below say so.
                self._has_write_flags = False
        length = os.pwrite(descriptor, data, os.fstat(descriptor).st_size)
        if synced:
            self._sync_fully(descriptor)
        return length

    def append_now(self, descriptor: int, data: bytes | memoryview) -> int:
        """Append without a sync. BlockingIOError instead of waiting, if the file system knows that it would wait."""
        if self._has_nowait:
            try:
                return os.pwritev(descriptor, [data], 0, os.RWF_APPEND | os.RWF_NOWAIT)
            except OSError as error:
                if error.errno not in _LACKING:
                    raise
                self._has_nowait = False
        return self.append(descriptor, data, synced=False)

    def sync(self, descriptor: int) -> None:
        self._sync_fully(descriptor)

    def _sync_fully(self, descriptor: int) -> None:
        """Sync a file or a folder. On macOS, fsync leaves it to the drive when, and another call waits for that."""
        if self._full_sync is not None:
            try:
                fcntl.fcntl(descriptor, self._full_sync)
                return
            except OSError as error:
                if error.errno not in {*_LACKING, errno.ENOTTY}:
                    raise
        os.fsync(descriptor)

    def drop_cache(self, descriptor: int) -> None:
        """Let reads show what is on the disk, as far as it is synced, and not what the system remembers of it."""
        # macOS does not have the call.
        if hasattr(os, "posix_fadvise"):
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            except OSError as error:
                if error.errno not in {*_LACKING, errno.ESPIPE}:
                    raise

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def link(self, path: str, name: str) -> None:
        """Give a file a second name. No file system does it with folders, and some have no second names at all."""
        os.link(path, name, follow_symlinks=False)

    def remove(self, path: str) -> None:
        os.remove(path)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        with self._folder(path) as descriptor:
            self._sync_fully(descriptor)

    def lock_folder(self, path: str) -> int:
        """Lock a folder. Return the descriptor that holds the exclusive lock until it is closed. Raises as `lock`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.lock(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def hold_folder(self, descriptor: int, path: str) -> bool:
        """Let the descriptor of a locked folder hold the folder that is at the path now. Return True if that is another one.

        BlockingIOError as for `lock`.
        """
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return False
        other = self.lock_folder(path)
        os.dup2(other, descriptor, inheritable=False)
        _lockers[descriptor] = _lockers.pop(other)
        os.close(other)
        return True

    def close(self, descriptor: int) -> None:
        """Close a file or folder. Its lock goes, also where a process that was forked off has it open still.

        The lock stays if this is such a process: it is that of the process that has taken it.
        """
        if _lockers.pop(descriptor, None) == os.getpid():
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def close_forgotten(self, descriptor: int, path: str) -> None:
        """Close, with a ResourceWarning, a descriptor whose owner was garbage-collected without closing it."""
        warnings.warn(f"{path} was not closed", ResourceWarning, stacklevel=3)
        self.close(descriptor)

    @contextlib.contextmanager
    def _folder(self, path: str) -> Iterator[int]:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
