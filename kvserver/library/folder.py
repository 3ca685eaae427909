"""ServerFolder: the folder of a server's data, opened without a server, and read and written as a server does.

Medium and journal are recovered as at a server's start (`persistence/recovery`), and a frame that is appended takes the
journal's place, so that neither server nor library ever goes on from less than the other has kept. Records are written only
where a store asks for that (`journal`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases, Frozen
from kvserver.dispatch.table import CommandTable
from kvserver.errors import MediumError, StoreReadOnly
from kvserver.formats.encoder import chunks, encode
from kvserver.formats.record import encode_link
from kvserver.formats.scan import Frame, Hasher
from kvserver.library.forks import of_other_process
from kvserver.library.journal import Fsync, Journal
from kvserver.library.once import Once
from kvserver.media.filesystem import FileSystem
from kvserver.media.locate import look_at_folder, open_folder
from kvserver.media.medium import Aside, FrameWriter
from kvserver.options.config import Config
from kvserver.options.table import BY_NAME
from kvserver.persistence.frames import Frames
from kvserver.persistence.recovery import Recovery
from kvserver.persistence.workplace import Here, finish
from kvserver.state.session import ServerState
from kvserver.system import now_ms
from kvserver.types import TAGGED

DBFILENAME = BY_NAME["dbfilename"].default


class ServerFolder:
    """The folder at `path`, created where there is none, and what a server keeps in it: for a KVStore.

    `dbfilename` is the server's option of that name. MediumLocked if a server or somebody else has the folder open,
    MediumError if it can't be read or repaired. Close it, or use it in a `with` statement.

    `read_only`: the folder may be that of a running server, and is left as it is: not created, locked or repaired. The data is
    what a start would load now; `recover` looks again. What would write raises StoreReadOnly.

    >>> from kvserver import KVStore
    >>> with ServerFolder("kvserver-data") as folder:
    ...     store = KVStore(folder)
    ...     store["user:1"] = "Ada"
    ...     store.shutdown()  # a server that is started on the folder has it
    True
    """

    mapping = TAGGED
    keeps = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        dbfilename: str = DBFILENAME,
        filesystem: FileSystem | None = None,
        *,
        read_only: bool = False,
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.read_only = read_only
        self._process = os.getpid()
        # The journal, from `begin_journal` on.
        self.journal: Journal | None = None
        self._place = (look_at_folder if read_only else open_folder)(self.path, dbfilename, filesystem)
        self._log = self._place.log
        self.databases = Databases(now_ms)
        state = ServerState(Config(), self.databases, COMMANDS, now_ms)
        self.frames = Frames(state, self._place.medium, Here())
        self._recovery = Recovery(state, CommandTable(COMMANDS, state.usages), self.frames, self._log, Here())
        try:
            self.recover()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ServerFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def recover(self) -> bool:
        """Replace the data by what a server's start would load. Return True if there was anything."""
        if self.read_only:
            self.recovered = finish(self._recovery.look_until_whole())
        elif self.journal:
            self.journal.rest()
            try:
                self.recovered = finish(self._recovery.run())
            except BaseException:
                self.journal.go_on()
                raise
            self.journal.begin(self.recovered)
        else:
            self.recovered = finish(self._recovery.run())
        return bool(self.recovered.frame or self.recovered.segments)

    def _refuse_to_write(self) -> None:
        if self.read_only:
            raise StoreReadOnly(f"{self.path} was opened read_only")
        # The lock of the folder, by which nobody else writes there, is that of the process which has taken it.
        if os.getpid() != self._process:
            raise MediumError(of_other_process(self._process))

    def begin_journal(self, fsync: Fsync, lock: Once) -> Journal:
        """Record from now on what the caller writes, under this lock, to the journal that is returned (`Journal`)."""
        self._refuse_to_write()
        self.journal = Journal(self._log, fsync, lock, now_ms)
        self.journal.begin(self.recovered)
        return self.journal

    def apply_aside(self) -> str:
        """Replay the segments that were put aside, and append the data that this gives. Return one line that tells of it.

        Of several journals the newest is replayed: the others stay where they are. The data of before is in the frame before
        the one that is appended. MediumError if there are no such segments, or if they can't be replayed.
        """
        self._refuse_to_write()
        aside = self._log.asides()
        if not aside:
            raise MediumError(f"no segment of a journal is put aside in {self.path}")
        if self.recovered.records or not self.recovered.frame:
            self._replace_journal(self.add_frame())
        names = dict(aside)
        told, replayed = finish(self._recovery.apply(names))
        self._replace_journal(self.add_frame())
        for number in replayed:
            self._log.set_aside(names[number], Aside.APPLIED)
        told += f"; the last frame holds the {self.databases.key_count} keys now, the one before it what was there before"
        left = ", ".join(name for _, name in self._log.asides())
        return f"{told}; no part of that, and still put aside: {left}" if left else told

    def prepare(self) -> None:
        """Do what others would have to wait for at the next `cut`."""
        if self.journal:
            self.journal.prepare()

    def cut(self) -> Frozen:
        """Freeze the data as it is now, for `append`. The caller folds it. MediumError, with nothing frozen, if that fails."""
        frozen = self.databases.cut()
        if self.journal:
            try:
                self.journal.cut()
            except BaseException:
                _fold(frozen)
                raise
        return frozen

    def append(self, payload: Iterable[bytes], key_count: int) -> None:
        """Append a frame with this payload, that of a cut of so many keys, and let it take the journal's place.

        MediumError if that fails.
        """
        self._refuse_to_write()
        frame = self._add(payload, key_count)
        if self.journal:
            self.journal.link(frame)
            self.frames.linked = frame.digest
        else:
            self._replace_journal(frame)
            self._log.age_asides()
        finish(self.frames.compact())

    def add_frame(self) -> Frame:
        """Append a frame with the present data and sync it. The journal still goes on from an earlier frame."""
        self._refuse_to_write()
        frozen = self.databases.cut()
        try:
            return self._add(encode(frozen.cuts, TAGGED, frozen.libraries), len(frozen))
        finally:
            _fold(frozen)

    def _add(self, payload: Iterable[bytes], key_count: int) -> Frame:
        return finish(self.frames.add(partial(_write_payload, payload), key_count))

    def _replace_journal(self, frame: Frame) -> None:
        if self._log.needed_count:
            self._log.end(self._log.last_number + 1, encode_link(frame.digest, now_ms()))
        self.frames.linked = frame.digest

    def close(self) -> None:
        """Let go of the folder. Nothing is written."""
        if self.journal:
            self.journal.close()
        self._place.close()


def _fold(frozen: Frozen) -> None:
    for _ in frozen.fold():
        pass


async def _write_payload(payload: Iterable[bytes], frame: FrameWriter, hasher: Hasher) -> int:
    length = 0
    for chunk in chunks(payload):
        hasher.update(chunk)
        frame.write(chunk)
        length += len(chunk)
    return length
