"""ServerFolder: the folder of a server's data, opened without a server: what is read and written is what a server does.

Medium and journal are recovered as at a server's start (`recovery`), and a frame that is appended takes the journal's place,
so that neither server nor library ever goes on from less than the other has kept.
"""

from __future__ import annotations

import os
from functools import partial

from kvserver.commands.table import COMMANDS, CommandTable
from kvserver.data.cut import Cut
from kvserver.data.keyspace import Keyspace
from kvserver.errors import MediumError, MediumLocked
from kvserver.formats.encoder import chunks, encode
from kvserver.formats.record import encode_link
from kvserver.formats.scan import Frame, Hasher
from kvserver.formats.tags import TAGGED
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem, make_folders
from kvserver.media.medium import FrameWriter
from kvserver.media.names import APPLIED
from kvserver.media.segments import SegmentLog, Segments
from kvserver.options.config import Config
from kvserver.options.table import BY_NAME
from kvserver.persistence.archive import Archive
from kvserver.persistence.recovery import Recovery
from kvserver.persistence.workplace import Here, finish
from kvserver.state.session import ServerState
from kvserver.unixtime import now_ms

DBFILENAME = BY_NAME["dbfilename"].default


class ServerFolder:
    """The folder at `path`, created where there is none, and what a server keeps in it: for a KVStore.

    `dbfilename` is the server's option of that name. Raises MediumLocked where a server or somebody else has the folder open,
    MediumError where it can't be read or repaired. Close it, or use it in a `with` statement.
    """

    mapping = TAGGED

    def __init__(
        self, path: str | os.PathLike[str], dbfilename: str = DBFILENAME, filesystem: FileSystem | None = None
    ) -> None:
        self._lock = -1
        self.path = os.path.abspath(os.fspath(path))
        self._filesystem = filesystem or FileSystem()
        self._lock = self._lock_folder()
        try:
            medium = FileMedium(os.path.join(self.path, dbfilename), self._filesystem, with_journal=True)
        except BaseException:
            self._unlock()
            raise
        self.keyspace = Keyspace(now_ms)
        state = ServerState(Config(), self.keyspace, COMMANDS, now_ms)
        self._segments = Segments(medium.path, self._filesystem, folder_lock=self._lock)
        self._log = SegmentLog(self._segments)
        self._medium = medium
        self.archive = Archive(state, medium, Here())
        self._recovery = Recovery(state, CommandTable(COMMANDS, state.usages), self.archive, self._segments, self._log, Here())
        try:
            self.recover()
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        if self._lock >= 0:
            self._filesystem.close_forgotten(self._lock, self.path)

    def __enter__(self) -> ServerFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def recover(self) -> bool:
        """Replace the data by what a server's start would have; whether there was anything."""
        self.recovered = finish(self._recovery.run())
        self._number = self.recovered.last_number
        return bool(self.recovered.frame or self.recovered.segments)

    def apply_aside(self) -> str:
        """Replay the segments that were put aside, and append what that gives; one line that tells of it.

        Of several journals, the newest: the others stay where they are. What there was before is in a frame before the one
        that is appended. MediumError if there are none, or if they can't be replayed.
        """
        aside = self._segments.put_aside()
        if not aside:
            raise MediumError(f"no segment of a journal is put aside in {self.path}")
        if self.recovered.records or not self.recovered.frame:
            self._replace_journal(self.add_frame())
        paths = dict(aside)
        told, replayed = finish(self._recovery.apply(paths))
        self._replace_journal(self.add_frame())
        for number in replayed:
            self._segments.rename(paths[number], number, APPLIED)
        told += f"; the last frame holds the {len(self.keyspace)} keys now, the one before it what was there before"
        left = ", ".join(path for _, path in self._segments.put_aside())
        return f"{told}; no part of that, and still put aside: {left}" if left else told

    def append(self) -> None:
        """Append a frame with the present data, sync it, and let it take the journal's place. MediumError if that fails."""
        self._replace_journal(self.add_frame())
        self._log.age_dropped()
        finish(self.archive.compact())

    def add_frame(self) -> Frame:
        """Append a frame with the present data and sync it; the journal goes on from the one before."""
        cut = self.keyspace.cut()
        try:
            return finish(self.archive.add(partial(_write_payload, cut), len(cut)))
        finally:
            for _ in self.keyspace.fold(cut):
                pass

    def _replace_journal(self, frame: Frame) -> None:
        if self._log.needed_count:
            self._number += 1
            self._log.end(self._number, encode_link(frame.digest, now_ms()))
        self.archive.linked = frame.digest

    def close(self) -> None:
        """Let go of the folder. Nothing is written."""
        if self._lock >= 0:
            self._log.close_file()
            self._medium.close()
            self._unlock()

    def _lock_folder(self) -> int:
        try:
            make_folders(self._filesystem, self.path)
            return self._filesystem.lock_folder(self.path)
        except BlockingIOError:
            raise MediumLocked(f"{self.path} is in use by a kvserver or another ServerFolder") from None
        except OSError as error:
            raise MediumError(f"cannot use the folder {self.path}: {error.strerror or error}") from error

    def _unlock(self) -> None:
        lock, self._lock = self._lock, -1
        self._filesystem.close(lock)


async def _write_payload(cut: Cut, frame: FrameWriter, hasher: Hasher) -> int:
    length = 0
    for chunk in chunks(encode(cut, TAGGED)):
        hasher.update(chunk)
        frame.write(chunk)
        length += len(chunk)
    return length
