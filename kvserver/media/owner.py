"""The owner of a folder's backups: a random id in a small file beside the medium, by which a vault's manifest is its own.

The id stays with the folder: a folder that was moved goes on with its backups, and another one can't replace them.
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

_ID = re.compile(rb"[0-9a-f]{%d}" % (2 * ID_BYTES))


def owner_of(medium_path: str, filesystem: FileSystem | None = None) -> str:
    """The id of the folder with the medium at this path: 2 * ID_BYTES hex digits. It is made, durably, if there is none.

    The caller has the folder's lease. MediumError if the file can't be read or made, or has no id in it.
    """
    filesystem, path = filesystem or FileSystem(), owner_path(medium_path)
    try:
        if not filesystem.exists(path):
            _make(filesystem, path)
        descriptor = filesystem.open_to_read(path)
        try:
            data = filesystem.read(descriptor, _MOST_BYTES, 0).strip()
        finally:
            filesystem.close(descriptor)
    except OSError as error:
        raise MediumError(f"cannot use {path}: {error.strerror or error}") from error
    if not _ID.fullmatch(data):
        raise MediumError(f"{path} does not have the {2 * ID_BYTES} hex digits that name the owner of backups")
    return data.decode()


def _make(filesystem: FileSystem, path: str) -> None:
    """Write the file under another name first: after a crash it is there as a whole, or not at all."""
    new_path = f"{path}.new"
    descriptor = filesystem.open(new_path, create=True)
    try:
        filesystem.truncate(descriptor, 0)
        filesystem.write(descriptor, os.urandom(ID_BYTES).hex().encode() + b"\n", 0)
        filesystem.sync(descriptor)
    finally:
        filesystem.close(descriptor)
    filesystem.rename(new_path, path)
    sync_names(filesystem, os.path.dirname(path))
