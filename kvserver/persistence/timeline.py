"""The timeline of a folder's data: its frames and its segments, and which of them have the data of a moment.

The data of a moment is that of the last frame before it, and what the segments behind that frame have up to it. Segments
follow each other while no number is missing. Where the data became another one (RESTORE), the next number is greater by
REPLACED: what was before held until then. Behind any other gap nobody knows what was written in it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from kvserver.errors import HistoryError, NotRecorded
from kvserver.formats.moment import show_time
from kvserver.media.archive import KeptFrame, KeptSegment

REPLACED: Final = 10


class Way(NamedTuple):
    """The way to a moment: the frame to begin with, and the segments behind it, in order."""

    base: KeptFrame
    segments: list[KeptSegment]


class Timeline:
    """The frames of an archive and the segments of the archive and the journal.

    `frames` are in the order in which they were made; `linked` are those of them that a segment follows. `live` has the
    numbers of the journal's segments.
    """

    def __init__(
        self, frames: Iterable[KeptFrame], archived: Iterable[KeptSegment], journal: Sequence[KeptSegment] = ()
    ) -> None:
        self.live = {segment.number for segment in journal}
        # A segment may have been found in both places, since it went from one to the other.
        self.segments = dict(sorted((segment.number, segment) for segment in [*journal, *archived]))
        self.frames = in_order(frames)
        self.linked = [frame for frame in self.frames if frame.number in self.segments]

    @property
    def newest(self) -> int:
        """The number of the newest segment, or 0."""
        return max(self.segments, default=0)

    def way_to_time(self, time_ms: int) -> Way:
        """The way that goes as far as this time (Unix milliseconds). HistoryError if the history does not have it."""
        self._must_have_frames()
        begins_at = min(frame.time_ms for frame in self.frames)
        if begins_at > time_ms:
            raise HistoryError(f"the history begins at {show_time(begins_at)}: nothing older is kept")
        before = [frame for frame in self.linked if frame.time_ms <= time_ms]
        begun_ms = before[-1].time_ms if before else -1
        alone = [frame.time_ms for frame in self.frames if frame not in self.linked and begun_ms < frame.time_ms <= time_ms]
        if alone or not before:
            last_ms = max(alone, default=begins_at)
            raise NotRecorded(f"there is no journal of that time: the frame of {show_time(last_ms)} is the last before it")
        return self._way_from(before[-1])

    def is_open(self, way: Way, *, is_recording: bool) -> bool:
        """True if it is known that nothing was written behind the end of a way, up to where the next one begins.

        `is_recording`: the journal is being written, as far as anybody knows.
        """
        last = way.segments[-1].number
        following = min((number for number in self.segments if number > last), default=0)
        return following == last + REPLACED or (not following and is_recording and last in self.live)

    def way_to_segment(self, number: int) -> Way:
        """The way whose last segment is this one. HistoryError if the history does not have it."""
        self._must_have_frames()
        if number not in self.segments:
            raise HistoryError(f"the history has no segment {number} of the journal")
        for frame in reversed(self.linked):
            if frame.number <= number:
                way = self._way_from(frame)
                upto = [segment for segment in way.segments if segment.number <= number]
                if upto[-1].number == number:
                    return Way(frame, upto)
                break
        raise HistoryError(f"the history has no frame that the segment {number} of the journal goes on from")

    def segment_before(self, number: int) -> int:
        """The number of the last segment before this one. HistoryError if there is none."""
        found = max((each for each in self.segments if each < number), default=0)
        if not found:
            raise HistoryError(f"the history has nothing before the segment {number} of the journal")
        return found

    def before(self, way: Way) -> list[KeptSegment]:
        """The segments before a way, in order."""
        return [segment for number, segment in self.segments.items() if number < way.base.number]

    def behind(self, way: Way) -> list[KeptSegment]:
        """The segments behind a way, which do not go on from its end, in order."""
        last = way.segments[-1].number
        return [segment for number, segment in self.segments.items() if number > last]

    def _way_from(self, frame: KeptFrame) -> Way:
        segments = []
        number = frame.number
        while number in self.segments:
            segments.append(self.segments[number])
            number += 1
        return Way(frame, segments)

    def _must_have_frames(self) -> None:
        if not self.frames:
            raise NotRecorded("no history is kept: the option history says for how long one is to be")


def in_order(frames: Iterable[KeptFrame]) -> list[KeptFrame]:
    """Frames in the order in which they were made: by their numbers, since the clock may have been set back.

    Those without a number stand behind the last one that has a number and is no younger.
    """
    frames = list(frames)
    numbered = sorted(frame for frame in frames if frame.number)
    keys = {frame: (frame.number, frame.time_ms) for frame in numbered}
    for frame in frames:
        if not frame.number:
            keys[frame] = max((each.number for each in numbered if each.time_ms <= frame.time_ms), default=0), frame.time_ms
    return sorted(keys, key=keys.__getitem__)
