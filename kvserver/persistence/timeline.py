"""The timeline of a folder's data: its frames and its segments, and which of them have the data of a moment.

The data of a moment is that of the last frame before it, and what the segments behind that frame have up to it. Segments
follow each other while none is missing: where the data became another one (RESTORE), a number is left out. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kvserver.errors import HistoryError
from kvserver.formats.moment import show_time
from kvserver.media.archive import KeptFrame, KeptSegment


class Way(NamedTuple):
    """The way to a moment: the frame to begin with, and the segments behind it, in order."""

    base: KeptFrame
    segments: list[KeptSegment]


class Timeline:
    """The frames of a history and the segments of the history and the journal.

    `frames` are by time; `linked` are those of them that a segment follows, by its number.
    """

    def __init__(self, frames: Iterable[KeptFrame], segments: Iterable[KeptSegment]) -> None:
        self.frames = sorted(frames, key=lambda frame: (frame.time_ms, frame.number))
        # A segment may have been found in both places, since it went from one to the other.
        self.segments = dict(sorted((segment.number, segment) for segment in segments))
        self.linked = sorted(frame for frame in self.frames if frame.number in self.segments)

    def way_to_time(self, time_ms: int) -> Way:
        """The way that goes as far as this time (Unix milliseconds). HistoryError if the history does not have it."""
        self._must_have_frames()
        if self.frames[0].time_ms > time_ms:
            raise HistoryError(f"the history begins at {show_time(self.frames[0].time_ms)}: nothing older is kept")
        before = [frame for frame in self.linked if frame.time_ms <= time_ms]
        newest = max(frame.time_ms for frame in self.frames if frame.time_ms <= time_ms)
        if not before or before[-1].time_ms < newest:
            raise HistoryError(f"no journal was written at that time: the frame of {show_time(newest)} is the last before it")
        return self._way_from(before[-1])

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
            raise HistoryError("no history is kept: the option history says for how long one is to be")
