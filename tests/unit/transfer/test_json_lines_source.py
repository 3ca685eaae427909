"""Lines of JSON come in one by one, and what is wrong is told with the number of the line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from helpers.transfers import LIBRARY, loaded
from kvserver.errors import SourceInvalid
from kvserver.formats.json_lines import library_line
from kvserver.transfer import json_lines_source
from kvserver.transfer.incoming import Incoming
from kvserver.transfer.staging import Staging


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


def test_lines_come_in_with_and_without_an_end_and_between_empty_ones(path: Path) -> None:
    data = b'\n{"key":"a","value":"1"}\r\n\n' + library_line(b"mylib", LIBRARY) + b'{"key":"a","db":3,"value":[1]}'
    staging = loaded(path, data)
    assert list(staging.members()) == [(0, b"a", b"1"), (3, b"a", b"[1]")]
    assert staging.databases.libraries.copy() == {b"mylib": LIBRARY}


def test_lines_longer_than_a_chunk_come_in(path: Path) -> None:
    value = "x" * 700_000
    lines = [f'{{"key":"{number}","value":"{value}{number}"}}' for number in range(3)]
    staging = loaded(path, "\n".join(lines).encode())
    assert [len(entry) for _, _, entry in staging.members()] == [700_001] * 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "line 3: it is no JSON"),
        (b'{"key":"a","value":"1"}', "line 3: the key 'a' of the database 0 comes twice"),
        (library_line(b"other", LIBRARY), "line 3: the library is called 'other', and 'mylib' in its code"),
        (library_line(b"other", b"x"), "line 3: a function library is none: Missing library metadata"),
        (b"\0" * 50, "line 3: it is no JSON"),
    ],
)
def test_wrong_line_is_told_by_its_number(path: Path, line: bytes, reason: str) -> None:
    with pytest.raises(SourceInvalid, match=rf"^{path}: {reason}"):
        loaded(path, b'{"key":"a","value":"1"}\n\n' + line + b'\n{"key":"b","value":"1"}\n')


def test_line_without_an_end_is_not_read_to_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines_source, "MOST_LINE_BYTES", 1 << 20)
    with pytest.raises(SourceInvalid, match="line 2: it is longer than 1048576 bytes"):
        loaded(path, b'{"key":"a","value":"1"}\n{"key":"' + b"x" * (1 << 22))
    with pytest.raises(SourceInvalid, match="line 1: it is longer than 1048576 bytes"):
        loaded(path, b'{"key":"' + b"x" * (1 << 20) + b'"}\n')


def test_source_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines_source, "MOST_LINE_BYTES", 1 << 20)

    class Endless(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            assert self.reads < 10
            return b"{" * (size or 0)

    incoming = Incoming("endless", Endless(), lambda length: None)
    with incoming, pytest.raises(SourceInvalid, match="line 1: it is longer than"):
        json_lines_source.load(incoming, Staging())
