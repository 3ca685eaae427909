"""The way from the name of a place to what is kept there, opened for one who writes. So far, each place is a folder."""

from __future__ import annotations

import os

from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem
from kvserver.media.lease import FolderLease
from kvserver.media.medium import Place
from kvserver.media.segments import FileLog


def open_folder(path: str, name: str, filesystem: FileSystem | None = None) -> Place:
    """Open the folder at `path`, created if there is none, with the medium's file `name` and the segments beside it.

    MediumLocked if somebody else has the folder or the file, MediumError if one can't be opened; nothing is held then.
    """
    filesystem = filesystem or FileSystem()
    lease = FolderLease(path, filesystem)
    try:
        medium = FileMedium(os.path.join(lease.path, name), filesystem, with_journal=True)
    except BaseException:
        lease.release()
        raise
    return Place(lease, medium, FileLog(medium.path, filesystem, lease))
