"""The bytes of a frame in a vault: as in a file, wherever somebody begins, and in few reads."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from helpers.frames import frame
from helpers.shared_logs import Writer
from kvserver.errors import MediumError
from kvserver.media import frame_bytes
from kvserver.media.frame_bytes import FrameBytes
from kvserver.media.memory_engine import MemoryVault


def test_frame_reads_as_in_a_file() -> None:
    writer = Writer()
    stored = writer.snapshot({"key": "value" * 100})
    whole = frame({"key": "value" * 100})
    contents = FrameBytes(writer.vault, stored)
    for offset, length in [(0, 80), (0, 100), (70, 30), (80, 10), (85, 1000), (10, 5), (len(whole) - 1, 1), (0, len(whole))]:
        assert contents.read(offset, length) == whole[offset : offset + length]
    assert b"".join(contents.payload()) == whole[80:]


@pytest.mark.parametrize(("end", "reason"), [(0, ""), (-1, "the object is shorter"), (1, "the object is longer")])
def test_length_of_an_object_is_proven(end: int, reason: str) -> None:
    writer = Writer()
    stored = writer.snapshot({"key": "value"})
    data = writer.vault.objects[stored.name] + b"!"
    writer.vault.objects[stored.name] = data[: len(data) - 1 + end]
    assert FrameBytes(writer.vault, stored).wrong_length() == reason


@pytest.mark.parametrize("piece", [1, 7, 100, 1 << 20])
def test_any_reads_give_what_a_file_gives(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(frame_bytes, "PIECE_BYTES", piece)
    monkeypatch.setattr(frame_bytes, "LONGEST_BYTES", 3 * piece)
    writer = Writer()
    contents, whole = FrameBytes(writer.vault, writer.snapshot({"key": "value" * 20})), frame({"key": "value" * 20})
    for step in (1, 3, 50):
        for start in range(0, len(whole) + 3, 11):
            for offset in range(start, len(whole) + step, step):
                assert contents.read(offset, step) == whole[offset : offset + step]


class Reads:
    """The reads of a vault's objects, as (offset, length), as they began. One at the offset `held` waits for `go_on`."""

    def __init__(self, vault: MemoryVault, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[tuple[int, int]] = []
        self.held, self.go_on = -1, threading.Event()
        self.fails: Callable[[int], bool] = lambda offset: False
        self._change = threading.Condition()
        self._read = vault.read
        monkeypatch.setattr(vault, "read", self)
        monkeypatch.setattr(frame_bytes, "PIECE_BYTES", 1000)
        monkeypatch.setattr(frame_bytes, "LONGEST_BYTES", 4000)

    def __call__(self, name: str, offset: int, length: int) -> bytes:
        with self._change:
            self.begun.append((offset, length))
            self._change.notify_all()
        if offset == self.held:
            assert self.go_on.wait(20)
        if self.fails(offset):
            raise MediumError("it is away")
        return self._read(name, offset, length)

    def until(self, count: int) -> list[tuple[int, int]]:
        """Wait until so many are begun, and return them by their offsets."""
        with self._change:
            assert self._change.wait_for(lambda: len(self.begun) >= count, 20)
            return sorted(self.begun)


# {"key":"…"} has ten bytes more than the value.
LONG = {"key": "x" * 19_490}
GROWING = [(0, 1000), (1000, 2000), (3000, 4000), (7000, 4000), (11000, 4000), (15000, 4000), (19000, 500)]


def test_short_reads_are_few_calls_each_longer_than_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    stored = writer.snapshot(LONG)
    reads = Reads(writer.vault, monkeypatch)
    contents = FrameBytes(writer.vault, stored)
    assert b"".join(contents.read(offset, 10) for offset in range(0, stored.frame_length, 10)) == frame(LONG)
    assert reads.until(7) == GROWING


def test_next_pieces_come_while_one_is_parsed_and_they_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    stored = writer.snapshot(LONG)
    reads = Reads(writer.vault, monkeypatch)
    contents, whole = FrameBytes(writer.vault, stored), frame(LONG)
    position = 80
    for number, (offset, length) in enumerate(GROWING):
        assert contents.read(position, length) == whole[position : position + length]
        position += length
        # This one and two behind it, which nobody has asked for.
        expected = GROWING[: number + 3]
        assert reads.until(len(expected)) == expected
        assert sum(length for at, length in reads.begun if at >= offset) <= 3 * 4000
    assert reads.begun == reads.until(7)


def test_who_jumps_gets_what_is_asked_for_in_short_pieces_again(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    stored = writer.snapshot(LONG)
    reads = Reads(writer.vault, monkeypatch)
    contents, whole = FrameBytes(writer.vault, stored), frame(LONG)
    assert contents.read(0, 8000) == whole[:8000]
    assert reads.until(6) == GROWING[:6]
    # Back, and inside of what is there then.
    for offset in (2500, 3499):
        assert contents.read(80 + offset, 1) == whole[80 + offset : 81 + offset]
        assert reads.begun[6:] == [(2500, 1000)]
    # Ahead.
    assert contents.read(80 + 12_000, 10) == whole[12_080:12_090]
    assert reads.begun[7:] == [(12_000, 1000)]
    # And on from there.
    assert contents.read(80 + 12_990, 20) == whole[13_070:13_090]
    assert reads.until(11)
    assert sorted(reads.begun[8:]) == [(13_000, 2000), (15_000, 4000), (19_000, 500)]


def test_read_waits_for_nothing_but_its_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    stored = writer.snapshot(LONG)
    reads = Reads(writer.vault, monkeypatch)
    contents, whole = FrameBytes(writer.vault, stored), frame(LONG)
    reads.held = 3000
    assert contents.read(0, 3080) == whole[:3080]
    assert reads.until(4) == GROWING[:4]
    reads.go_on.set()
    assert b"".join(contents.payload()) == whole[80:]


@pytest.mark.parametrize("length", [0, 500, 1000, 2500, 3000, 19_499])
def test_short_object_gives_what_is_there(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    writer = Writer()
    stored = writer.snapshot(LONG)
    Reads(writer.vault, monkeypatch)
    data = writer.vault.objects[stored.name][:length]
    writer.vault.objects[stored.name] = data
    contents = FrameBytes(writer.vault, stored)
    for _ in range(2):
        assert contents.read(80, stored.length) == data
        assert b"".join(contents.payload()) == data
        assert contents.read(80 + length, 10) == b""


def test_read_ahead_that_fails_is_told_to_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    stored = writer.snapshot(LONG)
    reads = Reads(writer.vault, monkeypatch)
    reads.fails = lambda offset: offset == 1000
    contents, whole = FrameBytes(writer.vault, stored), frame(LONG)
    assert contents.read(0, 1080) == whole[:1080]
    for _ in range(2):
        with pytest.raises(MediumError, match="it is away"):
            contents.read(1080, 10)
    reads.fails = lambda offset: False
    assert contents.read(1080, 10) == whole[1080:1090]
    assert b"".join(contents.payload()) == whole[80:]


def test_first_read_that_fails_is_made_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer()
    stored = writer.snapshot(LONG)
    reads = Reads(writer.vault, monkeypatch)
    reads.fails = lambda offset: offset == 0
    contents = FrameBytes(writer.vault, stored)
    with pytest.raises(MediumError, match="it is away"):
        contents.read(80, 10)
    reads.fails = lambda offset: False
    assert b"".join(contents.payload()) == frame(LONG)[80:]
