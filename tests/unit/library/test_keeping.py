"""The place of a store's data is what the caller has named, or the caller is told how to name it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kvserver import FileMedium, KVStore, MediumError, MediumLocked, MemoryMedium, ServerFolder
from kvserver.library.keeping import InMemory, OwnFrames, open_place


@pytest.mark.parametrize("as_path", [str, Path])
def test_path_is_that_of_a_servers_folder_made_where_there_is_none(tmp_path: Path, as_path: type) -> None:
    for number in range(2):
        with KVStore(as_path(tmp_path / "new" / "data")) as store:
            assert store.get("n", 0) == number
            store.incr("n")
    assert [path.name for path in (tmp_path / "new" / "data").iterdir()] == ["dump.kvs"]
    with ServerFolder(tmp_path / "new" / "data") as folder:
        assert KVStore(folder)["n"] == 2


def test_path_of_a_file_is_refused_by_a_line_that_names_file_medium(tmp_path: Path) -> None:
    path = tmp_path / "users.kvs"
    path.write_bytes(b"precious")
    with pytest.raises(MediumError, match=r"is a file.*KVStore\(FileMedium\('.*users\.kvs'\)\)") as caught:
        KVStore(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"precious"
    assert [found.name for found in tmp_path.iterdir()] == ["users.kvs"]


@pytest.mark.parametrize("place", [1, b"folder", object(), ["folder"], {}])
def test_what_is_no_place_is_refused(place: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(place).__name__}"):
        KVStore(place)


def test_medium_keeps_frames_and_none_keeps_memory(tmp_path: Path) -> None:
    assert isinstance(open_place(MemoryMedium()), OwnFrames)
    assert isinstance(open_place(None), InMemory)
    with ServerFolder(tmp_path) as folder:
        assert open_place(folder) is folder


def test_store_in_memory_goes_back_to_its_last_frame() -> None:
    with KVStore() as store:
        assert store.restore() is False
        store.set("a", b"\xff", ttl=60)
        assert store.shutdown() is True
        store["a"] = 1
        assert store.restore() is True
        assert store["a"] == b"\xff"
        assert store.ttl("a")
        store.clear()
        store.shutdown()
        assert store.restore() is True
        assert len(store) == 0


def test_store_that_another_process_holds_says_so(tmp_path: Path) -> None:
    ask = (
        "import sys, kvserver\n"
        "try: kvserver.KVStore(kvserver.FileMedium(sys.argv[1]) if sys.argv[1].endswith('kvs') else sys.argv[1])\n"
        "except kvserver.MediumLocked as locked: print(locked)"
    )
    for place, opened in ((tmp_path / "data", KVStore), (tmp_path / "users.kvs", lambda path: KVStore(FileMedium(path)))):
        with opened(place):
            done = subprocess.run([sys.executable, "-c", ask, str(place)], capture_output=True, text=True, check=True)
            assert f"{place} is in use by another" in done.stdout
            assert done.stdout.count("\n") == 1
            with pytest.raises(MediumLocked, match="in use") as caught:
                opened(place)
            if sys.platform == "linux":
                assert f" (process {os.getpid()})" in done.stdout
                assert " (this process)" in str(caught.value)
            if place.name == "data":
                assert f"KVStore({str(place)!r}, read_only=True) reads what is there" in str(caught.value)
        opened(place).close()
