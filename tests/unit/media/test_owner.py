"""The file that says whose backups are a folder's own: made once, and never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvserver.errors import MediumError
from kvserver.media.names import owner_path
from kvserver.media.owner import keep_written, owner_of, written_of


def test_id_is_made_once_and_stays(tmp_path: Path) -> None:
    medium = str(tmp_path / "dump.kvs")
    owner = owner_of(medium)
    assert len(bytes.fromhex(owner)) == 16
    assert owner_of(medium) == owner
    assert [path.name for path in tmp_path.iterdir()] == ["dump.kvs.owner"]
    assert owner_path(medium) == str(tmp_path / "dump.kvs.owner")


def test_each_folder_has_another_one(tmp_path: Path) -> None:
    assert owner_of(str(tmp_path / "a.kvs")) != owner_of(str(tmp_path / "b.kvs"))


def test_what_a_crash_left_midway_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "dump.kvs.owner.new").write_bytes(b"f" * 100)
    assert len(owner_of(str(tmp_path / "dump.kvs"))) == 32
    assert not (tmp_path / "dump.kvs.owner.new").exists()


def test_person_may_put_an_id_there(tmp_path: Path) -> None:
    (tmp_path / "dump.kvs.owner").write_text(f"{'ab' * 16}\n")
    assert owner_of(str(tmp_path / "dump.kvs")) == "ab" * 16


@pytest.mark.parametrize("text", ["", "ab", "AB" * 16, "ab" * 17, "no id at all"])
def test_file_that_has_none_is_told_and_left(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dump.kvs.owner"
    path.write_text(text)
    with pytest.raises(MediumError, match=f"^{path} does not have the 32 hex digits"):
        owner_of(str(tmp_path / "dump.kvs"))
    assert path.read_text() == text


def test_folder_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "dump.kvs.owner").mkdir()
    with pytest.raises(MediumError, match=r"^cannot use .*dump.kvs.owner: "):
        owner_of(str(tmp_path / "dump.kvs"))


def test_counter_is_kept_beside_the_id(tmp_path: Path) -> None:
    medium = str(tmp_path / "dump.kvs")
    owner = owner_of(medium)
    assert written_of(medium) == 0
    keep_written(medium, 7)
    assert (owner_of(medium), written_of(medium)) == (owner, 7)
    (tmp_path / "dump.kvs.owner").write_text(f"{owner}\n")
    assert written_of(medium) is None
