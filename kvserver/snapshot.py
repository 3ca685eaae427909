"""Flushing and loading beside a busy server: the pure encoder and scanner, driven in slices, with a disk behind them.

Owns the medium and what is known of it. The event loop runs one short slice (`slices`) per iteration, so that clients
wait for that long and no longer; hashing, reading and writing happen on the disk's thread. Never runs a command.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from kvserver.cut import Cut
from kvserver.disk import Disk
from kvserver.drive import drive
from kvserver.errors import MediumError
from kvserver.frame import HEADER_SIZE, encode_frame, encode_header
from kvserver.journal import Journal
from kvserver.media.medium import FrameWriter, Medium, Rewrite
from kvserver.payload import encode
from kvserver.record import EMPTY_STORE
from kvserver.scan import CHUNK_BYTES, Frame, Hasher, Scan, Tail, scan
from kvserver.session import ServerState
from kvserver.shards import Shard, drain, new_shards
from kvserver.slices import Slices
from kvserver.store import repair
from kvserver.tags import TAGGED

_COMPACTION_GROWTH = 2  # times what is kept
_QUEUED_CHUNKS = 2  # on their way to the disk: enough to keep it busy, few enough to keep memory bounded

_log = logging.getLogger("kvserver")


class Snapshots:
    """The flushes and loads of a server. One flush at a time; a load waits for it."""

    def __init__(self, state: ServerState, medium: Medium, disk: Disk, journal: Journal | None = None) -> None:
        self.loaded: Frame | None = None  # where the data came from that was loaded last
        self._state = state
        self._journal = journal
        self._facts = state.persistence
        self._keyspace = state.keyspace
        self._medium = medium
        self._disk = disk
        self._frames: list[Frame] = []
        self._linked = ""  # checksum of the frame that the journal goes on from, which compaction must keep
        self._clean_length = -1  # the medium's length up to which all is valid frames; -1: a scan has to tell
        self._flush: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()  # whoever uses the medium

    @property
    def is_flushing(self) -> bool:
        return self._flush is not None

    def start_flush(self) -> asyncio.Task[None]:
        """Cut now and flush in the background; awaiting the task raises MediumError if that fails.

        RuntimeError if a flush is running: ask `is_flushing` first.
        """
        if self._flush:
            raise RuntimeError("a flush is running")
        cut = self._keyspace.cut()
        token = self._journal.rotate() if self._journal else 0
        self._flush = asyncio.create_task(self._flush_to_end(cut, self._keyspace.changes, token))
        self._flush.add_done_callback(_retrieve)
        return self._flush

    async def wait(self) -> None:
        """Until no flush is running, whether it succeeded or not."""
        while self._flush:
            await asyncio.wait([self._flush])

    async def load(self, *, at_start: bool = False, digest: str = "") -> bool:
        """Replace the data by the last valid frame's, or clear it; whether there was a valid frame.

        The data stays as it is until the whole frame is proven. Then the journal goes on from that frame. At the start,
        it has yet to begin; a `digest` names another frame than the last one, or EMPTY_STORE. Also repairs the medium.
        """
        await self.wait()
        async with self._lock:
            facts = self._facts
            started_at = time.perf_counter()
            result = await self._scan(load=digest != EMPTY_STORE, digest=digest)
            unused = self._keyspace.replace(result.data or new_shards())
            frame = self.loaded = result.loaded
            facts.keys_loaded = frame.member_count if frame else 0
            if result.tail is Tail.NONE:
                facts.changes_at_last_save = self._keyspace.changes
            if frame:
                _log.info(
                    "loaded %d keys from the frame at offset %d (%d bytes, %d valid frames) in %.3f s",
                    frame.member_count,
                    frame.offset,
                    frame.payload_length,
                    len(result.frames),
                    time.perf_counter() - started_at,
                )
            if at_start:
                self._linked = frame.digest if frame else ""
                await self._repair(result)
                # For the sync: a frame that a killed process had not synced is about to be what a journal goes on from.
                await self._disk.run(lambda: self._medium.truncate(result.valid_length))
            elif self._journal:
                await self._link(self._journal.rotate(), frame)
        await Slices(self._state.counters).run(drain(unused))
        return frame is not None

    async def _link(self, token: int, frame: Frame | None) -> None:
        """Let the journal go on from a frame. Until that is certain, no frame may be dropped."""
        size = frame.end - frame.offset if frame else 0
        if self._journal and await self._journal.link(token, frame.digest if frame else EMPTY_STORE, size):
            self._linked = frame.digest if frame else ""

    async def crash(self) -> None:
        """Append the first half of the present frame (DEBUG CRASH)."""
        await self.wait()
        self._flush = asyncio.create_task(self._crash_to_end(self._keyspace.cut()))
        await self._flush

    async def discard(self, shards: list[Shard]) -> None:
        """Free data that nobody uses any more."""
        await Slices(self._state.counters).run(drain(shards))

    async def close(self) -> None:
        """Wait for what is running, then let go of the medium."""
        await self.wait()
        async with self._lock:
            await self._disk.run(self._medium.close)

    # A flush

    async def _crash_to_end(self, cut: Cut) -> None:
        try:
            async with self._lock:
                try:
                    pieces = await Slices(self._state.counters).run(encode(cut, TAGGED))
                finally:
                    await Slices(self._state.counters).run(self._keyspace.fold(cut))

                def append_half() -> None:
                    frame = encode_frame(b"".join(pieces))
                    self._medium.append(frame[: len(frame) // 2])

                self._clean_length = -1
                await self._disk.run(append_half)
        finally:
            self._flush = None

    async def _flush_to_end(self, cut: Cut, changes_at_cut: int, token: int) -> None:
        facts = self._facts
        facts.flush_in_progress, facts.flush_started_at = True, time.time()
        facts.flush_keys_done, facts.flush_keys_total = 0, len(cut)
        started_at = time.perf_counter()
        try:
            async with self._lock:
                try:
                    frame = await self._write_frame(cut)
                finally:
                    await Slices(self._state.counters).run(self._keyspace.fold(cut))
                await self._link(token, frame)
                await self._compact()
        except Exception as error:
            facts.last_save_ok, facts.last_save_error = False, str(error)
            _log.error("flush failed: %s", error, exc_info=None if isinstance(error, OSError) else error)
            raise
        else:
            facts.last_save_ok, facts.last_save_error = True, ""
            facts.last_save_at = int(time.time())
            facts.changes_at_last_save = changes_at_cut
            facts.saves += 1
            _log.info("flushed %d keys in %.3f s", len(cut), time.perf_counter() - started_at)
        finally:
            facts.last_save_duration_s = round(time.perf_counter() - started_at)
            facts.medium_poisoned = self._medium.poisoned
            facts.flush_in_progress = False
            self._flush = None

    async def _write_frame(self, cut: Cut) -> Frame:
        medium = self._medium
        if medium.poisoned:
            if self._clean_length < 0:  # the rewrite before this one failed after its rename: other frames, other places
                with suppress(OSError):
                    await self._scan(load=False)
            rewrite = await self._disk.run(medium.begin_rewrite)
            try:
                kept = await self._copy_kept(rewrite, self._count_to_keep(self._state.config.keep_frames - 1))
            except BaseException:
                await self._disk.run(rewrite.abort)
                raise
            frame: FrameWriter = rewrite
        else:
            if self._clean_length != await self._disk.run(medium.size):
                await self._repair(await self._scan(load=False))
            kept = self._frames
            frame = await self._disk.run(medium.begin_frame)
        offset = kept[-1].end if kept else 0
        self._clean_length = -1
        try:
            hasher = hashlib.sha256()
            length = await self._write_payload(cut, frame, hasher)
            digest = hasher.hexdigest()
            await self._disk.run(lambda: frame.commit(encode_header(length, digest)))
        except BaseException:
            await self._disk.run(frame.abort)
            raise
        written = Frame(offset, length, digest, len(cut))
        self._note([*kept, written])
        return written

    async def _write_payload(self, cut: Cut, frame: FrameWriter, hasher: Hasher) -> int:
        """Encode in slices and hand the chunks to the disk. The payload's length."""
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

        slices = Slices(self._state.counters)
        try:
            for piece in encode(cut, TAGGED):
                if piece:
                    pieces.append(piece)
                    gathered += len(piece)
                    length += len(piece)
                    self._facts.flush_keys_done = cut.keys_encoded
                    if gathered >= CHUNK_BYTES:
                        await hand_over()
                if slices.is_over:
                    await slices.next()
            await hand_over()
            while writes:
                await writes.pop(0)
        finally:
            # After one failed, those behind it fail as well: their errors say nothing new.
            await asyncio.gather(*writes, return_exceptions=True)
        return length

    # The medium

    def _note(self, frames: list[Frame]) -> None:
        self._frames = frames
        self._clean_length = frames[-1].end if frames else 0
        self._facts.medium_frames = len(frames)
        self._facts.medium_bytes = self._clean_length

    async def _scan(self, load: bool, digest: str = "") -> Scan:
        medium, facts = self._medium, self._facts
        facts.load_started_at = int(time.time())
        size = facts.load_total_bytes = await self._disk.run(medium.size)

        def report(offset: int) -> None:
            facts.load_done_bytes = offset

        slices = Slices(self._state.counters)
        result = await drive(scan(size, TAGGED, load, digest), medium, self._disk, slices, report)
        self._note(result.frames)
        if result.tail is not Tail.NONE:
            self._clean_length = -1
        return result

    async def _repair(self, result: Scan) -> None:
        await self._disk.run(lambda: repair(self._medium, result))
        self._note(result.frames)

    async def _copy_kept(self, rewrite: Rewrite, count: int) -> list[Frame]:
        """Copy the last `count` frames into a rewrite; those that could be read whole, with their new places."""
        kept: list[Frame] = []
        for frame in self._frames[-count:] if count else []:
            if await self._disk.run(lambda: _is_whole(self._medium, frame)):  # noqa: B023
                await self._disk.run(lambda: _exhaust(rewrite.copy(frame.offset, frame.end - frame.offset)))  # noqa: B023
                kept.append(replace(frame, offset=kept[-1].end if kept else 0))
            elif not self._medium.poisoned:
                raise MediumError(f"the frame at offset {frame.offset} can't be read")
            else:
                try:
                    where = await self._disk.run(lambda: self._medium.set_aside(frame.offset))  # noqa: B023
                except OSError:
                    where = "nothing: it can't be read at all"
                _log.error("the frame at offset %d can't be read any more; kept of it: %s", frame.offset, where)
        return kept

    def _count_to_keep(self, count: int) -> int:
        """How many of the last frames to keep, so that the one that the journal goes on from is among them."""
        digests = [frame.digest for frame in reversed(self._frames)]
        return max(count, digests.index(self._linked) + 1 if self._linked in digests else 0)

    async def _compact(self) -> None:
        """Where the medium has grown to twice what it is to keep, keep that and drop the older frames."""
        count = self._count_to_keep(self._state.config.keep_frames)
        kept_bytes = sum(frame.end - frame.offset for frame in self._frames[-count:])
        if len(self._frames) <= count or self._clean_length < _COMPACTION_GROWTH * kept_bytes:
            return
        facts, before = self._facts, self._clean_length
        facts.compaction_in_progress = True
        started_at = time.perf_counter()
        try:
            rewrite = await self._disk.run(self._medium.begin_rewrite)
            try:
                kept = await self._copy_kept(rewrite, count)
                await self._disk.run(lambda: rewrite.commit(None))
            except BaseException:
                await self._disk.run(rewrite.abort)
                raise
        except (MediumError, OSError) as error:
            self._clean_length = -1
            _log.error("compaction failed: %s", error)
        else:
            self._note(kept)
            facts.compactions += 1
            _log.info(
                "compacted the medium from %d to %d bytes (%d frames kept) in %.3f s",
                before, self._clean_length, len(kept), time.perf_counter() - started_at,
            )  # fmt: skip
        finally:
            facts.compaction_in_progress = False


def _is_whole(medium: Medium, frame: Frame) -> bool:
    hasher = hashlib.sha256()
    try:
        for position in range(frame.offset + HEADER_SIZE, frame.end, CHUNK_BYTES):
            hasher.update(medium.read(position, min(CHUNK_BYTES, frame.end - position)))
    except MediumError:
        return False
    return hasher.hexdigest() == frame.digest


def _exhaust(steps: Iterator[bytes]) -> None:
    for _ in steps:
        pass


def _retrieve(task: asyncio.Task[None]) -> None:
    """So that a flush that nobody waits for is not reported as never retrieved: its failure is logged where it happens."""
    if not task.cancelled():
        task.exception()
