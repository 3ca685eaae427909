"""Append-only files come in one by one or as a folder; what a crash has left at the end is left out, other damage told."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.transfers import LIBRARY, aof
from kvserver.errors import SourceInvalid, TransferError
from kvserver.transfer.sources import load_source
from kvserver.transfer.staging import Staging

# An RDB file without keys, from a server that writes no checksum.
EMPTY_RDB = b"REDIS0010\xff" + bytes(8)
MANIFEST = b"file a.base.rdb seq 1 type b\nfile a.1.aof seq 1 type i\nfile a.2.aof seq 2 type i\nfile old seq 1 type h\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "a.manifest").write_bytes(MANIFEST)
    (folder / "a.base.rdb").write_bytes(EMPTY_RDB)
    (folder / "a.1.aof").write_bytes(aof("SELECT 3", "SET a 1"))
    (folder / "a.2.aof").write_bytes(aof("SET a 2", "SELECT 3", "INCR a"))
    return folder


def keys(staging: Staging) -> list[tuple[int, bytes, object]]:
    return list(staging.members())


def test_files_of_a_folder_run_in_order_each_from_database_0(folder: Path) -> None:
    for path in (folder, folder.parent):
        staging, length = load_source(str(path))
        assert keys(staging) == [(0, b"a", b"2"), (3, b"a", b"2")]
        assert length == sum(len((folder / name).read_bytes()) for name in ("a.base.rdb", "a.1.aof", "a.2.aof"))


def test_file_may_begin_with_an_rdb_file(tmp_path: Path) -> None:
    path = tmp_path / "appendonly.aof"
    rdb = b"REDIS0010\xfe\x03\x00\x01a\x01b\xff" + bytes(8)
    path.write_bytes(rdb + aof("SELECT 3", "APPEND a c"))
    assert keys(load_source(str(path))[0]) == [(3, b"a", b"bc")]
    path.write_bytes(rdb + aof("SELECT 3", "INCR a"))
    with pytest.raises(SourceInvalid, match=f"the command 'INCR' at offset {len(rdb + aof('SELECT 3'))}: "):
        load_source(str(path))
    path.write_bytes(rdb[:-9])
    with pytest.raises(SourceInvalid, match="ends too early"):
        load_source(str(path))
    path.write_bytes(rdb + b"garbage")
    with pytest.raises(SourceInvalid, match=f"damaged at offset {len(rdb)}"):
        load_source(str(path))


def test_torn_end_is_left_out_of_the_last_file_alone(folder: Path) -> None:
    torn = aof("SET b 1")[:-3]
    with (folder / "a.2.aof").open("ab") as last:
        last.write(torn)
    staging, _ = load_source(str(folder))
    assert len(keys(staging)) == 2
    (note,) = staging.notes
    assert note.startswith(f"left out: {len(torn)} bytes at offset ")
    assert note.endswith(f"of {folder}/a.2.aof, at its end: a command that is not whole")
    for rest, what in ((torn, "a command"), (aof("MULTI"), "a transaction")):
        (folder / "a.1.aof").write_bytes(aof("SET a 1") + rest)
        with pytest.raises(SourceInvalid, match=rf"a\.1\.aof: damaged at offset {len(aof('SET a 1'))}: {what} has no end"):
            load_source(str(folder))


def test_damage_names_the_file(folder: Path) -> None:
    (folder / "a.1.aof").write_bytes(aof("SET a 1") + b"x" + aof("SET a 1"))
    with pytest.raises(SourceInvalid, match=rf"^{folder}/a\.1\.aof: damaged at offset {len(aof('SET a 1'))}"):
        load_source(str(folder))
    (folder / "a.1.aof").unlink()
    with pytest.raises(TransferError, match=rf"cannot read {folder}/a\.1\.aof: No such file"):
        load_source(str(folder))


def test_manifest_that_a_crash_has_left_half_is_passed_over(folder: Path) -> None:
    before = list(load_source(str(folder))[0].members())
    (folder / "temp-a.manifest").write_bytes(MANIFEST[:5])
    assert list(load_source(str(folder))[0].members()) == before
    (folder / "a.manifest").rename(folder / "temp-b.manifest")
    (folder / "temp-a.manifest").unlink()
    assert list(load_source(str(folder))[0].members()) == before


def test_folder_without_one_manifest_is_told(folder: Path, tmp_path: Path) -> None:
    (folder / "b.manifest").write_bytes(MANIFEST)
    with pytest.raises(TransferError, match=r"has several manifests: a\.manifest, b\.manifest"):
        load_source(str(folder))
    (folder / "a.manifest").unlink()
    (folder / "b.manifest").write_bytes(b"x\n")
    with pytest.raises(SourceInvalid, match=r"b\.manifest: damaged in line 1"):
        load_source(str(folder))
    (folder / "b.manifest").unlink()
    with pytest.raises(TransferError, match="has no manifest"):
        load_source(str(folder))
    (folder / "b.manifest").mkdir()
    with pytest.raises(TransferError, match="is not a regular file"):
        load_source(str(folder))


def test_libraries_of_a_folder_come_in(folder: Path) -> None:
    (folder / "a.1.aof").write_bytes(aof(["FUNCTION", "LOAD", LIBRARY]))
    (folder / "a.2.aof").write_bytes(aof("FCALL put 1 a 5"))
    assert keys(load_source(str(folder))[0]) == [(0, b"a", b"5")]
