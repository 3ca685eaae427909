"""`kvserver check` tells what is there and changes nothing; `kvserver compact` keeps the last frames or everything."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.frames import frame
from helpers.servers import StartServer, kvserver_command, kvserver_environment
from helpers.starts import DATA_FILE, QUIET, data_file, place
from kvserver import FileMedium
from kvserver.cli.check import check, check_file, compact_file
from kvserver.errors import MediumError, MediumLocked
from kvserver.formats.frame import encode_frame
from kvserver.formats.record import encode_link, encode_loss, encode_records, pack

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

    segment.write_bytes(whole + encode_loss(1_700_000_000_123))
    assert told(tmp_path)[0]
    cut = f"loss at offset {len(whole)}: the start at 2023-11-14T22:13:20.123Z cut off what was damaged there"
    assert cut in told(tmp_path)[1].splitlines()

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


# --- As programs ---


def offline(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        kvserver_command(*arguments), env=kvserver_environment(), capture_output=True, text=True, timeout=20, check=False
    )


def test_check_lists_frames_and_tells_what_is_behind_them(tmp_path: Path) -> None:
    path = tmp_path / "file.kvs"
    first, second = frame({"a": 1}), frame({"a": 1, "b": 2})
    for tail, code, words in ((b"", 0, ""), (second[:-4], 1, "torn"), (b"garbage", 1, "DAMAGED")):
        path.write_bytes(first + second + tail)
        done = offline("check", str(path))
        assert (done.returncode, done.stderr) == (code, "")
        lines = done.stdout.splitlines()
        assert [line for line in lines if line.startswith("frame")] == [
            f"frame 1: offset 0, length {len(first)} (payload {len(first) - 80}), "
            f"checksum ok ({first[16:32].decode()}…), 1 keys",
            f"frame 2: offset {len(first)}, length {len(second)} (payload {len(second) - 80}), "
            f"checksum ok ({second[16:32].decode()}…), 2 keys",
        ]
        assert words in done.stdout
        assert (f"offset {len(first + second)}" in done.stdout) == bool(tail)
        assert path.read_bytes() == first + second + tail, "check only reads"


def test_compact_keeps_the_last_frames_and_sets_damage_aside(tmp_path: Path) -> None:
    path = tmp_path / "file.kvs"
    parts = [frame({"n": number}) for number in range(6)]
    for tail, asides in ((b"", []), (parts[0][:-1], []), (b"garbage", [b"garbage"])):
        path.write_bytes(b"".join(parts) + tail)
        done = offline("compact", str(path), "--keep-frames", "2")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert path.read_bytes() == b"".join(parts[-2:])
        assert [file.read_bytes() for file in tmp_path.iterdir() if file != path] == asides
        again = offline("compact", str(path), "--keep-frames", "2")
        assert again.returncode == 0
        assert path.read_bytes() == b"".join(parts[-2:])


def test_compact_of_a_file_in_use_is_refused_and_check_reads_it(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    with server.connect() as wire:
        wire.command("SET", "k", "v")
        wire.command("SAVE")
    before = data_file(server).read_bytes()
    done = offline("compact", str(data_file(server)))
    assert done.returncode > 0
    assert len(done.stderr.splitlines()) == 1
    assert "in use" in done.stderr
    assert data_file(server).read_bytes() == before
    assert offline("check", str(data_file(server))).returncode == 0
    assert server.once("SAVE") == b"+OK\r\n"


@pytest.mark.parametrize("kind", ["missing", "a folder", "a FIFO", "a symlink to nothing"])
@pytest.mark.parametrize("command", ["check", "compact"])
def test_offline_command_on_what_is_no_file_says_so_in_one_line(tmp_path: Path, command: str, kind: str) -> None:
    path = tmp_path / DATA_FILE
    place(kind, path)
    done = offline(command, str(path))
    assert done.returncode > 0
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("kvserver: ")
    assert str(path) in done.stderr
    assert os.path.lexists(path) == (kind != "missing")


def test_compact_without_room_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file.kvs"
    path.write_bytes(b"".join(frame({"n": number, "x": "x" * 50_000}) for number in range(4)))
    before = path.read_bytes()
    limited = ["bash", "-c", 'ulimit -f 50; exec "$@"', "bash", *kvserver_command("compact", str(path), "--keep-frames", "2")]
    done = subprocess.run(limited, env=kvserver_environment(), capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode > 0
    assert len(done.stderr.splitlines()) == 1
    assert "File too large" in done.stderr
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["file.kvs"]
