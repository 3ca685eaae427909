"""The journal of a KVStore: what each call wrote, in the system's hands before the call returns. Blocking.

Its files are those of a server's journal, written by the same rules (`persistence/journal` is the server's): the log is cut at
the moment at which the data of a frame is cut, a link follows its frame, and after a failure nothing is written until a frame
has succeeded. Never looks at the data.

Two locks are in play. Whoever writes or cuts holds the store's; `syncing` is for what may last long, a sync above all, beside
which others write. A thread that needs both takes the store's first.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, NoReturn

from kvserver.errors import MediumPoisoned, StoreClosed
from kvserver.formats.record import encode_link, encode_pieces, encode_tick, pack
from kvserver.formats.scan import Frame
from kvserver.library.once import Once
from kvserver.media.medium import Log
from kvserver.persistence.recovery import Recovered
from kvserver.resp.request import Request

Fsync = Literal["always", "everysec"]
SYNC_INTERVAL_S: Final = 1.0
# The rule of auto-aof-rewrite-min-size and auto-aof-rewrite-percentage at their defaults.
LEAST_OUTGROWN_BYTES: Final = 64 << 20

_log = logging.getLogger("kvserver")


class Journal:
    """The journal over a log that nobody else appends to. `now_ms` returns Unix time in milliseconds.

    `fsync` is "always", where a caller waits in `settle` until what it wrote is durable, or "everysec", where a thread of the
    journal's own sees to that once a second. `failure` is the reason why nothing is written, or empty.
    """

    def __init__(self, log: Log, fsync: Fsync, lock: Once, now_ms: Callable[[], int]) -> None:
        self.failure = ""
        self._log = log
        self._lock = lock
        self._now_ms = now_ms
        self.is_always = fsync == "always"
        self.syncing = Once()
        # The number of records so far, and of those that are durable.
        self.written = self._synced = 0
        # The last cut came behind a failure, which the link to its frame ends.
        self._heals = False
        # When the log is longer than this, it has outgrown the frame that it goes on from.
        self._most_bytes = LEAST_OUTGROWN_BYTES
        # A process that was forked off has the same file, and not the thread.
        self._process = os.getpid()
        self._has_ended = threading.Event()
        self._thread: threading.Thread | None = None

    # Beginning and ending

    def begin(self, recovered: Recovered) -> None:
        """Record from now on, behind what was recovered, in a new segment. MediumError if that fails.

        The caller holds the store's lock, or nobody has the store yet. After a failure nothing is recorded: what was recovered
        need not be durable, whatever the system gives of it now, so that a frame has to come first.
        """
        with self.syncing:
            self._note_base(recovered.frame)
            self.failure = self.failure or self._log.failure
            if not self.failure:
                self._log.cut(self._log.last_number + 1)
                if not recovered.segments:
                    self._log.link(encode_link(recovered.digest, self._now_ms()))
                self._log.prepare()
        if not (self.is_always or self._thread):
            # The thread holds no store that is forgotten.
            arguments = weakref.ref(self), self._has_ended
            self._thread = threading.Thread(target=_sync_now_and_then, args=arguments, name="kvserver-journal", daemon=True)
            self._thread.start()

    def rest(self) -> None:
        """Make durable what can be, and let go of the log's files until `begin` or `go_on`, under the store's lock."""
        with self.syncing:
            if not self.failure:
                with suppress(Exception):
                    self._sync()
            self._log.close()

    def go_on(self) -> None:
        """Go on behind `rest`, since nothing was recovered. The caller holds the store's lock."""
        if not self.failure:
            with suppress(Exception):
                self.cut()

    def close(self) -> None:
        """Make durable what was written, and end the thread. The log stays open. It is a `failure` if that fails."""
        if os.getpid() != self._process:
            return
        self._has_ended.set()
        if self._thread:
            self._thread.join()
        with self.syncing:
            if self._synced < self.written and not self.failure:
                with suppress(Exception):
                    self._sync()
        # Measured: to ask at each write if that is so would take longer.
        self.write = _refuse  # type: ignore[method-assign]

    # What the store calls for each write

    @property
    def is_outgrown(self) -> bool:
        """True if the log and the frame that it goes on from are 64 MB together, and twice as long as that frame."""
        return self._log.needed_bytes > self._most_bytes

    def put_off(self) -> None:
        """Let the log grow by another 64 MB before it is outgrown again: the frame has failed."""
        self._most_bytes = self._log.needed_bytes + LEAST_OUTGROWN_BYTES

    def write(self, commands: list[Request]) -> None:
        """Append a record of commands. The caller holds the store's lock, and makes the same changes behind that.

        MediumError if it fails now, or has failed before: then nothing is to be changed.
        """
        if self.failure:
            raise MediumPoisoned(f"nothing is written until shutdown() succeeds, since the journal failed: {self.failure}")
        now_ms = self._now_ms()
        record = encode_tick(commands, now_ms)
        try:
            for piece in encode_pieces(pack(commands), now_ms) if record is None else (record,):
                # Where the system takes it all at once, this is the shorter way.
                length = self._log.write_now(piece)
                if length < len(piece):
                    self._log.write(piece[length:])
            self.written += 1
        except BaseException as error:
            # Half of a record may be there, also where a signal came between: nothing may follow that.
            self.fail(str(error) or type(error).__name__)
            raise

    def settle(self) -> None:
        """Under "always", wait until all that was written so far is durable. MediumError if it may not be.

        The caller need not hold the store's lock: threads that come together share a sync.
        """
        if self.is_always and self._synced < self.written:
            written = self.written
            with self.syncing:
                if self._synced < written:
                    # Until a frame heals it, a sync of a new segment says nothing of what is in the one that failed.
                    if self.failure:
                        raise MediumPoisoned(f"what was written may not be kept: {self.failure}")
                    self._sync()

    def sync_late(self) -> None:
        """Make durable what is not yet. A failure, of any kind, is logged: whoever writes next is told."""
        with self.syncing:
            if self._synced < self.written and not self.failure:
                try:
                    self._sync()
                except Exception:
                    # The thread goes on: when a frame has healed the journal, there is something to sync again.
                    _log.error("the journal failed; nothing is written until shutdown() succeeds: %s", self.failure)

    def _sync(self) -> None:
        written = self.written
        try:
            self._log.sync_all()
        except BaseException as error:
            self.fail(str(error) or type(error).__name__)
            raise
        self._synced = written

    def fail(self, reason: str) -> None:
        """Let nothing be written until a frame has succeeded."""
        self.failure = self.failure or reason

    # What a flush calls, in this order

    def prepare(self) -> None:
        """Do before the cut, without the store's lock, what others would have to wait for. Never raises: the cut tells."""
        with self.syncing:
            if self._synced < self.written and not self.failure:
                with suppress(Exception):
                    self._sync()
            self._log.prepare()

    def cut(self) -> None:
        """Begin a segment, at the moment of the data's cut. The caller holds the store's lock. MediumError if that fails."""
        with self.syncing:
            if self._log.failure:
                self.failure = self.failure or self._log.failure
            # What failed is in the frame that follows, and nothing is written before its link.
            self._heals = bool(self.failure)
            try:
                self._log.cut(self._log.last_number + 1, heals=self._heals)
            except BaseException as error:
                self.fail(str(error) or type(error).__name__)
                raise

    def link(self, frame: Frame) -> None:
        """Go on from the frame that has the data of the last cut. MediumError if that fails. It ends a failure.

        The caller does not hold the store's lock: the link stands between records, and others write on while it is synced.
        """
        try:
            with self._lock:
                # Behind half of a record nobody would find the link.
                if self.failure and not self._heals:
                    raise MediumPoisoned(f"the journal failed while the frame was written: {self.failure}")
                self._log.write(encode_link(frame.digest, self._now_ms()))
                self.written += 1
            with self.syncing:
                self._sync()
                self._log.drop_before(self._log.number)
                self._log.age_asides()
        except BaseException as error:
            self.fail(str(error) or type(error).__name__)
            raise
        self._note_base(frame)
        self.failure = ""

    def _note_base(self, frame: Frame | None) -> None:
        base_bytes = frame.end - frame.offset if frame else 0
        self._most_bytes = max(LEAST_OUTGROWN_BYTES - base_bytes, base_bytes)


def _refuse(commands: list[Request]) -> NoReturn:
    raise StoreClosed("the folder of the store is closed")


def _sync_now_and_then(journal: weakref.ref[Journal], has_ended: threading.Event) -> None:
    while not has_ended.wait(SYNC_INTERVAL_S):
        present = journal()
        if present is None:
            return
        present.sync_late()
        del present
