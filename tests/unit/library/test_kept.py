"""What was written is kept when a store is closed, and a flush disturbs nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from kvserver import FileMedium, KVStore, MemoryMedium, ServerFolder
from kvserver.errors import StoreClosed
from kvserver.library.keeping import InMemory, OwnFrames
from kvserver.library.kept import KeptData


class Counting(OwnFrames):
    appended = 0

    def append(self, payload: Iterable[bytes], key_count: int) -> None:
        self.appended += 1
        super().append(payload, key_count)


def test_close_keeps_what_has_changed_since_the_last_frame_and_else_writes_nothing() -> None:
    medium = MemoryMedium()
    changes: list[Callable[[KVStore], object]] = [
        lambda store: store.set("a", 1),
        lambda store: store.add("b", 1),
        lambda store: store.incr("a"),
        lambda store: store.update(c=1),
        lambda store: store.setdefault("d", 1),
        lambda store: store.pop("a"),
        lambda store: store.delete("b"),
        lambda store: store.popitem(),
        lambda store: store.clear(),
    ]
    expected: dict[str, Any] = {}
    for change in changes:
        place = Counting(medium)
        with KVStore(place) as store:
            assert store.restore() is (change is not changes[0])
            assert dict(store) == expected
            change(store)
            expected = dict(store)
        assert place.appended == 1, "what was written is lost"
        store.close()
        assert place.appended == 1
    place = Counting(medium)
    with KVStore(place) as store:
        store.restore()
        assert (store.get("a"), store.pop("a", 1), store.delete("a"), len(store), list(store)) == (None, 1, False, 0, [])
        assert store.expire("a", None) is False
        store.set("a", 1)
        store.shutdown()
    assert place.appended == 1, "a frame too many"


def test_close_lets_go_also_where_the_frame_cannot_be_written(tmp_path: Path) -> None:
    class Full(ServerFolder):
        def append(self, payload: Iterable[bytes], key_count: int) -> None:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"), KVStore(Full(tmp_path)) as store:
        store["a"] = 1
    store.close()
    with KVStore(tmp_path) as store:
        assert dict(store) == {}
        store["a"] = 1
    with KVStore(tmp_path) as store:
        assert dict(store) == {"a": 1}


def test_flush_within_a_flush_of_the_same_thread_is_refused() -> None:
    class Nested(InMemory):
        def append(self, payload: Iterable[bytes], key_count: int) -> None:
            store.shutdown()

    place = Nested()
    store = KVStore(place)
    with pytest.raises(RuntimeError, match="in the midst of a flush"):
        store.shutdown()
    place.append = lambda payload, key_count: None  # type: ignore[method-assign]
    assert store.shutdown() is True


def test_store_is_its_data_kept() -> None:
    assert issubclass(KVStore, KeptData)


@pytest.mark.parametrize("is_folder", [False, True])
def test_closed_store_can_be_read_and_refuses_all_else(tmp_path: Path, is_folder: bool) -> None:
    with KVStore(tmp_path if is_folder else FileMedium(tmp_path / "users.kvs")) as store:
        store["a"] = 1
    assert (store["a"], dict(store), len(store), "b" in store) == (1, {"a": 1}, 1, False)
    writes: list[Callable[[], object]] = [
        *(lambda call=call: call("a") for call in (store.delete, store.pop, store.incr)),
        *(lambda call=call: call("a", 1) for call in (store.set, store.add, store.expire, store.setdefault)),
        *(store.popitem, store.clear, store.shutdown, store.restore),
        lambda: store.update(a=2),
    ]
    for write in writes:
        with pytest.raises(StoreClosed, match="the store is closed"):
            write()
    assert dict(store) == {"a": 1}


@pytest.mark.parametrize("place", ["memory", "file", "folder"])
def test_who_has_waited_for_the_lock_while_the_store_was_closed_is_refused(tmp_path: Path, place: str) -> None:
    store = KVStore(FileMedium(tmp_path / "users.kvs") if place == "file" else tmp_path if place == "folder" else None)
    store["a"] = 1
    writing = store._writing
    store.close()
    # It was about to take the lock, and has it now.
    store._writing = writing
    for write in (lambda: store.set("a", 2), lambda: store.update(a=2), store.popitem, store.clear, lambda: store.incr("a")):
        with pytest.raises(StoreClosed, match="the store is closed"):
            write()
    assert dict(store) == {"a": 1}
