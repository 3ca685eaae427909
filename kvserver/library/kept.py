"""KeptData: the data of a KVStore with its locks, and its way to the place that keeps it, and back.

A flush freezes the data, and writes it to the disk without the lock. It is encoded in steps, each under the lock, since that
puts the shards in order; between two steps others have their turn.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from os import PathLike
from threading import RLock
from time import perf_counter, sleep
from typing import Final, Self, get_args

from kvserver.data.databases import Databases, Frozen
from kvserver.data.keyspace import Keyspace
from kvserver.errors import MediumError, StoreClosed, StoreReadOnly
from kvserver.formats.encoder import encode
from kvserver.formats.frame import encode_frame
from kvserver.library.folder import ServerFolder
from kvserver.library.forks import mind_forks, of_other_process
from kvserver.library.journal import Fsync, Journal
from kvserver.library.keeping import Keeping, open_place
from kvserver.library.once import Once
from kvserver.library.writing import Journaled, Refused
from kvserver.media.medium import CoreMedium
from kvserver.resp.request import Request

# Where other threads are, a flush encodes for so long before it lets them in, and then rests for as long as one needs to wake.
TURN_S: Final = 0.002
REST_S: Final = 0.00005

_READ_ONLY: Final = "the store was opened read_only"
_FLUSHING: Final = "this thread is in the midst of a flush of this store"
_END: Final = object()

_log = logging.getLogger("kvserver")


class KeptData:
    """The data, and the place that keeps it. A subclass reads and writes it, under `lock`, and under `_writing`."""

    def __init__(
        self,
        medium: CoreMedium | Keeping | str | PathLike[str] | None,
        *,
        journal: bool,
        fsync: Fsync,
        read_only: bool,
    ) -> None:
        self.lock = RLock()
        # The same lock, for steps in which a signal handler must not write.
        self._step = Once(self.lock)
        # One thread at a time flushes, restores or closes. Whoever needs both locks takes this one first.
        self._flushing = RLock()
        self._is_flushing = self._is_closed = False
        self._process = os.getpid()
        # True if something may have changed since the last frame.
        self._is_changed = False
        if fsync not in get_args(Fsync):
            raise ValueError(f"fsync is {' or '.join(map(repr, get_args(Fsync)))}, not {fsync!r}")
        if journal and read_only:
            raise ValueError("read_only=True and journal=True exclude each other: who only reads has nothing to record")
        self._kept = open_place(medium, read_only=read_only)
        self._is_read_only = read_only or self._kept.read_only
        self._journal: Journal | Refused | None = None
        # What a call holds while it writes.
        self._writing: AbstractContextManager[object] = self.lock
        self._keyspace: Keyspace = self.databases[0]
        if self._is_read_only:
            self._writing = Refused(StoreReadOnly, _READ_ONLY)
        if journal:
            self._begin_journal(fsync)
        mind_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a process that was forked off: with locks of its own, and, if the data is kept, for reading alone."""
        # A signal handler may have forked amid a flush, whose end follows in this process, too.
        if self._is_flushing and not self._flushing.acquire(blocking=False):
            self._is_flushing = False
            for keyspace in self.databases:
                keyspace.thaw()
        if self._writing is self.lock:
            self.lock = self._writing = RLock()
        else:
            self.lock = RLock()
        self._step, self._flushing = Once(self.lock), RLock()
        if self._kept.keeps and not self._is_read_only and not self._is_closed:
            self._writing = self._journal = Refused(MediumError, of_other_process(self._process))

    def _begin_journal(self, fsync: Fsync) -> None:
        kept = self._kept
        if not isinstance(kept, ServerFolder):
            raise ValueError('only a folder has a journal: KVStore("folder", journal=True)')
        try:
            journal = self._journal = kept.begin_journal(fsync, self._step)
            self._writing = Journaled(self._step, journal, self._flush_outgrown)
            # The oldest records do not give the same data at each start, which records behind them rely on.
            if kept.recovered.needs_rewrite:
                self._flush()
        except BaseException:
            kept.close()
            raise

    @property
    def databases(self) -> Databases:
        """The data itself. Whoever uses it holds `lock`, and calls `settle` after a change."""
        return self._kept.databases

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def shutdown(self) -> bool:
        """Append one frame with the present data and sync it. Return True. The store stays usable, also meanwhile.

        OSError (MediumError) if that fails: then the earlier frames and the store are as they were. If others have moved,
        removed, replaced or cut the medium's file, the frame goes to a new file at its path, and the log says so.
        """
        with self._flushing:
            self._refuse_if_amid()
            self._refuse_if_closed()
            if self._is_read_only:
                raise StoreReadOnly(_READ_ONLY)
            self._flush()
        return True

    def restore(self) -> bool:
        """Replace the data by what is kept and return True. If nothing is kept, clear the store and return False.

        A medium keeps its last valid frame, a ServerFolder what a server would start with. OSError, with the data as it was,
        if the medium can't be read, or if others have moved, removed or replaced its file (MediumDisplaced). A failure of the
        journal lasts on: what was read need not be durable before `shutdown` has succeeded.
        """
        with self._flushing:
            self._refuse_if_amid()
            self._refuse_if_closed()
            with self._step:
                is_there = self._kept.recover()
                # A journal that was replayed may have swapped databases.
                self._keyspace = self.databases[0]
                self._is_changed = False
        return is_there

    def frame(self) -> bytes:
        """The frame that `shutdown` would append now, as bytes."""
        with self._flushing, self._frozen(self.databases.cut) as frozen:
            return encode_frame(b"".join(self._payload(frozen)))

    def close(self) -> None:
        """Keep what was written, by a frame if something has changed since the last one, and let go of the medium or folder.

        A journal that has it all already is synced instead. OSError if it can't be kept; the place is let go of all the same.
        From then on the store can only be read. May be called again. In a process that was forked off nothing is written.
        """
        with self._flushing:
            if self._is_closed:
                return
            self._refuse_if_amid()
            self._is_closed = True
            journal = self._journal
            with self.lock:
                self._writing = self._journal = Refused(StoreClosed, "the store is closed")
            try:
                is_unkept = self._is_changed and self._kept.keeps
                if isinstance(journal, Journal):
                    journal.close()
                    is_unkept = bool(journal.failure)
                if is_unkept and os.getpid() == self._process:
                    self._flush()
            finally:
                self._kept.close()

    def _refuse_if_amid(self) -> None:
        """Raise RuntimeError for a signal handler that has interrupted this thread in a step. The caller holds `_flushing`."""
        self._step.refuse_if_amid()
        if isinstance(self._journal, Journal):
            self._journal.syncing.refuse_if_amid()
        if self._is_flushing:
            raise RuntimeError(_FLUSHING)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise StoreClosed("the store is closed")
        # A process that was forked off has the same files, but not what others write to them.
        if self._kept.keeps and os.getpid() != self._process:
            raise MediumError(of_other_process(self._process))

    def _flush(self) -> None:
        self._kept.prepare()
        with self._frozen(self._cut) as frozen:
            try:
                self._kept.append(self._payload(frozen), len(frozen))
            except BaseException:
                self._is_changed = True
                raise

    def _payload(self, frozen: Frozen) -> Iterator[bytes]:
        """The payload of what is frozen, made in steps."""
        steps = encode(frozen.cuts, self._kept.mapping, frozen.libraries)
        ends_at = perf_counter() + TURN_S
        while True:
            with self._step:
                piece = next(steps, None)
            if piece is None:
                return
            yield piece
            if perf_counter() >= ends_at:
                # A lock that is taken again at once is never had by those who wait for it: they take a while to wake up.
                if threading.active_count() > 1:
                    sleep(REST_S)
                ends_at = perf_counter() + TURN_S

    def _cut(self) -> Frozen:
        frozen = self._kept.cut()
        self._is_changed = False
        return frozen

    def _flush_outgrown(self, journal: Journal) -> None:
        """Write a frame in the place of a long journal, unless one is under way. A failure is logged."""
        if not self._flushing.acquire(blocking=False):
            return
        try:
            if not self._is_flushing:
                self._flush()
        except OSError as error:
            _log.error("the journal is long, and the frame that was to take its place failed: %s", error)
            journal.put_off()
        finally:
            self._flushing.release()

    @contextmanager
    def _frozen(self, cut: Callable[[], Frozen]) -> Iterator[Frozen]:
        """The data as it is now, for `_payload`, while others go on."""
        if self._is_flushing:
            raise RuntimeError(_FLUSHING)
        self._is_flushing = True
        try:
            with self._step:
                frozen = cut()
            try:
                yield frozen
            finally:
                steps = frozen.fold()
                is_folded = False
                while not is_folded:
                    with self._step:
                        is_folded = next(steps, _END) is _END
        finally:
            self._is_flushing = False

    # Steps, for whoever holds the lock

    def settle(self) -> None:
        """Take notice of changes that were made, and recorded, in `databases`. The caller holds `lock`.

        MediumError if there is a journal and they can't be written there.
        """
        self._is_changed = True
        if self._journal:
            self._record([])
        else:
            self.databases.records.take()

    def _record(self, commands: list[Request]) -> None:
        """Write to the journal, which there is, what changes the data behind that."""
        records = self.databases.records
        if records.has_any:
            commands = records.take() + commands
        if commands:
            self._journal.write(commands)  # type: ignore[union-attr]

    def _drop_records(self) -> None:
        """Forget what was recorded of keys that have expired, or let the journal have it with the next write."""
        if not self._journal and self.databases.records.has_any:
            self.databases.records.take()
