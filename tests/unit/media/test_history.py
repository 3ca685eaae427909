"""The folder with a history: what goes in, what a crash leaves, and names that are none of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kvserver.errors import MediumDisplaced, MediumError
from kvserver.formats.frame import encode_frame
from kvserver.media.archive import KeptFrame, KeptSegment
from kvserver.media.history import HistoryFolder

PAYLOAD = b'{"a":1}'
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> HistoryFolder:
    folder = HistoryFolder(str(tmp_path / "dump.kvs"))
    assert not folder.exists()
    assert not folder.is_kept
    assert (folder.frames(), folder.segments()) == ([], [])
    folder.create()
    return folder


def test_frame_is_a_medium_of_one_frame(folder: HistoryFolder) -> None:
    for _ in folder.add(7, 1_700_000_000_000, 1, DIGEST, len(PAYLOAD), [PAYLOAD[:3], PAYLOAD[3:]]):
        assert folder.frames() == []
    path = f"{folder.path}/0000000007-1700000000000-1.kvs"
    assert Path(path).read_bytes() == encode_frame(PAYLOAD)
    assert folder.frames() == [KeptFrame(7, 1_700_000_000_000, 1, path, 80 + len(PAYLOAD))]


@pytest.mark.parametrize("pieces", [[PAYLOAD, b"more"], [PAYLOAD[:-1]], []])
def test_frame_of_another_length_leaves_nothing(folder: HistoryFolder, pieces: list[bytes]) -> None:
    with pytest.raises(MediumError, match="payload bytes, not 7"):
        list(folder.add(7, 1, 1, DIGEST, len(PAYLOAD), pieces))
    assert list(Path(folder.path).iterdir()) == []


def test_what_a_crash_has_left_of_a_frame_is_no_frame_and_goes(folder: HistoryFolder) -> None:
    left = Path(folder.path, "0000000007-1-1.kvs.part")
    left.write_bytes(b"half")
    Path(folder.path, "notes.txt").write_text("mine")
    assert folder.frames() == []
    folder.tidy()
    assert sorted(path.name for path in Path(folder.path).iterdir()) == ["notes.txt"]


def test_segments_are_taken_in_and_again_after_a_failure(folder: HistoryFolder, tmp_path: Path) -> None:
    paths = [(number, str(tmp_path / f"s{number}")) for number in (3, 4)]
    for _, path in paths:
        Path(path).write_bytes(b"segment")
    folder.take(paths[:1])
    # The call that took the first one in may have failed at the second.
    folder.take(paths)
    assert folder.segments() == [KeptSegment(n, f"{folder.path}/{n:010d}.journal", 7) for n in (3, 4)]
    assert not any(Path(path).exists() for _, path in paths)


def test_segment_that_is_there_already_is_never_overwritten(folder: HistoryFolder, tmp_path: Path) -> None:
    Path(folder.path, "0000000003.journal").write_bytes(b"of others")
    (tmp_path / "s3").write_bytes(b"mine")
    folder.take([(3, str(tmp_path / "s3"))])
    assert Path(folder.path, "0000000003.journal.foreign").read_bytes() == b"of others"
    assert Path(folder.path, "0000000003.journal").read_bytes() == b"mine"


def test_folder_that_was_removed_is_made_again(folder: HistoryFolder, tmp_path: Path) -> None:
    Path(folder.path).rmdir()
    (tmp_path / "s3").write_bytes(b"mine")
    folder.take([(3, str(tmp_path / "s3"))])
    assert [segment.number for segment in folder.segments()] == [3]


def test_what_is_no_file_is_none_of_ours(folder: HistoryFolder) -> None:
    Path(folder.path, "0000000003.journal").mkdir()
    Path(folder.path, "0000000003-1-1.kvs").symlink_to("/dev/null")
    assert (folder.segments(), folder.frames()) == ([], [])


def test_what_is_removed_may_be_gone_and_what_is_gone_is_told_as_displaced(folder: HistoryFolder) -> None:
    path = Path(folder.path, "0000000003.journal")
    path.write_bytes(b"x")
    folder.remove([str(path), str(path)])
    with pytest.raises(MediumDisplaced, match="is not there any more"):
        folder.open(str(path))


def test_folder_that_is_there_is_kept_by_whoever_opens_the_place(folder: HistoryFolder, tmp_path: Path) -> None:
    assert HistoryFolder(str(tmp_path / "dump.kvs")).is_kept
