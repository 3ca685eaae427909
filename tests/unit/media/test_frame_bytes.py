"""The bytes of a frame in a vault: as in a file, wherever somebody begins, and in few reads."""

from __future__ import annotations

import pytest

from helpers.frames import frame
from helpers.shared_logs import Writer
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
