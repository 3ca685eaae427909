"""What a history keeps behind each snapshot, and for how long; and what becomes of it where the disk fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvserver.errors import MediumError
from kvserver.formats.frame import encode_frame
from kvserver.formats.record import encode_records, pack
from kvserver.formats.scan import Frame
from kvserver.media.history import HistoryFolder
from kvserver.media.segments import FileLog
from kvserver.options.retention import parse_retention
from kvserver.persistence.history import History
from kvserver.persistence.workplace import Here, finish
from kvserver.state.statistics import HistoryFacts


class Setting:
    """A history, its log, and a medium in memory; the clock is the test's."""

    def __init__(self, folder: Path, retention: str) -> None:
        self.medium = folder / "dump.kvs"
        self.log = FileLog(str(self.medium))
        self.folder: HistoryFolder = self.log.history
        self.facts = HistoryFacts()
        self.now_ms = 0
        self.data = b""
        self.number = 0
        self.read: Callable[[int, int], bytes] = lambda offset, length: self.data[offset : offset + length]
        self.history = History(
            self.facts,
            self.folder,
            lambda offset, length: self.read(offset, length),
            Here(),
            lambda: self.now_ms,
        )
        self.keep(retention)

    def keep(self, retention: str) -> None:
        finish(self.history.keep(parse_retention(retention)))

    def write(self, length: int) -> None:
        self.log.write(encode_records([pack([[b"SET", b"k", b"x" * length]])], [self.now_ms]))

    def snapshot(self, now_ms: int, length: int, *, leaves_out: int = 0) -> None:
        """Take a snapshot whose payload has about this length (bytes)."""
        self.now_ms = now_ms
        self.number += 1 + leaves_out
        self.log.cut(self.number)
        payload = b'{"k":"%b"}' % (b"x" * length)
        frame = encode_frame(payload)
        offset = len(self.data)
        self.data += frame
        self.log.drop_before(self.number)
        found = Frame(offset, len(payload), frame[16:80].decode(), 1)
        finish(self.history.follow(self.number, found, now_ms))

    @property
    def frames(self) -> list[int]:
        return [frame.number for frame in self.folder.frames()]

    @property
    def segments(self) -> list[int]:
        return [segment.number for segment in self.folder.segments()]


Make = Callable[[str], Setting]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    settings: list[Setting] = []

    def make(retention: str) -> Setting:
        settings.append(Setting(tmp_path, retention))
        return settings[-1]

    yield make
    for setting in settings:
        setting.log.close()


def test_frames_are_copied_when_the_journal_has_written_as_much(make: Make) -> None:
    setting = make("1d")
    setting.snapshot(1, 1000)
    for number in range(2, 8):
        setting.write(550)
        setting.snapshot(number, 1000)
    # Each segment has half of a frame.
    assert setting.frames == [1, 3, 5, 7]
    assert setting.segments == [1, 2, 3, 4, 5, 6]
    assert Path(setting.folder.path, "0000000003-3-1.kvs").read_bytes() in setting.data
    facts = setting.facts
    assert (facts.frames, facts.segments, facts.begins_at_ms, facts.error, facts.enabled) == (4, 6, 1, "", True)
    assert facts.bytes == sum(found.stat().st_size for found in Path(setting.folder.path).iterdir())


def test_frame_behind_a_gap_is_always_copied(make: Make) -> None:
    setting = make("1d")
    setting.snapshot(1, 1000)
    setting.snapshot(2, 1000)
    setting.snapshot(3, 1000, leaves_out=1)
    assert setting.frames == [1, 4]


def test_as_many_frames_are_kept_as_were_asked_for_and_no_segment_before_them(make: Make) -> None:
    setting = make("2")
    for number in range(1, 6):
        setting.snapshot(number, 10)
        setting.write(100)
    assert (setting.frames, setting.segments) == ([4, 5], [4])
    assert setting.facts.begins_at_ms == 4


