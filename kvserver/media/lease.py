"""The lease of a folder: its lock, which binds all who ask for it. Never touches a file in the folder."""

from __future__ import annotations

import os

from kvserver.errors import MediumError, MediumLocked
from kvserver.media.filesystem import FileSystem, make_folders

MOVED = "was moved, removed or replaced by somebody else"


class FolderLease:
    """The lock of the folder at `path`, which is created if there is none (mode 0700).

    MediumLocked if a server or somebody else has it, MediumError if the folder can't be made or locked.
    """

    def __init__(self, path: str | os.PathLike[str], filesystem: FileSystem | None = None) -> None:
        self._descriptor = -1
        self.path = os.path.abspath(os.fspath(path))
        self._filesystem = filesystem or FileSystem()
        try:
            make_folders(self._filesystem, self.path)
            self._descriptor = self._filesystem.lock_folder(self.path)
        except BlockingIOError:
            holder = self._filesystem.holder(self.path)
            raise MediumLocked(f"the directory {self.path} is in use by another kvserver{holder}") from None
        except OSError as error:
            raise MediumError(f"cannot use the directory {self.path}: {error.strerror or error}") from error

    def __del__(self) -> None:
        if self._descriptor >= 0:
            self._filesystem.close_forgotten(self._descriptor, self.path)

    def hold(self) -> bool:
        try:
            return self._filesystem.hold_folder(self._descriptor, self.path)
        except BlockingIOError:
            raise MediumLocked(f"{self.path} {MOVED}, and what is there now is in use by another kvserver") from None
        except OSError as error:
            raise MediumError(f"cannot lock the folder {self.path}: {error.strerror or error}") from error

    def release(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._filesystem.close(descriptor)
