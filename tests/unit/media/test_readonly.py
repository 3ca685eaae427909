"""A folder that somebody else writes can be read as it is, and nothing in it is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.disks import Disk
from kvserver.errors import MediumDisplaced, MediumError
from kvserver.media.locate import look_at_folder, open_folder
from kvserver.media.medium import Aside
from kvserver.media.readonly import ReadOnlyFile


def test_what_is_open_stays_readable_whatever_becomes_of_it(tmp_path: Path) -> None:
    writer = open_folder(str(tmp_path), "dump.kvs")
    writer.medium.append(b"frame")
    for number in (1, 2):
        writer.log.cut(number)
        writer.log.write(b"record %d" % number)
    reader = look_at_folder(str(tmp_path), "dump.kvs")
    names = reader.log.segments()
    assert list(names) == [1, 2]
    reader.medium.prove_place()
    writer.log.drop_before(2)
    writer.log.write(b", more")
    writer.medium.append(b", another")
    os.replace(writer.medium.path, tmp_path / "other")  # type: ignore[attr-defined]
    found = [reader.log.open(name) for name in names.values()]
    assert [contents.read(0, contents.size()) for contents in found] == [b"record 1", b"record 2, more"]
    for contents in found:
        contents.close()
        assert contents.size(), "the log holds it"
    assert (reader.medium.read_all(), reader.medium.read(5, 5)) == (b"frame, another", b", ano")
    reader.medium.prove_place()
    assert (reader.medium.size(), reader.medium.read(0, 5)) == (0, b"")
    assert list(reader.log.segments()) == [2]
    reader.close()
    reader.close()
    writer.close()


def test_segment_that_goes_between_list_and_open_is_told(tmp_path: Path) -> None:
    class Late(Disk):
        def list(self, folder: str) -> list[str]:
            return [*super().list(folder), "dump.kvs.0000000009.journal"]

    with pytest.raises(MediumDisplaced, match=r"0000000009\.journal was removed"):
        look_at_folder(str(tmp_path), "dump.kvs", Late()).log.segments()


def test_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "dump.kvs").write_bytes(b"frame")
    (tmp_path / "dump.kvs.0000000001.journal").write_bytes(b"record")
    (tmp_path / "dump.kvs.0000000002.journal.damaged").write_bytes(b"record")
    lease, medium, log, _ = place = look_at_folder(str(tmp_path), "dump.kvs")
    [name] = log.segments().values()
    held = log.open(name)
    for call in (
        *(lambda: medium.append(b"x"), lambda: medium.truncate(0), lambda: medium.set_aside(0), medium.prove),
        *(medium.begin_frame, medium.begin_rewrite, lease.hold, lambda: held.truncate(0), lambda: held.set_aside(0)),
        *(lambda: log.cut(3), lambda: log.write(b"x"), lambda: log.write_now(b"x"), log.sync, log.sync_all, log.prepare),
        *(lambda: log.drop(1), lambda: log.drop_before(2), log.age_asides, lambda: log.remove([1]), log.asides),
        *(lambda: log.set_aside(name, Aside.DAMAGED), lambda: log.adopt([1], 6, 1)),
    ):
        with pytest.raises(MediumError, match="read_only"):
            call()
    place.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dump.kvs", "dump.kvs.0000000001.journal", "dump.kvs.0000000002.journal.damaged",
    ]  # fmt: skip


def test_folder_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(MediumError, match=r"cannot read the directory .*nowhere: No such file"):
        look_at_folder(str(tmp_path / "nowhere"), "dump.kvs").log.segments()
    assert not list(tmp_path.iterdir())


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("folder", "link"):
        with pytest.raises(MediumError, match=f"cannot open .*{name}"):
            ReadOnlyFile(str(tmp_path / name), Disk())


def test_file_that_is_forgotten_is_closed_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    file = ReadOnlyFile(str(tmp_path / "file"), Disk())
    assert file.read(0, 9) == b"x"
    with pytest.warns(ResourceWarning, match="was not closed"):
        del file
