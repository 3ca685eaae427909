"""The frames of a medium beside a busy server: what is known of them, a new one, and which are kept. No frame's content.

Owns the medium: nobody else reads or writes it, and one at a time (`Snapshots` sees to that). What is known is what a
scan, or the last frame written, has told; where neither holds any more, the next one who needs it scans again. The frame
that the journal goes on from is never dropped.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Final

from kvserver.errors import MediumError
from kvserver.formats.frame import HEADER_SIZE, encode_frame, encode_header
from kvserver.formats.scan import CHUNK_BYTES, Frame, Hasher, Scan, Tail, scan
from kvserver.formats.tags import TAGGED
from kvserver.media.medium import FrameWriter, Medium, Rewrite
from kvserver.persistence.disk import Disk
from kvserver.persistence.drive import drive
from kvserver.persistence.repair import repair
from kvserver.persistence.slices import Slices
from kvserver.state.session import ServerState

_COMPACTION_GROWTH: Final = 2  # times what is kept

_log = logging.getLogger("kvserver")


class Archive:
    """The frames of a server's medium. MediumError where it fails, but for a compaction: that is logged."""

    def __init__(self, state: ServerState, medium: Medium, disk: Disk) -> None:
        self.linked = ""  # checksum of the frame that the journal goes on from
        self._state = state
        self._facts = state.persistence
        self._medium = medium
        self._disk = disk
        self._frames: list[Frame] = []
        self._clean_length = -1  # the medium's length up to which all is valid frames; -1: a scan has to tell

    @property
    def poisoned(self) -> str:
        """Why the medium takes no frame any more until it is rewritten, or empty."""
        return self._medium.poisoned

    async def scan(self, *, load: bool, digest: str = "") -> Scan:
        """Learn which frames there are, and `load` the last valid one, or the one with this digest."""
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

    async def repair(self, result: Scan) -> None:
        """Cut off or set aside what a scan has found behind the last valid frame."""
        await self._disk.run(lambda: repair(self._medium, result))
        self._note(result.frames)

    async def sync(self, result: Scan) -> None:
        """Make sure that the frames that a scan has found are on the disk, and nothing behind them."""
        await self._disk.run(lambda: self._medium.truncate(result.valid_length))

    async def add(self, write_payload: Callable[[FrameWriter, Hasher], Awaitable[int]], member_count: int) -> Frame:
        """A new frame, in a new file if the medium is poisoned. `write_payload` writes and hashes, and tells the length."""
        medium = self._medium
        if medium.poisoned:
            if self._clean_length < 0:  # the rewrite before this one failed after its rename: other frames, other places
                with suppress(OSError):
                    await self.scan(load=False)
            rewrite = await self._disk.run(medium.begin_rewrite)
            try:
                kept = await self._copy_kept(rewrite, self._count_to_keep(self._state.config.keep_frames - 1))
            except BaseException:
                await self._disk.run(rewrite.abort)
                raise
            frame: FrameWriter = rewrite
        else:
            if self._clean_length != await self._disk.run(medium.size):
                await self.repair(await self.scan(load=False))
            kept = self._frames
            frame = await self._disk.run(medium.begin_frame)
        offset = kept[-1].end if kept else 0
        self._clean_length = -1
        try:
            hasher = hashlib.sha256()
            length = await write_payload(frame, hasher)
            digest = hasher.hexdigest()
            await self._disk.run(lambda: frame.commit(encode_header(length, digest)))
        except BaseException:
            await self._disk.run(frame.abort)
            raise
        written = Frame(offset, length, digest, member_count)
        self._note([*kept, written])
        return written

    async def add_half(self, payload: list[bytes]) -> None:
        """Append the first half of a frame, as if the process had died over it. The payload comes in pieces."""

        def append_half() -> None:
            frame = encode_frame(b"".join(payload))
            self._medium.append(frame[: len(frame) // 2])

        self._clean_length = -1
        await self._disk.run(append_half)

    async def compact(self) -> None:
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

    async def close(self) -> None:
        await self._disk.run(self._medium.close)

    def _note(self, frames: list[Frame]) -> None:
        self._frames = frames
        self._clean_length = frames[-1].end if frames else 0
        self._facts.medium_frames = len(frames)
        self._facts.medium_bytes = self._clean_length

    async def _copy_kept(self, rewrite: Rewrite, count: int) -> list[Frame]:
        """Copy the last `count` frames into a rewrite; those that could be read whole, with their new places."""
        kept: list[Frame] = []
        for frame in self._frames[-count:] if count else []:
            if await self._disk.run(lambda: _is_whole(self._medium, frame)):  # noqa: B023
                await self._disk.run(lambda: _exhaust(rewrite.copy(frame.offset, frame.end - frame.offset)))  # noqa: B023
                kept.append(frame._replace(offset=kept[-1].end if kept else 0))
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
