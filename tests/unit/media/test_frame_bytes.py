"""The bytes of a frame in a vault: as in a file, wherever somebody begins, and in few reads."""

from __future__ import annotations

import threading

import pytest

from helpers.frames import frame
from helpers.shared_logs import Writer
from kvserver.errors import MediumError
from kvserver.media import frame_bytes
from kvserver.media.frame_bytes import FrameBytes


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
    writer = Writer()
    contents, whole = FrameBytes(writer.vault, writer.snapshot({"key": "value" * 20})), frame({"key": "value" * 20})
    for step in (1, 3, 50):
        for start in range(0, len(whole) + 3, 11):
            for offset in range(start, len(whole) + step, step):
                assert contents.read(offset, step) == whole[offset : offset + step]


def test_short_reads_are_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_bytes, "PIECE_BYTES", 1000)
    writer = Writer()
    stored, reads = writer.snapshot({"key": "x" * 5000}), list[int]()
    read = writer.vault.read

    def counted(name: str, offset: int, length: int) -> bytes:
        reads.append(length)
        return read(name, offset, length)

    monkeypatch.setattr(writer.vault, "read", counted)
    contents = FrameBytes(writer.vault, stored)
    for offset in range(0, stored.frame_length, 10):
        contents.read(offset, 10)
    assert len(reads) == 6
    assert sum(reads) == stored.length


def test_next_pieces_come_while_one_is_parsed_and_they_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_bytes, "PIECE_BYTES", 1000)
    writer = Writer()
    stored, begun = writer.snapshot({"key": "x" * 9500}), list[int]()
    read, others = writer.vault.read, threading.Semaphore(0)
    go_on = threading.Event()

    def held(name: str, offset: int, length: int) -> bytes:
        begun.append(offset)
        others.release()
        if offset:
            assert go_on.wait(20)
        return read(name, offset, length)

    monkeypatch.setattr(writer.vault, "read", held)
    contents, whole = FrameBytes(writer.vault, stored), frame({"key": "x" * 9500})
    assert contents.read(80, 10) == whole[80:90]
    for _ in range(4):
        assert others.acquire(timeout=20)
    assert sorted(begun) == [0, 1000, 2000, 3000]
    go_on.set()
    assert b"".join(contents.payload()) == whole[80:]
    assert sorted(begun) == list(range(0, stored.length, 1000))


def test_read_ahead_that_fails_is_told_to_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_bytes, "PIECE_BYTES", 1000)
    writer = Writer()
    stored = writer.snapshot({"key": "x" * 4500})
    read, is_away = writer.vault.read, True

    def failing(name: str, offset: int, length: int) -> bytes:
        if is_away and offset == 1000:
            raise MediumError("it is away")
        return read(name, offset, length)

    monkeypatch.setattr(writer.vault, "read", failing)
    contents, whole = FrameBytes(writer.vault, stored), frame({"key": "x" * 4500})
    assert contents.read(0, 1080) == whole[:1080]
    with pytest.raises(MediumError, match="it is away"):
        contents.read(1080, 10)
    is_away = False
    assert contents.read(1080, 10) == whole[1080:1090]
    assert b"".join(contents.payload()) == whole[80:]
