"""The manifest of append-only files tells which are read, in which order; what redis-server refuses is refused."""

from __future__ import annotations

import pytest

from kvserver.errors import SourceInvalid
from kvserver.formats.aof_manifest import files_of


def test_base_comes_first_then_the_increments_and_no_history() -> None:
    manifest = (
        b"# a remark\n"
        b"file a.2.base.rdb seq 2 type b\n"
        b"file a.1.base.rdb seq 1 type h\n"
        b"file a.3.incr.aof seq 3 type i\n"
        b'file "with a blank.aof" seq 4 type i startoffset 12\n'
    )
    assert files_of(manifest) == ["a.2.base.rdb", "a.3.incr.aof", "with a blank.aof"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "it is no file"),
        (b"file a seq 1", "it is no file"),
        (b"file a seq 1 type b extra", "it is no file"),
        (b"file a seq x type b", "it is no file"),
        (b"file a seq 1_0 type b", "it is no file"),
        (b'file "a seq 1 type b', "it is no file"),
        (b"file " + b"a" * 2000 + b" seq 1 type b", "it is no file"),
        (b"file ../a seq 1 type b", "is a path"),
        (b"file .. seq 1 type b", "is a path"),
        (b'file "a\\x00b" seq 1 type b', "is a path"),
        (b"file a seq 1 type x", "a type that is not known"),
        (b"file a seq 1 type b", "a second base"),
        (b"file a seq 1 type i", "the numbers do not grow"),
    ],
)
def test_lines_that_are_wrong_are_named(line: bytes, reason: str) -> None:
    manifest = b"file base seq 1 type b\nfile i seq 1 type i\n" + line + b"\n"
    with pytest.raises(SourceInvalid, match=f"line 3 of the manifest: .*{reason}"):
        files_of(manifest)


def test_manifest_without_files_is_none() -> None:
    with pytest.raises(SourceInvalid, match="names no file"):
        files_of(b"# nothing\n")
