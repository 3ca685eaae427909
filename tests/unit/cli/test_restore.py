"""`kvserver restore`: the folder has the whole state, byte for byte, or nothing; what is there already is never touched."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvserver
from helpers.frames import frame
from helpers.shared_logs import Writer, record
from kvserver.cli.restore import restore_stored
from kvserver.cli.stored import NO_ENTRY
from kvserver.errors import MediumError, MediumLocked, Trimmed
from kvserver.formats.record import EMPTY_STORE

NAME = "dump.kvs"


def restored(writer: Writer, folder: Path, snapshot: str = "") -> tuple[bool, list[str]]:
    lines: list[str] = []
    before = writer.vault.manifest(), dict(writer.vault.objects), writer.log.last
    is_whole = restore_stored(writer.stored, str(folder), NAME, snapshot, lines.append)
    assert before == (writer.vault.manifest(), writer.vault.objects, writer.log.last)
    return is_whole, lines


def data_in(folder: Path) -> dict[str, Any]:
    """What a start loads there."""
    with kvserver.KVStore(kvserver.ServerFolder(str(folder))) as store:
        return dict(store.items())


@pytest.fixture
def writer() -> Writer:
    writer = Writer()
    writer.lead()
    writer.write("SET a 1")
    return writer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_snapshot_and_log_become_a_frame_and_a_segment(writer: Writer, folder: Path) -> None:
    writer.snapshot({"a": "1"}, trims=True)
    writer.write("SET b 2", "SET c 3")
    writer.append(b"")
    writer.write("DEL a")
    is_whole, lines = restored(writer, folder)
    assert is_whole
    assert (folder / NAME).read_bytes() == frame({"a": "1"})
    segment = (folder / f"{NAME}.0000000001.journal").read_bytes()
    assert segment.endswith(record("SET b 2", "SET c 3") + record("DEL a"))
    assert sorted(path.name for path in folder.iterdir()) == [NAME, f"{NAME}.0000000001.journal"]
    assert lines[-1].endswith(f"and 2 records ({len(record('SET b 2', 'SET c 3') + record('DEL a'))} bytes) behind it")
    assert data_in(folder) == {"b": "2", "c": "3"}


def test_snapshots_whose_log_is_elsewhere_are_told(writer: Writer, folder: Path) -> None:
    writer.snapshot({"a": "1"}, trims=True)
    is_whole, lines = restored(writer, folder)
    assert is_whole
    assert lines[-1] == NO_ENTRY


def test_log_alone_is_enough(writer: Writer, folder: Path) -> None:
    assert restored(writer, folder)[0]
    assert data_in(folder) == {"a": "1"}


def test_unfinished_record_is_left_out(writer: Writer, folder: Path) -> None:
    writer.append(record("SET b 2")[:-4])
    is_whole, lines = restored(writer, folder)
    assert is_whole
    assert lines[-1].startswith("left out: ")
    assert data_in(folder) == {"a": "1"}


def test_data_that_was_exchanged_is_what_is_restored(writer: Writer, folder: Path) -> None:
    old = writer.snapshot({"old": "1"})
    writer.snapshot({"new": "1"})
    writer.write("SET lost 1")
    writer.relink(old.digest)
    writer.write("SET kept 1")
    assert restored(writer, folder)[0]
    assert data_in(folder) == {"old": "1", "kept": "1"}
    assert (folder / NAME).read_bytes() == frame({"old": "1"})


def test_data_that_was_cleared_is_gone(writer: Writer, folder: Path) -> None:
    writer.relink(EMPTY_STORE)
    writer.write("SET b 1")
    assert restored(writer, folder)[0]
    assert data_in(folder) == {"b": "1"}


@pytest.mark.parametrize("by", ["number", "digest", "beginning"])
def test_older_snapshot_is_had_by_its_number_or_digest(writer: Writer, folder: Path, by: str) -> None:
    old = writer.snapshot({"old": "1"})
    writer.snapshot({"new": "1"})
    snapshot = {"number": "1", "digest": old.digest, "beginning": old.digest[:8]}[by]
    assert restored(writer, folder, snapshot)[0]
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert data_in(folder) == {"old": "1"}


def test_backups_of_a_server_are_restored_as_the_newest_snapshot(folder: Path) -> None:
    writer = Writer()
    writer.snapshot({"old": "1"}, owner="ab" * 16)
    writer.snapshot({"new": "1"}, owner="ab" * 16)
    assert restored(writer, folder)[0]
    assert (folder / NAME).read_bytes() == frame({"new": "1"})


@pytest.mark.parametrize("snapshot", ["0", "3", "99", "abc", "0123abcd", "latest", "-1"])
def test_snapshot_that_is_not_there_is_told(writer: Writer, folder: Path, snapshot: str) -> None:
    writer.snapshot({"old": "1"})
    writer.snapshot({"new": "1"})
    with pytest.raises(MediumError, match=r"no snapshot|is neither the number"):
        restored(writer, folder, snapshot)
    assert not folder.exists()


@pytest.mark.parametrize("name", [NAME, f"{NAME}.0000000003.journal", f"{NAME}.0000000003.journal.unlinked"])
def test_folder_with_data_is_left_alone(writer: Writer, folder: Path, name: str) -> None:
    folder.mkdir()
    (folder / name).write_bytes(b"something")
    with pytest.raises(MediumError, match=f"has data already \\({name}\\)"):
        restored(writer, folder)
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_bytes() == b"something"


def test_folder_that_is_empty_or_has_other_things_is_used(writer: Writer, folder: Path) -> None:
    folder.mkdir()
    (folder / "lost+found").mkdir()
    (folder / f"{NAME}.owner").write_text("ab" * 16)
    assert restored(writer, folder)[0]
    assert data_in(folder) == {"a": "1"}
    assert (folder / f"{NAME}.owner").exists()


def test_folder_of_a_server_is_refused(writer: Writer, folder: Path) -> None:
    with kvserver.KVStore(kvserver.ServerFolder(str(folder))), pytest.raises(MediumLocked, match="in use by another"):
        restored(writer, folder)


def lose(writer: Writer, name: str) -> None:
    del writer.vault.objects[name]


def shorten(writer: Writer, name: str) -> None:
    writer.vault.objects[name] = writer.vault.objects[name][:-1]


def lengthen(writer: Writer, name: str) -> None:
    writer.vault.objects[name] += b" "


def change(writer: Writer, name: str) -> None:
    writer.vault.objects[name] = writer.vault.objects[name].replace(b"1", b"2")


@pytest.mark.parametrize("damage", [lose, shorten, lengthen, change], ids=lambda each: each.__name__)
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "empty"])
def test_damaged_snapshot_leaves_nothing_behind(
    writer: Writer, folder: Path, damage: Callable[[Writer, str], None], is_new: bool
) -> None:
    damage(writer, writer.snapshot({"a": "1"}).name)
    if not is_new:
        folder.mkdir()
    with pytest.raises(MediumError, match=r"snapshot-1"):
        restored(writer, folder)
    assert folder.exists() != is_new
    assert is_new or not list(folder.iterdir())


def test_broken_log_is_restored_up_to_there_and_told(writer: Writer, folder: Path) -> None:
    writer.append(b"garbage" * 20)
    is_whole, lines = restored(writer, folder)
    assert not is_whole
    assert lines[-1].startswith("DAMAGED: the log behind the entry 2, which is the last that was restored: ")
    assert data_in(folder) == {"a": "1"}


def test_engine_that_goes_on_meanwhile_is_read_anew(writer: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.snapshot({"a": "1"})
    read, calls = writer.log.read, itertools.count()

    def read_while_others_write(*arguments: Any) -> Any:
        if next(calls) == 0:
            writer.write("SET b 2")
            writer.snapshot({"a": "1", "b": "2"}, trims=True)
            raise Trimmed("the entry 3 is not there any more")
        return read(*arguments)

    monkeypatch.setattr(writer.log, "read", read_while_others_write)
    lines: list[str] = []
    assert restore_stored(writer.stored, str(folder), NAME, "", lines.append)
    assert data_in(folder) == {"a": "1", "b": "2"}


@pytest.fixture
def cut_off(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, bool], None]:
    """Begin to restore, and end amid the snapshot: by Ctrl-C, or killed, so that nothing is cleaned up any more."""

    def cut_off(folder: Path, is_killed: bool) -> None:
        writer.snapshot({"a": "x" * 1000})

        def interrupt(name: str, offset: int, length: int) -> bytes:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(writer.vault, "read", interrupt)
            if is_killed:
                patch.setattr("kvserver.cli.restore._remove_data", lambda path: None)
            with pytest.raises(KeyboardInterrupt):
                restored(writer, folder)

    return cut_off


@pytest.mark.parametrize("has_log", [True, False], ids=["log", "snapshots alone"])
def test_interrupt_leaves_nothing_behind(
    writer: Writer, folder: Path, cut_off: Callable[[Path, bool], None], has_log: bool
) -> None:
    writer.stored = writer.stored if has_log else writer.stored._replace(log=None)
    cut_off(folder, False)
    assert not folder.exists()


@pytest.mark.parametrize("has_log", [True, False], ids=["log", "snapshots alone"])
def test_no_server_starts_on_what_a_killed_restore_left(
    writer: Writer, folder: Path, cut_off: Callable[[Path, bool], None], has_log: bool
) -> None:
    writer.stored = writer.stored if has_log else writer.stored._replace(log=None)
    cut_off(folder, True)
    with pytest.raises(MediumError, match=r"dump\.kvs\.restoring is what a `kvserver restore` has left that did not end"):
        data_in(folder)
    assert restored(writer, folder)[0]
    assert data_in(folder) == {"a": "x" * 1000}


def test_data_that_came_beside_what_a_killed_restore_left_is_left_alone(
    writer: Writer, folder: Path, cut_off: Callable[[Path, bool], None]
) -> None:
    cut_off(folder, True)
    (folder / NAME).write_bytes(b"something")
    with pytest.raises(MediumError, match="has data already"):
        restored(writer, folder)
    assert (folder / NAME).read_bytes() == b"something"


def test_nothing_there_is_an_error(folder: Path) -> None:
    with pytest.raises(MediumError, match=r"^there is nothing at memory://data$"):
        restored(Writer(), folder)
    with pytest.raises(MediumError, match=r"^there are no snapshots at memory://data$"):
        restore_stored(Writer().stored._replace(log=None), str(folder), NAME, "", lambda line: None)
    assert not folder.exists()
