"""The way to a moment: which frame it begins with, which segments follow, and the reasons why there is none."""

from __future__ import annotations

import pytest

from kvserver.errors import HistoryError
from kvserver.media.archive import KeptFrame, KeptSegment
from kvserver.persistence.timeline import Timeline, Way


def frame(number: int, time_ms: int) -> KeptFrame:
    return KeptFrame(number, time_ms, 1, f"f{number}", 100)


def segments(*numbers: int) -> list[KeptSegment]:
    return [KeptSegment(number, f"s{number}", 10) for number in numbers]


TIMELINE = Timeline([frame(5, 500), frame(1, 100), frame(3, 300)], segments(1, 2, 3, 5), segments(6))


def told(way: Way) -> tuple[int, list[int]]:
    return way.base.number, [segment.number for segment in way.segments]


@pytest.mark.parametrize(
    ("time_ms", "way"),
    [(100, (1, [1, 2, 3])), (299, (1, [1, 2, 3])), (300, (3, [3])), (499, (3, [3])), (500, (5, [5, 6])), (9999, (5, [5, 6]))],
)
def test_way_begins_with_the_last_frame_before_a_time_and_ends_at_a_gap(time_ms: int, way: tuple[int, list[int]]) -> None:
    assert told(TIMELINE.way_to_time(time_ms)) == way


def test_segments_before_and_behind_a_way() -> None:
    way = TIMELINE.way_to_time(300)
    assert [segment.number for segment in TIMELINE.before(way)] == [1, 2]
    assert [segment.number for segment in TIMELINE.behind(way)] == [5, 6]


def test_way_to_a_segment_ends_with_it() -> None:
    assert told(TIMELINE.way_to_segment(2)) == (1, [1, 2])
    assert told(TIMELINE.way_to_segment(3)) == (3, [3])
    assert told(TIMELINE.way_to_segment(6)) == (5, [5, 6])
    with pytest.raises(HistoryError, match="no segment 4"):
        TIMELINE.way_to_segment(4)


def test_segment_that_no_frame_leads_to_is_no_moment() -> None:
    timeline = Timeline([frame(3, 300)], segments(1, 3, 5))
    for number in (1, 5):
        with pytest.raises(HistoryError, match=f"no frame that the segment {number} "):
            timeline.way_to_segment(number)


def test_time_before_the_history_and_a_folder_without_one() -> None:
    with pytest.raises(HistoryError, match=r"the history begins at 1970-01-01T00:00:00.100Z: nothing older"):
        TIMELINE.way_to_time(99)
    for timeline in (Timeline([], []), Timeline([], segments(1))):
        with pytest.raises(HistoryError, match="no history is kept"):
            timeline.way_to_time(1)


def test_time_at_which_no_journal_was_written_names_the_frame_before() -> None:
    timeline = Timeline([frame(1, 100), frame(0, 200), frame(0, 300), frame(4, 400)], segments(1, 4))
    assert told(timeline.way_to_time(150)) == (1, [1])
    for time_ms in (200, 399):
        with pytest.raises(HistoryError, match="there is no journal of that time"):
            timeline.way_to_time(time_ms)
    assert told(timeline.way_to_time(400)) == (4, [4])
    # Its segment was removed, or never was.
    assert [found.number for found in Timeline([frame(2, 200)], segments(1)).linked] == []
