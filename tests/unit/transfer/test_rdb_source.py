"""An RDB file comes in with its libraries and expiries; one that is cut, damaged or newer is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.transfers import LATER_MS, LIBRARY, loaded
from kvserver.errors import SourceInvalid

HEAD = b"REDIS0010"
END = b"\xff" + bytes(8)


def text(data: bytes) -> bytes:
    return b"\x80" + len(data).to_bytes(4, "big") + data


RDB = (
    HEAD
    + b"\xf5" + text(LIBRARY)
    + b"\xfe\x00" + b"\x00" + text(b"a") + text(b"1")
    + b"\xfe\x09" + b"\xfc" + LATER_MS.to_bytes(8, "little") + b"\x00" + text(b"b") + text(b"2")
    + b"\xfc" + (5).to_bytes(8, "little") + b"\x00" + text(b"gone") + text(b"2")
    + END
)  # fmt: skip


def test_keys_and_libraries_come_in(tmp_path: Path) -> None:
    staging = loaded(tmp_path / "dump.rdb", RDB)
    assert [(number, key) for number, key, _ in staging.members()] == [(0, b"a"), (9, b"b")]
    assert staging.databases[9].expires_at_ms(b"b") == LATER_MS
    assert staging.expired == 1
    assert staging.databases.libraries.copy() == {b"mylib": LIBRARY}


@pytest.mark.parametrize("end", [*range(9, 60), len(RDB) - 1, len(RDB) - 9])
def test_cut_file_is_told(tmp_path: Path, end: int) -> None:
    with pytest.raises(SourceInvalid, match=r"dump\.rdb: the RDB file ends too early"):
        loaded(tmp_path / "dump.rdb", RDB[:end])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"REDIS0099" + RDB[9:], "version 99"),
        (HEAD + b"\x00" + text(b"a") + text(b"1") + b"\x00" + text(b"a") + text(b"2") + END, "the key 'a' .* comes twice"),
        (RDB[:-9] + b"\xff" + bytes(range(1, 9)), "checksum"),
        (HEAD + b"\xf5" + text(b"nothing") + END, "a function library is none"),
        (HEAD + b"\xfe\x44\x00" + b"\x00" + text(b"a") + text(b"1") + END, "database 1024"),
    ],
)
def test_file_that_is_wrong_is_told(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(SourceInvalid, match=rf"dump\.rdb: .*{reason}"):
        loaded(tmp_path / "dump.rdb", data)


def test_collection_without_members_is_noted(tmp_path: Path) -> None:
    staging = loaded(tmp_path / "dump.rdb", HEAD + b"\x02" + text(b"s") + b"\x00" + END)
    assert not list(staging.members())
    assert staging.notes == ["left out: 1 collections without members"]
