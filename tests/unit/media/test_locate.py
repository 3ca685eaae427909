"""A folder is opened as a whole, or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kvserver.errors import MediumError, MediumLocked
from kvserver.media.file import FileMedium
from kvserver.media.filesystem import FileSystem
from kvserver.media.lease import FolderLease
from kvserver.media.locate import open_folder


def test_folder_has_a_lease_a_medium_and_a_log_beside_it(tmp_path: Path) -> None:
    place = open_folder(str(tmp_path / "data"), "dump.kvs")
    place.medium.append(b"frame")
    place.log.cut(1)
    place.log.write(b"record", synced=True)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["dump.kvs", "dump.kvs.0000000001.journal"]
    with pytest.raises(MediumLocked):
        open_folder(str(tmp_path / "data"), "other.kvs")
    place.close()
    place.close()
    open_folder(str(tmp_path / "data"), "dump.kvs").close()


def test_nothing_is_held_where_the_file_is_somebody_elses(tmp_path: Path) -> None:
    with FileMedium(tmp_path / "dump.kvs"):
        with pytest.raises(MediumLocked, match=r"dump\.kvs is in use by another process"):
            open_folder(str(tmp_path), "dump.kvs")
        FolderLease(tmp_path).release()


def test_dump_of_redis_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "dump.rdb"
    file.write_bytes(b"REDIS0010\xfa and so on")
    with pytest.raises(MediumError, match=r"dump\.rdb is a dump of Redis, which kvserver can't read"):
        open_folder(str(tmp_path), "dump.rdb")
    assert file.read_bytes() == b"REDIS0010\xfa and so on"
    open_folder(str(tmp_path), "dump.kvs").close()


class CaseInsensitive(FileSystem):
    """As macOS's is by default."""

    def exists(self, path: str) -> bool:
        folder, name = os.path.split(path)
        return name.casefold() in map(str.casefold, os.listdir(folder)) if os.path.isdir(folder) else False


def test_file_is_opened_under_its_own_spelling_alone(tmp_path: Path) -> None:
    open_folder(str(tmp_path), "dump.kvs", CaseInsensitive()).close()
    with pytest.raises(MediumError, match=r"/Dump\.kvs is there as dump\.kvs: spell it so, or its journal would not be found"):
        open_folder(str(tmp_path), "Dump.kvs", CaseInsensitive())
    open_folder(str(tmp_path), "dump.kvs", CaseInsensitive()).close()
    open_folder(str(tmp_path), "other.kvs", CaseInsensitive()).close()


def test_folder_that_cannot_be_listed_is_told_and_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_folder(str(tmp_path), "dump.kvs").close()
    filesystem = FileSystem()

    def fail(folder: str) -> list[str]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(filesystem, "list", fail)
    with pytest.raises(MediumError, match=r"^cannot read the directory .*: Input/output error$"):
        open_folder(str(tmp_path), "dump.kvs", filesystem)
    open_folder(str(tmp_path), "dump.kvs").close()
