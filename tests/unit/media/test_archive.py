"""The contract of an archive, kept by the folder of a history: what is read there, also while others change it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kvserver.errors import MediumError
from kvserver.formats.frame import encode_frame
from kvserver.media.archive import Archive, KeptFrame, KeptSegment
from kvserver.media.filesystem import FileSystem
from kvserver.media.history import HistoryFolder


class Changing(FileSystem):
    """Removes a file between the listing of its folder and the look at it."""

    removed = ""

    def open_to_read(self, path: str) -> int:
        if path == self.removed:
            os.remove(path)
        return super().open_to_read(path)


@pytest.fixture
def filesystem() -> Changing:
    return Changing()


@pytest.fixture
def archive(tmp_path: Path, filesystem: Changing) -> Archive:
    archive = HistoryFolder(str(tmp_path / "dump.kvs"), filesystem)
    archive.create()
    return archive


def test_journal_has_the_segments_beside_the_medium_that_were_not_put_aside(
    archive: Archive, tmp_path: Path, filesystem: Changing
) -> None:
    for name in ("0000000004.journal", "0000000003.journal", "0000000002.journal.damaged", "next-segment"):
        (tmp_path / f"dump.kvs.{name}").write_bytes(b"1234")
    paths = {number: str(tmp_path / f"dump.kvs.{number:010d}.journal") for number in (3, 4)}
    assert archive.journal() == [KeptSegment(number, path, 4) for number, path in paths.items()]
    filesystem.removed = paths[3]
    assert archive.journal() == [KeptSegment(4, paths[4], 4)]


def test_what_goes_while_it_is_listed_is_left_out(archive: Archive, tmp_path: Path, filesystem: Changing) -> None:
    folder = tmp_path / "dump.kvs.history"
    for name in ("0000000001.journal", "0000000001-5-0.kvs"):
        (folder / name).write_bytes(encode_frame(b"{}"))
    [segment], [frame] = archive.segments(), archive.frames()
    assert (segment.bytes, frame) == (82, KeptFrame(1, 5, 0, str(folder / "0000000001-5-0.kvs"), 82))
    filesystem.removed = segment.path
    assert archive.segments() == []
    filesystem.removed = frame.path
    assert archive.frames() == []


def test_medium_is_read_or_there_is_none(archive: Archive, tmp_path: Path) -> None:
    assert archive.open_medium() is None
    (tmp_path / "dump.kvs").write_bytes(encode_frame(b"{}"))
    medium = archive.open_medium()
    assert medium
    assert (medium.size(), medium.read(80, 9)) == (82, b"{}")
    medium.close()


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "dump.kvs.history").write_text("a file")
    archive: Archive = HistoryFolder(str(tmp_path / "dump.kvs"))
    with pytest.raises(MediumError, match=r"cannot \w+ .*dump\.kvs\.history"):
        archive.create()
    with pytest.raises(MediumError, match=r"cannot read .*dump\.kvs\.history"):
        archive.frames()
