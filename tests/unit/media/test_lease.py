"""The lease of a folder: one has it, until it is let go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kvserver.errors import MediumError, MediumLocked
from kvserver.media.lease import FolderLease


def test_folder_is_made_private_and_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two"
    lease = FolderLease(path)
    assert os.stat(path).st_mode & 0o777 == 0o700
    with pytest.raises(MediumLocked, match=f"the directory {path} is in use by another kvserver"):
        FolderLease(path)
    lease.release()
    lease.release()
    FolderLease(path).release()


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MediumError, match=f"cannot use the directory {tmp_path / 'file'}: Not a directory"):
        FolderLease(tmp_path / "file")


def test_lease_that_was_forgotten_is_let_go_with_a_warning(tmp_path: Path) -> None:
    lease = FolderLease(tmp_path)
    with pytest.warns(ResourceWarning, match=f"{tmp_path} was not closed"):
        del lease
    FolderLease(tmp_path).release()


def test_lease_is_held_in_the_folder_that_is_at_the_path_now(tmp_path: Path) -> None:
    path = tmp_path / "data"
    lease = FolderLease(path)
    assert lease.hold() is False
    path.rename(tmp_path / "moved")
    with pytest.raises(MediumError, match="cannot lock the folder"):
        lease.hold()
    other = FolderLease(path)
    with pytest.raises(MediumLocked, match="what is there now is in use by another kvserver"):
        lease.hold()
    other.release()
    assert lease.hold() is True
    assert lease.hold() is False
    with pytest.raises(MediumLocked):
        FolderLease(path)
    lease.release()