def test_frames_of_an_age_are_kept_with_the_one_that_the_age_begins_behind(make: Make) -> None:
    setting = make("10s")
    for now_ms in (1_000, 5_000, 9_000, 14_000, 18_000):
        setting.snapshot(now_ms, 10)
        setting.write(100)
    # What was 10 seconds before is reached from the frame at 5,000.
    assert (setting.frames, setting.segments) == ([2, 3, 4, 5], [2, 3, 4])


@pytest.mark.parametrize("retention", ["2", "1s"])
def test_frame_of_a_future_that_a_clock_set_back_has_left_is_old(make: Make, retention: str) -> None:
    setting = make(retention)
    for now_ms in (1_000, 9_000_000, 2_000, 3_000):
        setting.snapshot(now_ms, 10)
        setting.write(100)
    assert (setting.frames, setting.segments) == ([3, 4], [3])


def test_what_is_too_old_goes_before_a_snapshot_needs_the_room(make: Make) -> None:
    setting = make("10s")
    for now_ms in (1_000, 5_000, 9_000):
        setting.snapshot(now_ms, 10)
        setting.write(100)
    setting.now_ms = 30_000
    finish(setting.history.prune())
    assert (setting.frames, setting.segments) == ([3], [])


def test_segment_that_can_not_be_kept_goes_and_the_log_goes_on(make: Make, tmp_path: Path) -> None:
    setting = make("5")
    setting.snapshot(1, 10)
    setting.write(100)
    folder = Path(setting.folder.path)
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("a file")
    setting.snapshot(2, 10)
    setting.write(100)
    assert folder.read_text() == "a file"
    assert "dump.kvs.history" in setting.facts.error
    folder.unlink()
    # What was before the gap leads nowhere.
    setting.snapshot(3, 10)
    assert (setting.frames, setting.segments) == ([3], [])
    assert not setting.log.failure
    setting.snapshot(4, 10)
    assert setting.facts.error == ""


def test_nothing_goes_to_a_history_that_is_not_kept_and_what_is_there_stays(make: Make) -> None:
    setting = make("5")
    setting.snapshot(1, 10)
    setting.snapshot(2, 10)
    setting.keep("0")
    before = setting.frames, setting.segments
    setting.write(100)
    setting.snapshot(3, 10)
    assert (setting.frames, setting.segments) == before == ([1], [1])
    assert not setting.facts.enabled


def test_without_a_journal_frames_are_kept_that_are_far_enough_apart(make: Make) -> None:
    setting = make("100s")
    setting.data = encode_frame(b"{}")
    frame = Frame(0, 2, setting.data[16:80].decode(), 0)
    for now_ms in (100_000, 100_500, 101_000, 101_001, 102_500):
        setting.now_ms = now_ms
        finish(setting.history.follow(0, frame, now_ms))
    assert [found.time_ms for found in setting.folder.frames()] == [100_000, 101_000, 102_500]


def test_frame_that_can_not_be_read_as_it_was_written_leaves_nothing_and_is_told(make: Make) -> None:
    setting = make("5")
    setting.read = lambda offset, length: bytes(length)
    setting.snapshot(1, 10)
    assert setting.frames == []
    assert "can't be read as it was written" in setting.facts.error
    assert [path.name for path in Path(setting.folder.path).iterdir()] == []

    def fail(offset: int, length: int) -> bytes:
        raise MediumError("the disk fails")

    setting.read = fail
    setting.snapshot(2, 10)
    assert setting.facts.error == "the disk fails"
    setting.read = lambda offset, length: setting.data[offset : offset + length]
    setting.snapshot(3, 10)
    assert (setting.frames, setting.facts.error) == ([3], "")


def test_history_of_other_data_is_put_aside(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    setting = make("5")
    for number in range(1, 4):
        setting.snapshot(number, 10)
        setting.write(10)
    finish(setting.history.agree(3))
    assert setting.segments == [1, 2]
    finish(setting.history.agree(2))
    assert (setting.segments, setting.frames) == ([], [])
    assert (tmp_path / "dump.kvs.history.1" / "0000000002.journal").exists()
    assert "the history is not that of the data" in caplog.text
