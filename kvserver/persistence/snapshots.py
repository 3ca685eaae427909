"""Flushing and loading beside a busy server: the pure encoder and scanner, driven in slices, over the frames of the medium.

Owns the cut while it is flushed, and the facts about flushes and loads. The event loop runs one short slice (`slices`) per
iteration, so that clients wait no longer than that; hashing, reading and writing happen on the disk's thread. Never runs a
command, and never uses the medium but by its frames (`frames`). It never decides when a flush begins: `schedule` does.

The way of a SAVE: `commands/persistence` returns the effect, `engine/jobs` hands it to `schedule`, which lets one flush begin
at a time; here the data is cut, encoded in slices and handed to `frames`, which writes the frame to the medium, header last;
then the data is folded, and the journal writes its link to the frame.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from kvserver.data.databases import Databases, Frozen
from kvserver.data.shards import Shard, drain
from kvserver.formats.encoder import encode
from kvserver.formats.record import EMPTY_STORE
from kvserver.formats.scan import CHUNK_BYTES, Frame, Hasher
from kvserver.media.medium import FrameWriter, Medium
from kvserver.persistence.disk import Disk
from kvserver.persistence.frames import Frames
from kvserver.persistence.history import History
from kvserver.persistence.recorder import Recorder
from kvserver.persistence.slices import BesideLoop
from kvserver.state.session import ServerState
from kvserver.types import TAGGED

# So many chunks may be on their way to the disk: enough to keep it busy, few enough to keep memory bounded.
_QUEUED_CHUNKS = 2

_log = logging.getLogger("kvserver")


class Base(NamedTuple):
    """The frame that the journal goes on from in the segment `number`, or 0 where none is written; EMPTY_STORE has none.

    `cut_at_ms` is the time at which its data was cut (Unix milliseconds).
    """

    number: int
    digest: str
    cut_at_ms: int


class Snapshots:
    """The flushes and loads of a server. Only one flush runs at a time, and a load waits for its end."""

    def __init__(self, state: ServerState, medium: Medium, disk: Disk, journal: Recorder | None = None) -> None:
        self._state = state
        self._journal = journal
        self._facts = state.persistence
        self._databases = state.databases
        self._disk = disk
        self._workplace = BesideLoop(disk, state.counters, state.persistence)
        self.frames = Frames(state, medium, self._workplace)
        # It keeps what is older than the last snapshot, if anybody does.
        self.history: History | None = None
        # What the journal goes on from, once that is known.
        self.base: Base | None = None
        # It is called when a flush has succeeded.
        self.on_flushed: Callable[[], None] = _do_nothing
        # What is under way, or None.
        self.flush: asyncio.Task[None] | None = None
        # Whether the last save was good before somebody ordered that all fail, and its error.
        self._before_refusal = True, ""
        # The number of times that RESTORE has replaced the data.
        self._loads = 0
        # Code that uses the frames holds this.
        self._lock = asyncio.Lock()

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """What is under way. A server that crashes ends it."""
        return {self.flush} if self.flush else set()

    @property
    def is_flushing(self) -> bool:
        """True while a flush, or DEBUG CRASH, is under way."""
        return self.flush is not None

    def start_flush(self) -> asyncio.Task[None]:
        """Cut now and flush in the background; awaiting the task raises MediumError if that fails.

        RuntimeError if a flush is running: ask `is_flushing` first.
        """
        if self.flush:
            raise RuntimeError("a flush is running")
        frozen, token = self._cut()
        self.flush = asyncio.create_task(self._flush_to_end(frozen, self._databases.records.changes, token, self._loads))
        self.flush.add_done_callback(_retrieve)
        return self.flush

    def _cut(self) -> tuple[Frozen, int]:
        """The data as it is now, and the journal's token for what follows it."""
        return self._databases.cut(), self._journal.cut() if self._journal else 0

    async def wait(self) -> None:
        """Wait until a flush could begin. The failure of a flush that was running is not raised here."""
        while self.flush or self._state.scripts.busy_error:
            if self.flush:
                await asyncio.wait([self.flush])
            await self._until_whole()

    async def _until_whole(self) -> None:
        """Wait while a script stands aside: what it has written so far is half of something."""
        while self._state.scripts.busy_error:
            await self._state.scripts.wait()

    async def load(self, command: str = "RESTORE") -> bool:
        """Replace the data by the last valid frame's, or clear it. Return True if there was a valid frame.

        `command` is the one that asks for it, which the log tells.

        The data stays as it is until the whole frame is proven. Then the journal goes on from that frame, and what it has
        recorded since is put aside. MediumError, with the data as it was, if the medium can't be read.
        """
        await self.wait()
        async with self._lock:
            started_at = time.perf_counter()
            result = await self.frames.scan(load=True)
            await self._until_whole()
            dropped = self._databases.key_count
            unused = self.frames.install(result, started_at)
            await self._go_on_from(result.loaded, command, dropped)
        await self._workplace.pace().run(drain(unused))
        return result.loaded is not None

    async def adopt(self, databases: Databases, command: str) -> None:
        """Replace the data by that of other databases, which are empty then. `command` is the one that asks for it.

        The other data is a durable frame before it takes the place of the present, and the journal goes on from that. What the
        journal has recorded since is put aside. MediumError, with the data as it was, if the frame can't be written.
        """
        await self.wait()
        async with self._lock:
            frozen = databases.cut()
            try:
                frame = await self.frames.add(partial(self._write_payload, frozen), len(frozen))
            finally:
                await self._workplace.pace().run(frozen.fold())
            await self._until_whole()
            dropped = self._databases.key_count
            unused = self._databases.replace(databases.give())
            self._databases.libraries.replace(databases.libraries.copy())
            self._facts.changes_at_last_save = self._databases.records.changes
            await self._go_on_from(frame, command, dropped)
        await self._workplace.pace().run(drain(unused))

    async def _go_on_from(self, frame: Frame | None, command: str, dropped: int) -> None:
        """Let the journal go on from the frame whose data has taken the place of so many keys."""
        self._loads += 1
        if self._journal:
            token = self._journal.cut(breaks=True)
            records = self._journal.records_since_link
            _log.warning(
                "%s drops %d keys, and %d records behind the frame that the data comes from", command, dropped, records
            )
            await self._link(token, frame, self._state.now_ms(), drops=True)

    async def _link(self, token: int, frame: Frame | None, cut_at_ms: int, *, drops: bool = False) -> None:
        """Let the journal go on from a frame. Until that is certain, no frame may be dropped."""
        size = frame.end - frame.offset if frame else 0
        digest = frame.digest if frame else EMPTY_STORE
        if self._journal and await self._journal.link(token, digest, size, drops=drops):
            self.frames.linked = frame.digest if frame else ""
            self.base = Base(token if self._state.journal.enabled else 0, digest, cut_at_ms)
            await self._keep_base()

    async def keep_history(self) -> None:
        """Keep as much of the history as the options say from now on."""
        if self.history:
            async with self._lock:
                await self.history.keep(self._state.config.history)
                await self._keep_base()

    async def _keep_base(self) -> None:
        """Let the history have the frame that the journal goes on from, if it wants it."""
        if self.history and self.base:
            number, digest, cut_at_ms = self.base
            await self.history.follow(number, self.frames.find(digest), cut_at_ms)

    def refuse(self, reason: str) -> None:
        """Let every flush fail for this reason, and writes be refused, until the reason is empty: then all is as before."""
        facts, frames = self._facts, self.frames
        if reason and not frames.refusal:
            self._before_refusal = facts.last_save_ok, facts.last_save_error
        elif frames.refusal and not reason:
            facts.last_save_ok, facts.last_save_error = self._before_refusal
        frames.refusal = reason
        facts.medium_poisoned = frames.poisoned

    async def crash(self) -> None:
        """Append the first half of the present frame, for DEBUG CRASH."""
        await self.wait()
        self.flush = asyncio.create_task(self._crash_to_end(self._databases.cut()))
        await self.flush

    async def discard(self, shards: list[Shard]) -> None:
        """Free, in slices, the shards of data that nobody uses any more."""
        await self._workplace.pace().run(drain(shards))

    async def close(self) -> None:
        """Wait for what is running, then let go of the medium."""
        await self.wait()
        async with self._lock:
            await self.frames.close()

    # A flush

    async def _crash_to_end(self, frozen: Frozen) -> None:
        try:
            async with self._lock:
                try:
                    pieces = await self._workplace.pace().run(encode(frozen.cuts, TAGGED, frozen.libraries))
                finally:
                    await self._workplace.pace().run(frozen.fold())
                await self.frames.add_half(pieces)
        finally:
            self.flush = None

    async def _flush_to_end(self, frozen: Frozen, changes_at_cut: int, token: int, loads: int) -> None:
        facts, cut_at_ms = self._facts, self._state.now_ms()
        facts.flush_in_progress, facts.flush_started_at = True, time.time()
        facts.flush_keys_done, facts.flush_keys_total = 0, len(frozen)
        started_at = time.perf_counter()
        try:
            async with self._lock:
                if self.history:
                    await self.history.prune()
                if loads != self._loads:
                    # RESTORE went back to another frame while this flush waited. Appended behind that frame, the older cut
                    # would be what the next start loads: so the data is cut again.
                    await self._workplace.pace().run(frozen.fold())
                    await self._until_whole()
                    (frozen, token), changes_at_cut = self._cut(), self._databases.records.changes
                    cut_at_ms = self._state.now_ms()
                try:
                    frame = await self.frames.add(partial(self._write_payload, frozen), len(frozen))
                finally:
                    await self._workplace.pace().run(frozen.fold())
                await self._link(token, frame, cut_at_ms)
                await self.frames.compact()
        except Exception as error:
            facts.last_save_ok, facts.last_save_error = False, str(error)
            _log.error("flush failed: %s", error, exc_info=None if isinstance(error, OSError) else error)
            raise
        else:
            facts.last_save_ok, facts.last_save_error = True, ""
            facts.last_save_at = int(time.time())
            facts.changes_at_last_save = changes_at_cut
            facts.saves += 1
            _log.info("flushed %d keys in %.3f s", len(frozen), time.perf_counter() - started_at)
            self.on_flushed()
        finally:
            facts.last_save_duration_s = round(time.perf_counter() - started_at)
            facts.medium_poisoned = self.frames.poisoned
            facts.flush_in_progress = False
            self.flush = None

    async def _write_payload(self, frozen: Frozen, frame: FrameWriter, hasher: Hasher) -> int:
        """Encode the data in slices and hand the chunks to the disk. Return the payload's length in bytes."""
        length = gathered = 0
        pieces: list[bytes] = []
        writes: list[asyncio.Future[None]] = []

        def write(chunk: list[bytes]) -> None:
            data = b"".join(chunk)
            hasher.update(data)
            frame.write(data)

        async def hand_over() -> None:
            nonlocal pieces, gathered
            chunk, pieces, gathered = pieces, [], 0
            writes.append(self._disk.run(lambda: write(chunk)))
            while len(writes) > _QUEUED_CHUNKS:
                await writes.pop(0)

        slices = self._workplace.pace()
        try:
            for piece in encode(frozen.cuts, TAGGED, frozen.libraries):
                if piece:
                    pieces.append(piece)
                    gathered += len(piece)
                    length += len(piece)
                    self._facts.flush_keys_done = frozen.keys_encoded
                    if gathered >= CHUNK_BYTES:
                        await hand_over()
                if slices.is_over:
                    await slices.next()
            await hand_over()
            while writes:
                await writes.pop(0)
        finally:
            # After one write failed, those behind it fail as well: their errors say nothing new.
            await asyncio.gather(*writes, return_exceptions=True)
        return length


def _do_nothing() -> None:
    """Nobody wants to know."""


def _retrieve(task: asyncio.Task[None]) -> None:
    """Retrieve the failure of a flush, which is logged where it happens: asyncio reports one that nobody retrieves."""
    if not task.cancelled():
        task.exception()
