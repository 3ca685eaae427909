"""The way from the name of a place to what is kept there, opened for one who writes, or who reads. Each place is a folder."""

from __future__ import annotations

import os
from contextlib import suppress

from kvserver.errors import MediumError
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem
from kvserver.media.lease import FolderLease
from kvserver.media.medium import Place
from kvserver.media.names import restoring_path
from kvserver.media.readonly import NoLease, ReadOnlyLog, ReadOnlyMedium
from kvserver.media.segments import FileLog

# An RDB file of Redis begins so.
REDIS_MAGIC = b"REDIS0"


def open_folder(path: str, name: str, filesystem: FileSystem | None = None) -> Place:
    """Open the folder at `path`, created if there is none, with the medium's file `name` and the segments beside it.

    MediumLocked if somebody else has the folder or the file, MediumError if one can't be opened; nothing is held then.
    """
    filesystem = filesystem or FileSystem()
    lease = FolderLease(path, filesystem)
    try:
        _check_foreign(os.path.join(lease.path, name))
        _check_spelling(lease.path, name, filesystem)
        _check_restored(os.path.join(lease.path, name), filesystem)
        medium = FileMedium(os.path.join(lease.path, name), filesystem, with_journal=True)
    except BaseException:
        lease.release()
        raise
    log = FileLog(medium.path, filesystem, lease)
    return Place(lease, medium, log, log.history)


def look_at_folder(path: str, name: str, filesystem: FileSystem | None = None) -> Place:
    """What is in the folder at `path`, for one who only reads, beside whoever has it. Nothing is opened yet, made or held."""
    filesystem, medium_path = filesystem or FileSystem(), os.path.join(os.path.abspath(path), name)
    return Place(NoLease(), ReadOnlyMedium(medium_path, filesystem), ReadOnlyLog(medium_path, filesystem))


def _check_foreign(path: str) -> None:
    """Check that the file is none of Redis. MediumError if it is: damage is set aside, but that is another server's data."""
    beginning = b""
    # What can't be opened is told by the opening that follows.
    with suppress(OSError):
        # To open a FIFO would wait for its other end.
        if os.path.isfile(path):
            with open(path, "rb") as file:
                beginning = file.read(len(REDIS_MAGIC))
    if beginning == REDIS_MAGIC:
        raise MediumError(f"{path} is a dump of Redis, which kvserver can't read: --dbfilename names another file")


def _check_restored(path: str, filesystem: FileSystem) -> None:
    """Check that no restore was cut off there. MediumError if one was: a server would start empty, and nobody would know."""
    if filesystem.exists(restoring_path(path)):
        raise MediumError(
            f"{restoring_path(path)} is what a `kvserver restore` has left that did not end: run it again, or remove the file"
        )


def _check_spelling(folder: str, name: str, filesystem: FileSystem) -> None:
    """Check that a file that is there has this very name. MediumError if not.

    On macOS, `Dump.kvs` opens the file `dump.kvs`; but the segments of its journal would be looked for under another name.
    """
    try:
        names = filesystem.list(folder) if filesystem.exists(os.path.join(folder, name)) else [name]
    except OSError as error:
        raise MediumError(f"cannot read the directory {folder}: {error.strerror or error}") from error
    if name not in names:
        alike = next((each for each in names if each.casefold() == name.casefold()), "another spelling")
        raise MediumError(f"{os.path.join(folder, name)} is there as {alike}: spell it so, or its journal would not be found")
