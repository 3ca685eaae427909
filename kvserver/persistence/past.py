"""The past: the data as it was at a moment, in databases of its own, loaded beside a busy server or where all may wait.

`PastLoader` finds the way to a moment (`timeline`), loads the frame and replays the records behind it. It reads what others
write, and never changes a file. A later moment on the same way goes on from where the past is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, NamedTuple, TypeVar

from kvserver.data.databases import Databases
from kvserver.data.shards import drain
from kvserver.dispatch.table import CommandTable
from kvserver.errors import HistoryError, MediumDisplaced, NotRecorded
from kvserver.formats.chronology import Reach, first_time, last_time, reach_of_record, reach_of_time
from kvserver.formats.frame import HEADER_SIZE, decode_header
from kvserver.formats.moment import ID_DIGITS, AtFrame, AtRecord, AtTime, Moment, show_time
from kvserver.formats.scan import Frame, Scan, load_frame
from kvserver.formats.segment import RecordInvalid, Steps, read_records
from kvserver.media.archive import Archive, KeptFrame, KeptSegment, Readable
from kvserver.persistence.replay import Replay
from kvserver.persistence.timeline import Timeline
from kvserver.persistence.workplace import Workplace, drive
from kvserver.state.session import ServerState
from kvserver.types import TAGGED

T = TypeVar("T")

# Whoever reads beside a writer begins again so often, since what was there has gone.
_TRIES: Final = 5
_NEVER_MS: Final = 1 << 64


class FoundFrame(NamedTuple):
    """A frame that can be gone back to.

    `id` is the beginning of its digest. `time_ms` is the time at which the data was cut (Unix milliseconds), and `keys` their
    number; both are -1 where nothing tells. `is_linked`: the journal goes on from it, so that any time behind it can be had.
    `offset` is where it begins in its file, at `path`, or in the medium where that is empty.
    """

    id: str
    digest: str
    time_ms: int
    keys: int
    bytes: int
    is_linked: bool
    path: str
    offset: int


class _Goal(NamedTuple):
    """The parts of the history that have the data of a moment: a frame, and how far to go in the segments behind it."""

    base: KeptFrame
    reaches: list[tuple[KeptSegment, Reach]]


class Past:
    """The data as it was at a moment.

    `time_ms` is the time of then (Unix milliseconds), by which keys expire; 0 where it is not known. `segment` and `offset`
    tell how far the journal was replayed; they are 0 and 0 where it was not.
    """

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.time_ms = 0
        self.segment = 0
        self.offset = 0
        # It is whole: no load has failed amid its way.
        self.is_settled = False

    @property
    def databases(self) -> Databases:
        return self.state.databases

    @property
    def place(self) -> tuple[bool, int, int, int]:
        """The moment that the data is that of: it is another one, or none, as soon as the data changes."""
        return self.is_settled, self.time_ms, self.segment, self.offset

    def settle(self, time_ms: int) -> None:
        """Let it be this time (Unix milliseconds): what is due then is missing, and nothing goes."""
        self.time_ms = time_ms
        self.is_settled = True
        self.databases.follow()
        self.databases.stop_clock(time_ms)

    def drop_due(self, time_ms: int) -> Iterator[None]:
        """Remove what is due at a time (Unix milliseconds), in steps. No load goes on from here then.

        It could not: a command that is recorded next may have run by a clock that was a little earlier.
        """
        self.is_settled = False
        self.databases.stop_clock(time_ms)
        self.databases.hurry()
        self.databases.lead()
        while self.databases.sweep():
            # Nobody repeats what goes.
            self.databases.records.take()
            yield


class PastLoader:
    """The way back to the past of the data in one place.

    `make_state` makes an empty state. All reading happens at the workplace. Every call raises HistoryError if the moment can't
    be had, and MediumError if what is kept can't be read.
    """

    def __init__(
        self,
        archive: Archive,
        make_state: Callable[[], ServerState],
        table: CommandTable,
        workplace: Workplace,
    ) -> None:
        self._archive = archive
        self._make_state = make_state
        self._table = table
        self._workplace = workplace
        # The times of the last records of segments that nobody writes to any more, as far as they were asked for.
        self._last_times: dict[int, int | None] = {}
        self._digests: dict[str, str] = {}
        # States that are empty again. A server's garbage collector would never find one, since all of it refers to itself.
        self._spare: list[ServerState] = []
        # The journal is being written, as far as anybody knows.
        self.is_recording: Callable[[], bool] = lambda: True

    # What there is

    async def timeline(self) -> Timeline:
        """The frames of the history, and all segments."""
        return await self._workplace.run(self._look)

    def _look(self) -> Timeline:
        # The journal comes first: what goes to the history meanwhile is found there.
        live = self._archive.journal()
        return Timeline(self._archive.frames(), self._archive.segments(), live)

    async def frames(self) -> list[FoundFrame]:
        """All frames that can be gone back to, in the order of time: those of the history, and those of the medium."""
        timeline = await self.timeline()
        found = await self._workplace.run(lambda: [self._found(frame, timeline) for frame in timeline.frames])
        known = {frame.digest for frame in found}
        there = await self._workplace.run(self._frames_of_medium)
        return [*found, *(frame for frame in there if frame.digest not in known)]

    def _found(self, frame: KeptFrame, timeline: Timeline) -> FoundFrame:
        digest = self._digests.get(frame.path)
        if digest is None:
            file = self._archive.open(frame.path)
            try:
                header = decode_header(file.read(0, HEADER_SIZE))
            finally:
                file.close()
            digest = self._digests[frame.path] = header.digest if header else ""
        is_linked = frame.number in timeline.segments
        return FoundFrame(digest[:ID_DIGITS], digest, frame.time_ms, frame.keys, frame.bytes, is_linked, frame.path, 0)

    def _frames_of_medium(self) -> list[FoundFrame]:
        """The frames of the medium, by their headers, one behind the other up to the first that is none."""
        found = []
        file = self._archive.open_medium()
        if file:
            try:
                offset = 0
                while header := decode_header(file.read(offset, HEADER_SIZE)):
                    end = offset + HEADER_SIZE + header.payload_length
                    if end > file.size():
                        break
                    id_ = header.digest[:ID_DIGITS]
                    found.append(FoundFrame(id_, header.digest, -1, -1, end - offset, False, "", offset))
                    offset = end
            finally:
                file.close()
        return found

    # The way to a moment

    async def load(self, moment: Moment, past: Past | None = None) -> Past:
        """The data of a moment. If `past` is on the way there, it goes on, and is returned; else it stays as it is."""
        for last in range(_TRIES - 1, -1, -1):
            try:
                if isinstance(moment, AtFrame):
                    return await self._load_frame(moment)
                return await self._load_goal(await self._goal(moment), moment, past)
            except MediumDisplaced as displaced:
                # What a snapshot has taken the place of was removed, or went to the history.
                if not last:
                    raise HistoryError(f"the history changes while it is read: {displaced}") from None
        raise AssertionError("the last try raises")

    async def _load_frame(self, moment: AtFrame) -> Past:
        found = [frame for frame in await self.frames() if frame.digest.startswith(moment.digest)]
        if not found:
            raise HistoryError(f"there is no frame {moment.digest}")
        frame = found[0]
        file = await self._workplace.run(lambda: self._archive.open(frame.path) if frame.path else self._archive.open_medium())
        if file is None:
            raise MediumDisplaced("the medium is not there any more")
        past = await self._loaded(file, frame.offset, frame.digest, f"the frame {frame.id}")
        past.settle(max(frame.time_ms, 0))
        return past

    def _new_past(self) -> Past:
        return Past(self._spare.pop() if self._spare else self._make_state())

    async def release(self, past: Past) -> None:
        """Let go of the data of a past, which nobody uses any more."""
        for shards in past.databases.give().values():
            await self.discard(shards)
        past.databases.libraries.replace({})
        past.is_settled = False
        self._spare.append(past.state)

    async def _goal(self, moment: AtTime | AtRecord) -> _Goal:
        timeline = await self.timeline()
        if isinstance(moment, AtTime):
            return await self._goal_of_time(timeline, moment.time_ms)
        if moment.records < 0:
            # Right before the first one is the end of what was before.
            way = timeline.way_to_segment(timeline.segment_before(moment.segment))
            return _Goal(way.base, [(segment, await self.reach_of_all(segment, timeline)) for segment in way.segments])
        way = timeline.way_to_segment(moment.segment)
        reaches = [(segment, await self.reach_of_all(segment, timeline)) for segment in way.segments[:-1]]
        segment = way.segments[-1]
        reach = await self._reach(segment, partial(reach_of_record, number=moment.records), timeline)
        if reach.records < moment.records:
            raise HistoryError(f"the segment {segment.number} of the journal has {reach.records} records")
        return _Goal(way.base, [*reaches, (segment, reach)])

    async def _goal_of_time(self, timeline: Timeline, time_ms: int) -> _Goal:
        way = timeline.way_to_time(time_ms)
        await self._check_before(timeline.before(way), time_ms)
        reaches: list[tuple[KeptSegment, Reach]] = []
        for segment in way.segments:
            reach = await self._reach(segment, partial(reach_of_time, last_ms=time_ms), timeline)
            reaches.append((segment, reach))
            if reach.comes_back:
                raise _ambiguous(time_ms)
            if reach.lost_until_ms:
                raise _lost(reaches, way.base)
            if not reach.is_all:
                break
        later = [segment for segment in way.segments if segment.number > reaches[-1][0].number]
        for segment in later:
            if (await self.first_time(segment) or _NEVER_MS) <= time_ms:
                raise _ambiguous(time_ms)
        if reaches[-1][1].is_all:
            last_ms = _last_ms(reaches, way.base)
            if time_ms > last_ms and not timeline.is_open(way, is_recording=self.is_recording()):
                raise NotRecorded(f"nobody knows what was written behind {show_time(last_ms)}: the journal has a gap there")
            for segment in timeline.behind(way):
                if (await self.first_time(segment) or _NEVER_MS) <= time_ms:
                    raise _ambiguous(time_ms)
        return _Goal(way.base, reaches)

    async def _check_before(self, segments: list[KeptSegment], time_ms: int) -> None:
        """HistoryError if segments before the base have records that are later than the time: the clock was set back."""
        for segment in segments:
            if segment.number not in self._last_times:
                self._last_times[segment.number] = await self.on(segment, last_time)
            if (self._last_times[segment.number] or 0) > time_ms:
                raise _ambiguous(time_ms)

    async def first_time(self, segment: KeptSegment) -> int | None:
        """The time of the first record of a segment, or of the link before it (Unix milliseconds), or None."""
        return await self.on(segment, first_time)

    async def begin_of(self, number: int) -> int | None:
        """The time of the first record of the segment of a number (Unix milliseconds), or None."""
        segment = (await self.timeline()).segments.get(number)
        return await self.first_time(segment) if segment else None

    async def reach_of_all(self, segment: KeptSegment, timeline: Timeline) -> Reach:
        """How far the records of a segment go. HistoryError if it is damaged."""
        return await self._reach(segment, partial(reach_of_time, last_ms=_NEVER_MS), timeline)

    async def _reach(self, segment: KeptSegment, begin: Callable[..., Steps[Reach]], timeline: Timeline) -> Reach:
        # A server may be writing the newest one. The end of all others was proven before the next one began.
        may_be_torn = segment.number == timeline.newest and segment.number in timeline.live
        try:
            return await self.on(segment, partial(begin, may_be_torn=may_be_torn))
        except RecordInvalid as invalid:
            raise _damaged(segment, invalid) from None

    async def on(self, segment: KeptSegment, begin: Callable[[int], Steps[T]]) -> T:
        """Run steps on a segment as it was when it was found."""
        file = await self._open(segment)
        try:
            return await drive(begin(segment.bytes), file, self._workplace)
        finally:
            await self._workplace.run(file.close)

    def _open(self, segment: KeptSegment) -> Awaitable[Readable]:
        return self._workplace.run(lambda: self._archive.open(segment.path))

    # Loading

    async def _load_goal(self, goal: _Goal, moment: AtTime | AtRecord, past: Past | None) -> Past:
        numbers = [segment.number for segment, _ in goal.reaches]
        position = numbers.index(past.segment) if past and past.segment in numbers else -1
        if past is None or position < 0 or past.offset > goal.reaches[position][1].offset:
            position = 0
            file = await self._workplace.run(lambda: self._archive.open(goal.base.path))
            past = await self._loaded(file, 0, "", f"the frame of {show_time(goal.base.time_ms)}")
            is_new = True
        else:
            is_new = False
        try:
            await self._go_on(goal.reaches[position:], past)
        except BaseException:
            # Nobody goes on from here.
            past.is_settled = False
            if is_new:
                await self.release(past)
            raise
        past.settle(moment.time_ms if isinstance(moment, AtTime) else _last_ms(goal.reaches, goal.base))
        return past

    async def _go_on(self, reaches: list[tuple[KeptSegment, Reach]], past: Past) -> None:
        """Replay what the segments have behind the place that a past has come to."""
        replay = Replay(past.state, self._table)
        past.is_settled = False
        past.databases.stop_clock()
        try:
            for segment, reach in reaches:
                start = past.offset if segment.number == past.segment else 0
                await self._replay(replay, segment, start, reach.offset)
                past.segment, past.offset = segment.number, reach.offset
        finally:
            await self.discard(replay.unused)

    async def _replay(self, replay: Replay, segment: KeptSegment, start: int, end: int) -> None:
        file = await self._open(segment)
        try:
            await drive(read_records(end, replay.run, start), file, self._workplace)
        except RecordInvalid as invalid:
            raise _damaged(segment, invalid) from None
        finally:
            await self._workplace.run(file.close)

    async def _loaded(self, file: Readable, offset: int, digest: str, name: str) -> Past:
        """The data of the frame at an offset, which has this digest if one is given. The file is closed then.

        MediumDisplaced if another frame is there now.
        """
        run = self._workplace.run
        try:
            header = decode_header(await run(lambda: file.read(offset, HEADER_SIZE)))
            if digest and (header is None or header.digest != digest):
                raise MediumDisplaced(f"{name} is not where it was")
            if header is None:
                raise HistoryError(f"{name} is damaged: its header is none")
            frame = Frame(offset, header.payload_length, header.digest, 0)
            size = await run(file.size)
            result: Scan = await drive(load_frame([frame], frame.digest, size, TAGGED), file, self._workplace)
        finally:
            await run(file.close)
        if result.data is None:
            raise HistoryError(f"{name} is damaged: {result.reason}")
        past = self._new_past()
        past.segment = past.offset = 0
        past.databases.replace(result.data.shards)
        past.databases.libraries.replace(result.data.libraries)
        return past

    async def discard(self, shards: list[dict[bytes, object]]) -> None:
        """Free shards that nobody uses any more."""
        await self._workplace.pace().run(drain(shards))


def _last_ms(reaches: list[tuple[KeptSegment, Reach]], base: KeptFrame) -> int:
    """The time of the last record on a way, or of the frame that it begins with (Unix milliseconds)."""
    return max((reach.time_ms for _, reach in reaches), default=0) or base.time_ms


def _lost(reaches: list[tuple[KeptSegment, Reach]], base: KeptFrame) -> HistoryError:
    until = show_time(reaches[-1][1].lost_until_ms)
    return HistoryError(
        f"nobody knows what was written behind {show_time(_last_ms(reaches, base))}: it was damaged, and the start at {until} "
        "cut it off"
    )


def _ambiguous(time_ms: int) -> HistoryError:
    return HistoryError(
        f"the clock was set back, so that {show_time(time_ms)} was more than once: name a record, as KVS.LOG does, or a frame"
    )


def _damaged(segment: KeptSegment, invalid: RecordInvalid) -> HistoryError:
    return HistoryError(f"the segment {segment.number} of the journal is damaged at offset {invalid.offset}: {invalid}")
