"""A configuration file has its old text or its new one, and never anything else."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from pathlib import Path

import pytest

from kvserver.media.filesystem import FileSystem, sync_names
from kvserver.options.file import find_files, read_bytes_as_text, read_text, replace_text

SYNC = partial(sync_names, FileSystem())


def test_mark_of_the_order_of_bytes_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "redis.conf").write_bytes(b"\xef\xbb\xbfport 7000\n")
    assert read_bytes_as_text(str(tmp_path / "redis.conf")) == "port 7000\n"


def test_text_comes_back_with_its_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    replace_text(str(file), "a\r\nb\n\xe9", SYNC)
    assert file.read_bytes() == b"a\r\nb\n\xc3\xa9"
    assert read_text(str(file)) == "a\r\nb\n\xe9"


def test_mode_is_kept_and_links_are_followed(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    replace_text(str(link), "new", SYNC)
    assert link.is_symlink()
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_failed_write_leaves_the_old_text_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        replace_text(str(file), "new", SYNC)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_folder_that_cannot_be_synced_has_the_new_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    replace_text(str(file), "new", SYNC)
    assert file.read_text() == "new"


def test_file_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_text(str(tmp_path / "file"), "new", SYNC)
    assert os.listdir(tmp_path) == []


def test_bytes_that_are_not_utf8_come_back(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"# f\xfcr\n")
    with pytest.raises(UnicodeDecodeError):
        read_text(str(file))
    text = read_bytes_as_text(str(file))
    replace_text(str(file), text + "port 1\n", SYNC)
    assert file.read_bytes() == b"# f\xfcr\nport 1\n"


def test_pattern_stands_for_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.conf", "a.conf", "c.txt"):
        (tmp_path / name).touch()
    assert find_files(f"{tmp_path}/*.conf") == [str(tmp_path / "a.conf"), str(tmp_path / "b.conf")]
    assert find_files(f"{tmp_path}/none*") == []
