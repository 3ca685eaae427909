"""An import into a folder is one frame that a start loads; where it fails, the folder is as it was, byte for byte."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from helpers.servers import StartServer
from helpers.transfers import LATER_MS, LIBRARY, filled, payload, payload_in, staged
from kvserver import KVStore, ServerFolder
from kvserver.data.databases import Databases
from kvserver.errors import MediumError, MediumLocked, TransferError, UsageError
from kvserver.library.folder import DBFILENAME
from kvserver.media.filesystem import FileSystem
from kvserver.transfer.folder_target import look_at_folder, new_folder, put_into_folder
from kvserver.transfer.staging import Staging


def coming(**values: bytes) -> Staging:
    staging = Staging()
    for key, value in values.items():
        staging.put(0, key.encode(), value, None)
    return staging


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def test_all_types_come_into_a_new_folder_as_one_frame(tmp_path: Path) -> None:
    staging = staged(filled())
    before = payload(staging.databases)
    put_into_folder(staging, str(tmp_path / "new"), DBFILENAME, replaces=False)
    assert payload_in(tmp_path / "new") == before
    with ServerFolder(tmp_path / "new") as folder:
        assert not folder.recovered.segments
    assert not staging.databases.key_count


def test_keys_come_beside_those_that_a_journal_has(tmp_path: Path) -> None:
    with KVStore(ServerFolder(tmp_path / "data"), journal=True) as store:
        store["a"] = "1"
        store.shutdown()
        store["b"] = "2"
        store["c"] = "3"
    staging = coming(d=b"4")
    staging.put(5, b"a", b"5", LATER_MS)
    put_into_folder(staging, str(tmp_path / "data"), DBFILENAME, replaces=False)
    expected = b'{"$kvs:5:a":{"$kvs":{"expires_at_ms":%d,"value":"5"}},"a":"1","b":"2","c":"3","d":"4"}' % LATER_MS
    assert payload_in(tmp_path / "data") == expected


def test_key_that_is_there_is_named_and_nothing_changes(tmp_path: Path) -> None:
    put_into_folder(coming(b=b"1", c=b"1"), str(tmp_path), DBFILENAME, replaces=False)
    before = files(tmp_path)
    with pytest.raises(TransferError, match="there is a key 'b' in the database 0 already: nothing was imported; --replace"):
        put_into_folder(coming(a=b"2", c=b"2", b=b"2"), str(tmp_path), DBFILENAME, replaces=False)
    assert files(tmp_path) == before
    put_into_folder(coming(a=b"2", b=b"2"), str(tmp_path), DBFILENAME, replaces=True)
    assert payload_in(tmp_path) == b'{"a":"2","b":"2","c":"1"}'


def test_library_that_is_there_is_named_unless_it_is_the_same(tmp_path: Path) -> None:
    def library(text: bytes) -> Staging:
        staging = Staging()
        staging.put_library(text)
        return staging

    for replaces in (False, False, True):
        put_into_folder(library(LIBRARY), str(tmp_path), DBFILENAME, replaces=replaces)
    with pytest.raises(TransferError, match="there is a function library 'mylib' already"):
        put_into_folder(library(LIBRARY + b" "), str(tmp_path), DBFILENAME, replaces=False)
    put_into_folder(library(LIBRARY + b" "), str(tmp_path), DBFILENAME, replaces=True)
    with ServerFolder(tmp_path) as folder:
        assert folder.databases.libraries.copy() == {b"mylib": LIBRARY + b" "}


def test_key_that_has_expired_there_is_in_nobodys_way(tmp_path: Path) -> None:
    databases = Databases(lambda: 0)
    databases[0].set_expiring(b"a", b"1", 5)
    put_into_folder(staged(databases), str(tmp_path), DBFILENAME, replaces=False)
    put_into_folder(coming(a=b"2"), str(tmp_path), DBFILENAME, replaces=False)
    assert payload_in(tmp_path) == b'{"a":"2"}'


def test_folder_of_a_running_server_is_refused_at_once(start_server: StartServer, tmp_path: Path) -> None:
    start_server("--save", "", directory=tmp_path)
    with pytest.raises(MediumLocked, match="in use by another kvserver"):
        look_at_folder(str(tmp_path))
    with pytest.raises(MediumLocked, match="in use by another kvserver"):
        put_into_folder(coming(), str(tmp_path), DBFILENAME, replaces=False)


def test_looking_makes_nothing(tmp_path: Path) -> None:
    look_at_folder(str(tmp_path / "new"))
    look_at_folder(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_data_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_into_folder(coming(a=b"1"), str(tmp_path), DBFILENAME, replaces=False)
    before = payload_in(tmp_path)

    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystem, "write", fail)
        patch.setattr(FileSystem, "append", fail)
        with pytest.raises(MediumError, match="No space left"):
            put_into_folder(coming(b=b"x" * 3_000_000), str(tmp_path), DBFILENAME, replaces=False)
        with pytest.raises(MediumError, match="No space left"):
            put_into_folder(coming(b=b"x" * 3_000_000), str(tmp_path / "new"), DBFILENAME, replaces=False)
    assert payload_in(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_folder_that_was_there_stays_where_an_import_fails(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(KeyboardInterrupt), new_folder(str(tmp_path), DBFILENAME):
        raise KeyboardInterrupt
    assert (tmp_path / "note").read_text() == "mine"


def test_empty_word_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="an empty word names no folder"):
        look_at_folder("")
