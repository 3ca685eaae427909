"""Bytes come in once, from a file or from standard input; what is no file is told in one line."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from kvserver.errors import TransferError
from kvserver.transfer.incoming import CHUNK_BYTES, open_incoming, size_of


def test_first_bytes_come_again_and_all_that_is_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = os.urandom(CHUNK_BYTES + 7)
    path.write_bytes(data)
    reported: list[int] = []
    with open_incoming(str(path), reported.append) as incoming:
        assert incoming.first() == data[:CHUNK_BYTES] == incoming.first()
        assert b"".join(incoming.chunks()) == data
    assert reported == [CHUNK_BYTES, 7]
    assert incoming.read_bytes == len(data) == size_of(str(path))


def test_standard_input_is_read_and_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO(b"abc")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
    with open_incoming("-", lambda length: None) as incoming:
        assert b"".join(incoming.chunks()) == b"abc"
    assert not stream.closed
    assert size_of("-") == 0


def test_what_is_no_file_is_told_in_one_line(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, told in (
        (fifo, "is not a regular file"),
        (tmp_path, "is not a regular file"),
        (tmp_path / "nothing", "No such file"),
        ("/dev/zero", "is not a regular file"),
    ):
        with pytest.raises(TransferError, match=told):
            open_incoming(str(path), lambda length: None)
    with pytest.raises(TransferError, match="no name of a file"):
        open_incoming("a\0b", lambda length: None)
    assert size_of("a\0b") == size_of(str(tmp_path / "nothing")) == 0


def test_file_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    incoming = open_incoming(str(path), lambda length: None)

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with incoming:
        incoming._file.close()
        incoming._file = Failing()
        with pytest.raises(TransferError, match=f"cannot read {path}: Input/output error"):
            incoming.first()
