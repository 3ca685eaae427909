"""A file is there as a whole or not at all, and none that is there already is replaced unless that was asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from kvserver.errors import TransferError
from kvserver.transfer.outgoing import look_at_file, write

PIECES = [b"abc", b"", b"x" * 3_000_000]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_has_all_pieces_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert write(str(path), PIECES, replaces=False) == 3_000_003
    assert path.read_bytes() == b"".join(PIECES)
    assert names(tmp_path) == ["out"]


def test_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"

    def failing() -> Iterator[bytes]:
        yield b"x" * 3_000_000
        assert not path.exists()
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write(str(path), failing(), replaces=False)
    assert names(tmp_path) == []


def test_file_that_is_there_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before")
    for refuse in (lambda: look_at_file(str(path), replaces=False), lambda: write(str(path), PIECES, replaces=False)):
        with pytest.raises(TransferError, match="is there already: --replace replaces it"):
            refuse()
    assert path.read_bytes() == b"before"
    write(str(path), PIECES, replaces=True)
    assert path.read_bytes() == b"".join(PIECES)


def test_file_that_comes_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out"

    def beside() -> Iterator[bytes]:
        yield b"x"
        path.write_bytes(b"of somebody else")

    with pytest.raises(TransferError, match=f"{path} is there already"):
        write(str(path), beside(), replaces=False)
    assert path.read_bytes() == b"of somebody else"
    assert names(tmp_path) == ["out"]


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path, fifo, Path("/dev/null")):
        with pytest.raises(TransferError, match="is not a regular file"):
            write(str(path), PIECES, replaces=True)


def test_failures_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"cannot write .*/nowhere/out: No such file or directory"):
        write(str(tmp_path / "nowhere" / "out"), PIECES, replaces=False)
    with pytest.raises(TransferError, match="cannot write"):
        write(str(tmp_path / "a\0b"), PIECES, replaces=False)


def test_standard_output_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=stream))
    look_at_file("-", replaces=False)
    assert write("-", PIECES, replaces=False) == 3_000_003
    assert stream.getvalue() == b"".join(PIECES)
