"""check: `kvserver check` tells what is there and changes nothing; `kvserver compact` keeps the last frames or everything."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.servers import kvserver_environment
from kvserver import FileMedium
from kvserver.cli.check import check, check_file, compact_file
from kvserver.errors import MediumError, MediumLocked
from kvserver.formats.frame import encode_frame
from kvserver.formats.record import encode_link, encode_records, pack

FRAMES = [encode_frame(b'{"a":%d,"b":2}' % number) for number in range(4)]
DEADLINE_S = 10


def checked(path: Path) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return check_file(str(path), lines.append), lines


def compacted(path: Path, keep_frames: int) -> list[str]:
    lines: list[str] = []
    compact_file(str(path), keep_frames, lines.append)
    return lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dump.kvs"


def test_each_frame_is_told_with_its_place_checksum_and_keys(path: Path) -> None:
    path.write_bytes(FRAMES[0] + FRAMES[1] + encode_frame(b"{}"))
    is_well, lines = checked(path)
    assert is_well
    assert lines[0] == f"{path}: {len(FRAMES[0]) * 2 + 82} bytes"
    digest = hashlib.sha256(FRAMES[1][80:]).hexdigest()
    assert lines[2].startswith(f"frame 2: offset {len(FRAMES[0])}, length {len(FRAMES[1])}")
    assert digest[:16] in lines[2]
    assert lines[2].endswith(" 2 keys")
    assert lines[3].endswith(" 0 keys")
    assert lines[4] == "3 valid frames, nothing behind them"


def test_empty_file_is_well(path: Path) -> None:
    path.write_bytes(b"")
    assert checked(path) == (True, [f"{path}: 0 bytes", "0 valid frames, nothing behind them"])


@pytest.mark.parametrize(
    ("tail", "word"), [(FRAMES[1][:50], "torn"), (b"garbage", "DAMAGED"), (FRAMES[1][:-1] + b"!", "DAMAGED")]
)
def test_tail_is_told_with_its_place_length_and_reason_and_left_alone(path: Path, tail: bytes, word: str) -> None:
    content = FRAMES[0] + tail
    path.write_bytes(content)
    is_well, lines = checked(path)
    assert not is_well
    assert lines[-2].startswith(f"{word}: {len(tail)} bytes at offset {len(FRAMES[0])}: ")
    assert lines[-1].endswith("a start would load the frame at offset 0")
    assert path.read_bytes() == content
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_file_of_damage_alone_would_load_nothing(path: Path) -> None:
    path.write_bytes(b"garbage" + FRAMES[0])
    is_well, lines = checked(path)
    assert not is_well
    assert lines[-1] == "0 valid frames; a start would load nothing: no frame is valid"


def test_file_of_a_running_server_can_be_checked(path: Path) -> None:
    with FileMedium(path) as medium:
        medium.append(FRAMES[0])
        assert checked(path)[0]


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_cannot_be_read_is_one_line(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    for command in (lambda: checked(path), lambda: compacted(path, 1)):
        with pytest.raises(MediumError, match=str(path)) as raised:
            command()
        assert "\n" not in str(raised.value)


def test_fifo_is_refused_without_waiting_for_its_other_end(path: Path) -> None:
    os.mkfifo(path)
    done = subprocess.run(
        [sys.executable, "-m", "kvserver", "check", str(path)],
        env=kvserver_environment(),
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr


# --- compact ---


@pytest.mark.parametrize("keep_frames", [1, 2, 4, 10])
def test_compact_keeps_the_last_frames(path: Path, keep_frames: int) -> None:
    path.write_bytes(b"".join(FRAMES))
    lines = compacted(path, keep_frames)
    kept = FRAMES[-keep_frames:]
    assert path.read_bytes() == b"".join(kept)
    assert lines[-1].endswith(f"{len(kept)} of 4 frames kept")
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_compact_cuts_a_torn_tail_and_keeps_damage_aside(path: Path) -> None:
    path.write_bytes(FRAMES[0] + FRAMES[1] + FRAMES[2][:50])
    compacted(path, 1)
    assert path.read_bytes() == FRAMES[1]
    path.write_bytes(FRAMES[0] + FRAMES[1] + b"garbage")
    compacted(path, 1)
    assert path.read_bytes() == FRAMES[1]
    asides = [found for found in path.parent.iterdir() if found != path]
    assert [found.read_bytes() for found in asides] == [b"garbage"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"of somebody else\n" * 100,
        bytes(1000),
        FRAMES[0][:-1],
        FRAMES[0][:-1] + b"!" + FRAMES[1] + b"x",
        b"K" + FRAMES[0],
        encode_link(FRAMES[0][16:80].decode()) + encode_records([pack([[b"SET", b"a", b"1"]])]),
    ],
    ids=["empty", "newline", "text", "zeros", "torn frame", "damaged first frame", "shifted", "segment"],
)
def test_compact_of_what_holds_no_valid_frame_is_refused_and_changes_nothing(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    before = path.stat()
    with pytest.raises(MediumError, match=f"{path} is left as it is") as raised:
        compacted(path, 3)
    assert "\n" not in str(raised.value)
    assert path.read_bytes() == content
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_compact_keeps_the_frame_that_the_journal_goes_on_from(path: Path) -> None:
    path.write_bytes(b"".join(FRAMES))
    segment = encode_link(FRAMES[2][16:80].decode())
    path.with_name("dump.kvs.0000000001.journal").write_bytes(segment)
    lines = compacted(path, 1)
    assert path.read_bytes() == FRAMES[2] + FRAMES[3]
    assert lines[-1].endswith("2 of 4 frames kept")


def test_compact_of_a_file_that_is_in_use_is_refused(path: Path) -> None:
    with FileMedium(path) as medium:
        medium.append(FRAMES[0] + FRAMES[1])
        with pytest.raises(MediumLocked):
            compacted(path, 1)
        assert medium.read_all() == FRAMES[0] + FRAMES[1]


def test_compact_creates_no_file(path: Path) -> None:
    with pytest.raises(MediumError, match="not a file"):
        compacted(path, 1)
    assert not path.exists()


def test_folder_is_told_with_its_journal_and_what_a_start_would_do(tmp_path: Path) -> None:
    def told(path: Path) -> tuple[bool, str]:
        lines: list[str] = []
        return check(str(path), "dump.kvs", lines.append), "\n".join(lines)

    frame = encode_frame(b"{}")
    (tmp_path / "dump.kvs").write_bytes(frame)
    segment = tmp_path / "dump.kvs.0000000003.journal"
    whole = encode_link(frame[16:80].decode()) + encode_records([pack([[b"SET", b"a", b"1"]])])
    segment.write_bytes(whole)
    is_well, text = told(tmp_path)
    assert is_well
    assert "2 valid frames, 1 commands" in text
    assert "a start would load the frame at offset 0 and replay the segments 3 to 3" in text

    segment.write_bytes(whole + b"junk")
    (tmp_path / "dump.kvs.0000000004.journal").write_bytes(encode_records([pack([[b"SET", b"b", b"1"]])]))
    is_well, text = told(tmp_path)
    assert not is_well
    assert f"DAMAGED: segment 3 ends at offset {len(whole)}" in text
    assert "segments: 4" in text
    assert not told(segment)[0]

    (tmp_path / "dump.kvs").write_bytes(FRAMES[0])
    is_well, text = told(tmp_path)
    assert not is_well
    assert "which is not in the medium; two readings" in text
    assert "a start would load the frame at offset 0, and put the segments aside: 3, 4" in text
    assert "`kvserver apply` would, after that, replay 3 to 3 of them on it" in text

    segment.rename(f"{segment}.unlinked")
    (tmp_path / "dump.kvs.0000000004.journal").unlink()
    is_well, text = told(tmp_path)
    assert is_well
    assert f"put aside, and never replayed but by `kvserver apply`: {segment}.unlinked" in text

    (tmp_path / "dump.kvs").unlink()
    assert f"kvserver apply`: {segment}.unlinked\na start would begin with an empty store" in told(tmp_path)[1]


def test_damaged_frame_is_told_between_those_that_are_loaded_in_spite_of_it(path: Path) -> None:
    damaged = FRAMES[1][:-2] + b"!}"
    path.write_bytes(FRAMES[0] + damaged + FRAMES[2])
    is_well, lines = checked(path)
    assert not is_well
    assert lines[2].startswith(f"DAMAGED: {len(damaged)} bytes at offset {len(FRAMES[0])}: the checksum")
    assert lines[3].startswith(f"frame 2: offset {len(FRAMES[0] + damaged)}")
    assert "nothing behind them" in lines[4]


def test_frame_that_the_journal_vouches_for_is_told_of_the_file_alone_as_well(path: Path) -> None:
    damaged = FRAMES[1][:-2] + b"!}"
    path.write_bytes(FRAMES[0] + damaged + FRAMES[2] + b"torn")
    Path(f"{path}.0000000001.journal").write_bytes(encode_link(FRAMES[2][16:80].decode()))
    lines: list[str] = []
    assert not check(str(path), "", lines.append)
    assert lines[-1] == f"2 valid frames; a start would load the frame at offset {len(FRAMES[0] + damaged)}"


def test_segment_that_was_put_aside_is_told_as_one(path: Path) -> None:
    segment = Path(f"{path}.0000000001.journal.unlinked")
    segment.write_bytes(encode_link("0" * 64) + encode_records([pack([[b"SET", b"a", b"1"]])]))
    lines: list[str] = []
    assert check(str(segment), "", lines.append)
    assert lines[0].endswith("2 valid frames, 1 commands")


def test_compact_keeps_the_frames_behind_a_damaged_one_and_that_one_aside(path: Path) -> None:
    damaged = FRAMES[1][:-2] + b"!}"
    path.write_bytes(FRAMES[0] + damaged + FRAMES[2])
    compacted(path, 3)
    assert path.read_bytes() == FRAMES[0] + FRAMES[2]
    assert [found.read_bytes() for found in path.parent.iterdir() if found != path] == [damaged]
