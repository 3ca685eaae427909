"""The frames of a server's medium: what is known of them, how a new one is added, and which ones are kept.

Owns the medium: nobody else reads or writes it, and `Snapshots` sees to it that one call at a time does. What is known is
what a scan, or the last frame written, has told; where that may be wrong by now, the next call that needs it scans again.
The frame that the journal goes on from is never dropped. Nothing here encodes or decodes a payload.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import suppress
from typing import Final

from kvserver.data.shards import Shard, drain
from kvserver.errors import MediumError
from kvserver.formats.frame import HEADER_SIZE, encode_frame, encode_header
from kvserver.formats.manifest import MOST_FRAMES
from kvserver.formats.record import EMPTY_STORE
from kvserver.formats.scan import CHUNK_BYTES, Data, Frame, Hasher, Scan, Steps, Tail, load_frame, scan
from kvserver.media.medium import FrameWriter, Medium, Rewrite, repair
from kvserver.persistence.workplace import Workplace, drive
from kvserver.state.session import ServerState
from kvserver.types import TAGGED

# The medium is compacted when it is so many times as long as the frames that are kept.
_COMPACTION_GROWTH: Final = 2

_log = logging.getLogger("kvserver")


class Frames:
    """The frames of a server's medium. Every call raises MediumError where the medium fails; only `compact` logs it."""

    def __init__(self, state: ServerState, medium: Medium, workplace: Workplace) -> None:
        # The digest of the frame that the journal goes on from, or empty.
        self.linked = ""
        # The reason why no frame is added, whatever the medium could do; or empty.
        self.refusal = ""
        self._state = state
        self._facts = state.persistence
        self._medium = medium
        self._workplace = workplace
        self._frames: list[Frame] = []
        # The length (bytes) up to which the medium holds valid frames and nothing else; -1: a scan has to tell.
        self._clean_length = -1

    @property
    def poisoned(self) -> str:
        """The reason why the medium takes no frame any more until it is rewritten, or empty."""
        return self.refusal or self._medium.poisoned

    @property
    def latest(self) -> Frame | None:
        """The newest frame that is known, or None. The next compaction may move it."""
        return self._frames[-1] if self._frames else None

    def find(self, digest: str) -> Frame | None:
        """The newest frame with this digest that is known, or None. The next compaction may move it."""
        return next((frame for frame in reversed(self._frames) if frame.digest == digest), None)

    async def scan(self, *, load: bool, digest: str = "", links: Collection[str] = ()) -> Scan:
        """Learn which frames there are, and `load` the last valid one, or the one with this digest.

        `links` are digests that the journal names, besides the present one. MediumDisplaced if others have moved, removed
        or replaced the file whose data is to be loaded: nobody would find again what was written behind that.
        """
        medium = self._medium
        if load:
            await self._workplace.run(medium.prove_place)
        size = await self._workplace.run(medium.size)
        return await self._read(scan(size, TAGGED, load, digest, {self.linked, *links}), 0, size)

    async def load_one(self, frames: list[Frame], digest: str) -> Scan:
        """Load the frame with this digest, and read no other one: these are the frames, as the medium vouches for them.

        A frame that is damaged all the same is found when it is kept in a compaction.
        """
        size = await self._workplace.run(self._medium.size)
        offset, end = next(((frame.offset, frame.end) for frame in reversed(frames) if frame.digest == digest), (0, 0))
        return await self._read(load_frame(frames, digest, size, TAGGED), offset, end)

    async def _read(self, steps: Steps, begin: int, end: int) -> Scan:
        """Let these steps, which read from `begin` to `end`, say which frames there are."""
        facts = self._facts
        facts.load_started_at = int(time.time())
        facts.load_total_bytes = end - begin

        def report(offset: int) -> None:
            facts.load_done_bytes = max(offset - begin, 0)

        result = await drive(steps, self._medium, self._workplace, report)
        self._set_frames(result.frames)
        if result.damages or result.tail is not Tail.NONE:
            self._clean_length = -1
        return result

    async def recover(self, digest: str = "", links: Collection[str] = ()) -> Scan:
        """Load what a start has to, and leave the medium with its valid frames alone, durably. Return what the scan found.

        It loads the frame with this digest, or nothing for that of the empty store; if no frame has it, the last valid one.
        """
        started_at = time.perf_counter()
        result = await self.scan(load=digest != EMPTY_STORE, digest=digest, links=links)
        unused = self.install(result, started_at)
        self.linked = result.loaded.digest if result.loaded else ""
        await self.repair(result)
        # `truncate` syncs: a frame that a killed process had not synced is about to be what a journal goes on from.
        await self._workplace.run(lambda: self._medium.truncate(result.valid_length))
        await self._workplace.pace().run(drain(unused))
        return result

    def install(self, result: Scan, started_at: float) -> list[Shard]:
        """Let the data be what a scan has loaded, or nothing. Return what is not used any more, for `drain` to free in slices.

        `started_at`: when the loading began, by time.perf_counter.
        """
        databases, facts, frame = self._state.databases, self._facts, result.loaded
        data = result.data or Data.empty()
        unused = databases.replace(data.shards)
        databases.libraries.replace(data.libraries)
        facts.keys_loaded = frame.member_count if frame else 0
        if result.tail is Tail.NONE:
            facts.changes_at_last_save = databases.records.changes
        if frame:
            _log.info(
                "loaded %d keys from the frame at offset %d (%d bytes, %d valid frames) in %.3f s",
                frame.member_count,
                frame.offset,
                frame.payload_length,
                len(result.frames),
                time.perf_counter() - started_at,
            )
        return unused

    async def repair(self, result: Scan) -> None:
        """Cut off or set aside what a scan has found behind the last valid frame."""
        await self._workplace.run(lambda: repair(self._medium, result))
        self._set_frames(result.frames)

    async def add(self, write_payload: Callable[[FrameWriter, Hasher], Awaitable[int]], member_count: int) -> Frame:
        """Add a frame, in a new file if the medium is poisoned.

        `write_payload` writes the payload to the frame and puts it through the hasher; its result is the length in bytes.
        """
        medium = self._medium
        if self.refusal:
            raise MediumError(self.refusal)
        await self._workplace.run(medium.prove)
        if medium.poisoned:
            # If the rewrite before this one failed after its rename, or others cut the file, the frames stand elsewhere now.
            with suppress(OSError):
                if self._clean_length != await self._workplace.run(medium.size):
                    await self.scan(load=False)
            rewrite = await self._workplace.run(medium.begin_rewrite)
            try:
                kept = await self._copy_kept(rewrite, self._count_to_keep(self._wanted - 1))
            except BaseException:
                await self._workplace.run(rewrite.abort)
                raise
            frame: FrameWriter = rewrite
        else:
            size = await self._workplace.run(medium.size)
            if 0 <= self._clean_length < size:
                _log.warning("somebody else has appended %d bytes to the medium", size - self._clean_length)
            if self._clean_length != size:
                await self.repair(await self.scan(load=False))
            kept = self._frames
            frame = await self._workplace.run(medium.begin_frame)
        offset = kept[-1].end if kept else 0
        self._clean_length = -1
        try:
            hasher = hashlib.sha256()
            length = await write_payload(frame, hasher)
            digest = hasher.hexdigest()
            await self._workplace.run(lambda: frame.commit(encode_header(length, digest)))
        except BaseException:
            await self._workplace.run(frame.abort)
            raise
        written = Frame(offset, length, digest, member_count)
        self._set_frames([*kept, written])
        return written

    async def add_half(self, payload: list[bytes]) -> None:
        """Append the first half of the frame of this payload (in pieces), as if the process had died over it."""

        def append_half() -> None:
            frame = encode_frame(b"".join(payload))
            self._medium.append(frame[: len(frame) // 2])

        self._clean_length = -1
        await self._workplace.run(append_half)

    async def compact(self) -> None:
        """Drop the older frames, if the medium has grown to twice what it is to keep. A failure is logged."""
        count = self._count_to_keep(self._wanted)
        kept_bytes = sum(frame.end - frame.offset for frame in self._frames[-count:])
        # Snapshots that grow could go on for long, and be too many for a manifest.
        are_too_many = self._is_in_vault and len(self._frames) >= _COMPACTION_GROWTH * MOST_FRAMES
        if len(self._frames) <= count or (self._clean_length < _COMPACTION_GROWTH * kept_bytes and not are_too_many):
            return
        facts, before = self._facts, self._clean_length
        facts.compaction_in_progress = True
        started_at = time.perf_counter()
        try:
            rewrite = await self._workplace.run(self._medium.begin_rewrite)
            try:
                kept = await self._copy_kept(rewrite, count)
                await self._workplace.run(lambda: rewrite.commit(None))
            except BaseException:
                await self._workplace.run(rewrite.abort)
                raise
        except (MediumError, OSError) as error:
            self._clean_length = -1
            _log.error("compaction failed: %s", error)
        else:
            self._set_frames(kept)
            facts.compactions += 1
            _log.info(
                "compacted the medium from %d to %d bytes (%d frames kept) in %.3f s",
                before, self._clean_length, len(kept), time.perf_counter() - started_at,
            )  # fmt: skip
        finally:
            facts.compaction_in_progress = False

    async def close(self) -> None:
        await self._workplace.run(self._medium.close)

    def _set_frames(self, frames: list[Frame]) -> None:
        self._frames = frames
        self._clean_length = frames[-1].end if frames else 0
        self._facts.medium_frames = len(frames)
        self._facts.medium_bytes = self._clean_length

    async def _copy_kept(self, rewrite: Rewrite, count: int) -> list[Frame]:
        """Copy the last `count` frames into a rewrite. Return those that could be read whole, with their new places.

        A frame that can't be read is set aside if the medium is poisoned; else it raises MediumError.
        """
        kept: list[Frame] = []
        for frame in self._frames[-count:] if count else []:
            if await self._workplace.run(lambda: _is_whole(self._medium, frame)):  # noqa: B023
                await self._workplace.run(lambda: _exhaust(rewrite.copy(frame.offset, frame.end - frame.offset)))  # noqa: B023
                kept.append(frame._replace(offset=kept[-1].end if kept else 0))
            elif not self._medium.poisoned:
                raise MediumError(f"the frame at offset {frame.offset} can't be read")
            else:
                try:
                    where = await self._workplace.run(lambda: self._medium.set_aside(frame.offset))  # noqa: B023
                except OSError:
                    where = "nothing: it can't be read at all"
                _log.error("the frame at offset %d can't be read any more; kept of it: %s", frame.offset, where)
        return kept

    @property
    def _is_in_vault(self) -> bool:
        return bool(self._state.config.medium)

    @property
    def _wanted(self) -> int:
        """The number of last frames that are to be kept."""
        count = self._state.config.keep_frames
        return min(count, MOST_FRAMES) if self._is_in_vault else count

    def _count_to_keep(self, count: int) -> int:
        """The number of last frames to keep: `count`, or more, so that the one that the journal goes on from is among them."""
        digests = [frame.digest for frame in reversed(self._frames)]
        return max(count, digests.index(self.linked) + 1 if self.linked in digests else 0)


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
