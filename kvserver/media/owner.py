"""The owner of a folder's backups: a random id in a small file beside the medium, by which a vault's manifest is its own.

The id stays with the folder: a folder that was moved goes on with its backups, and another one can't replace them. Behind it
stands the counter of the newest manifest that was written from there: a greater one in the vault is that of a copy.
"""

from __future__ import annotations

import os
import re
from typing import Final

from kvserver.errors import MediumError
from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.media.names import owner_path

ID_BYTES: Final = 16
# No id is as long as this, which is what is read of the file.
_MOST_BYTES: Final = 1000

_ID = re.compile(rb"([0-9a-f]{%d})(?: (\d{1,20}))?" % (2 * ID_BYTES))


def owner_of(medium_path: str, filesystem: FileSystem | None = None) -> str:
    """The id of the folder with the medium at this path: 2 * ID_BYTES hex digits. It is made, durably, if there is none.

    The caller has the folder's lease. MediumError if the file can't be read or made, or has no id in it.
    """
    return _read(medium_path, filesystem or FileSystem())[0]


def written_of(medium_path: str, filesystem: FileSystem | None = None) -> int | None:
    """The counter that was kept last; None if a person has put the id there. Makes and raises as `owner_of`."""
    return _read(medium_path, filesystem or FileSystem())[1]


def keep_written(medium_path: str, counter: int, filesystem: FileSystem | None = None) -> None:
    """Keep, durably, that a manifest with this counter is about to be written. MediumError."""
    filesystem, path = filesystem or FileSystem(), owner_path(medium_path)
    owner, _ = _read(medium_path, filesystem)
    try:
        _write(filesystem, path, owner, counter)
    except OSError as error:
        raise MediumError(f"cannot write {path}: {error.strerror or error}") from error


def _read(medium_path: str, filesystem: FileSystem) -> tuple[str, int | None]:
    path = owner_path(medium_path)
    try:
        if not filesystem.exists(path):
            _write(filesystem, path, os.urandom(ID_BYTES).hex(), 0)
        descriptor = filesystem.open_to_read(path)
        try:
            data = filesystem.read(descriptor, _MOST_BYTES, 0).strip()
        finally:
            filesystem.close(descriptor)
    except OSError as error:
        raise MediumError(f"cannot use {path}: {error.strerror or error}") from error
    match = _ID.fullmatch(data)
    if not match:
        raise MediumError(f"{path} does not have the {2 * ID_BYTES} hex digits that name the owner of backups")
    return match[1].decode(), int(match[2]) if match[2] else None


def _write(filesystem: FileSystem, path: str, owner: str, counter: int) -> None:
    """Write the file under another name first: after a crash it is there as a whole, or not at all."""
    new_path = f"{path}.new"
    descriptor = filesystem.open(new_path, create=True)
    try:
        filesystem.truncate(descriptor, 0)
        filesystem.write(descriptor, f"{owner} {counter}\n".encode(), 0)
        filesystem.sync(descriptor)
    finally:
        filesystem.close(descriptor)
    filesystem.rename(new_path, path)
    sync_names(filesystem, os.path.dirname(path))
