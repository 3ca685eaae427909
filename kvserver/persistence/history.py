"""The history that a server keeps: which frames and segments that are older than the last snapshot stay, and for how long.

Behind each snapshot the segments before it go to the history by themselves (`Log.retire`). Its frame is copied there if what
the journal has written since the last copy is as long as the frame: so the copies take no more than the journal does, and
whoever goes back to a time replays no more than a frame's length. A failure is logged and told by INFO; it never harms the
snapshot. Reading is the business of `past`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from typing import Final

from kvserver.errors import MediumError
from kvserver.formats.frame import HEADER_SIZE
from kvserver.formats.scan import CHUNK_BYTES, Frame
from kvserver.media.archive import Archive, KeptFrame
from kvserver.options.retention import NO_RETENTION, Retention
from kvserver.persistence.timeline import Timeline
from kvserver.persistence.workplace import Workplace
from kvserver.state.statistics import HistoryFacts

# The payload of the frame that stands for the empty store.
_EMPTY: Final = b"{}"
# Where no journal is written, frames of one age are kept that are so far apart: this share of the age.
_SHARE: Final = 100

_log = logging.getLogger("kvserver")


class History:
    """The history in an archive. `read` reads the medium, at the workplace."""

    def __init__(
        self,
        facts: HistoryFacts,
        archive: Archive,
        read: Callable[[int, int], bytes],
        workplace: Workplace,
        now_ms: Callable[[], int],
    ) -> None:
        self._facts = facts
        self._archive = archive
        self._read = read
        self._workplace = workplace
        self._now_ms = now_ms
        self._retention = NO_RETENTION

    async def keep(self, retention: Retention) -> None:
        """Keep so much from now on. What is there already stays where nothing is to be kept, for a person to remove."""
        self._retention = retention
        self._facts.enabled = retention.is_any
        try:
            await self._workplace.run(self._prepare)
        except MediumError as error:
            self._fail(error)

    def _prepare(self) -> None:
        if self._retention.is_any:
            self._archive.create()
            self._archive.tidy()
        self._archive.is_kept = self._retention.is_any
        self._note(self._look())

    async def agree(self, number: int) -> None:
        """Put the history aside if it is not that of the data, whose oldest segment has this number."""
        try:
            await self._workplace.run(lambda: self._archive.set_aside(number))
        except MediumError as error:
            self._fail(error)

    async def prune(self) -> None:
        """Remove what is too old. Whoever is about to need room calls it."""
        if self._retention.is_any:
            try:
                await self._workplace.run(self._prune)
            except MediumError as error:
                self._fail(error)

    async def follow(self, number: int, frame: Frame | None, time_ms: int) -> None:
        """Take notice that the segment `number`, or no journal (0), goes on from a frame of the medium, or the empty store.

        `time_ms` is the time at which its data was cut (Unix milliseconds).
        """
        if not self._retention.is_any:
            return
        try:
            if await self._workplace.run(lambda: self._wants(number, frame, time_ms)):
                await self._copy(number, frame, time_ms)
            self._facts.error, self._archive.failure = self._archive.failure, ""
        except MediumError as error:
            self._fail(error)
        await self.prune()

    def _look(self) -> Timeline:
        # The journal comes first: what goes to the history meanwhile is found there.
        live = self._archive.journal()
        return Timeline(self._archive.frames(), self._archive.segments(), live)

    def _wants(self, number: int, frame: Frame | None, time_ms: int) -> bool:
        timeline = self._look()
        if not number:
            newest = timeline.frames[-1].time_ms if timeline.frames else 0
            return time_ms - newest >= self._retention.age_ms // _SHARE
        last = next(iter(reversed(timeline.linked)), None)
        if last is None:
            return True
        if last.number >= number:
            return False
        # Where a number was left out before it, nothing else leads to what is behind.
        between = [timeline.segments.get(each) for each in range(last.number, number)]
        written = sum(segment.bytes for segment in between if segment)
        return None in between or written >= (frame.end - frame.offset if frame else 0)

    async def _copy(self, number: int, frame: Frame | None, time_ms: int) -> None:
        if frame is None:
            digest, length, keys = hashlib.sha256(_EMPTY).hexdigest(), len(_EMPTY), 0
            pieces: Iterator[bytes] = iter([_EMPTY])
        else:
            digest, length, keys, pieces = frame.digest, frame.payload_length, frame.member_count, self._pieces(frame)
        steps = self._archive.add(number, time_ms, keys, digest, length, pieces)
        # A step at a time, since others use the disk's thread, too.
        while await self._workplace.run(lambda: next(steps, self)) is not self:
            pass

    def _pieces(self, frame: Frame) -> Iterator[bytes]:
        """The payload of a frame of the medium. MediumError behind its end if it is not what was written."""
        hasher = hashlib.sha256()
        for offset in range(frame.offset + HEADER_SIZE, frame.end, CHUNK_BYTES):
            piece = self._read(offset, min(CHUNK_BYTES, frame.end - offset))
            hasher.update(piece)
            yield piece
        if hasher.hexdigest() != frame.digest:
            raise MediumError(f"the frame {frame.digest[:16]}… can't be read as it was written")

    def _prune(self) -> None:
        """Remove what is too old, the oldest first: a crash midway leaves what belongs together."""
        timeline = self._look()
        kept = self._kept(timeline.frames)
        gone = timeline.frames[: len(timeline.frames) - len(kept)]
        # Without a frame before them, segments lead nowhere.
        first = next((frame.number for frame in kept if frame in timeline.linked), None)
        old = [segment for segment in self._archive.segments() if first is None or segment.number < first]
        self._archive.remove([*(frame.path for frame in gone), *(segment.path for segment in old)])
        self._note(self._look() if gone or old else timeline)

    def _kept(self, frames: list[KeptFrame]) -> list[KeptFrame]:
        if self._retention.frames:
            return frames[-self._retention.frames :]
        now_ms = self._now_ms()
        # One of the future was made before the clock was set back, nobody knows when.
        ages_ms = [now_ms - frame.time_ms if frame.time_ms <= now_ms else self._retention.age_ms for frame in frames]
        # The last frame before the age begins is what its beginning is reached from.
        before = next((place for place, age_ms in enumerate(ages_ms) if age_ms < self._retention.age_ms), len(frames))
        return frames[max(before - 1, 0) :]

    def _note(self, timeline: Timeline) -> None:
        segments = self._archive.segments()
        facts = self._facts
        facts.frames, facts.segments = len(timeline.frames), len(segments)
        facts.bytes = sum(frame.bytes for frame in timeline.frames) + sum(segment.bytes for segment in segments)
        facts.begins_at_ms = timeline.frames[0].time_ms if timeline.frames else 0

    def _fail(self, error: MediumError) -> None:
        self._facts.error = str(error)
        _log.error("the history has a gap: %s", error)
