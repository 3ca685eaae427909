"""A process that was forked off waits for no thread that it lacks, and writes nothing to what its parent keeps."""

from __future__ import annotations

import gc
import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kvserver
from kvserver import Cache, FileMedium, KVStore, MediumError, MediumLocked, MemoryMedium, ServerFolder
from kvserver.library import forks
from kvserver.library.forks import mind_forks, of_other_process
from kvserver.library.own_cache import own_cache

# Nothing in the child takes nearly as long: whoever is still there then hangs.
HANG_S = 20


def in_child(work: Callable[[], object]) -> None:
    """Run this in a process that is forked off. AssertionError if it raises there, or hangs."""
    child = os.fork()
    if not child:
        signal.alarm(HANG_S)
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Elsewhere:
    """A thread that is in the midst of something until the block ends."""

    def __init__(self, work: Callable[[Callable[[], None]], object]) -> None:
        self._is_amid, self._may_end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=work, args=[self._wait])

    def _wait(self) -> None:
        self._is_amid.set()
        self._may_end.wait()

    def __enter__(self) -> None:
        self._thread.start()
        self._is_amid.wait()

    def __exit__(self, *exception: object) -> None:
        self._may_end.set()
        self._thread.join()


def test_each_that_is_there_is_told_in_the_child_alone() -> None:
    class Told:
        process = 0

        def after_fork(self) -> None:
            self.process = os.getpid()

    told = Told()
    mind_forks(told)
    number = len(forks._present)
    gone = Told()
    mind_forks(gone)
    del gone
    gc.collect()
    assert len(forks._present) == number

    def work() -> None:
        assert told.process == os.getpid()

    in_child(work)
    assert told.process == 0


KEPT: tuple[dict[str, Any], ...] = ({}, {"journal": True}, {"journal": True, "fsync": "always"})


# A cache has no medium.
@pytest.mark.parametrize(
    ("make", "options"), [(KVStore, None), *((make, options) for make in (KVStore, Cache) for options in KEPT)], ids=str
)
def test_store_that_is_kept_is_read_in_the_child_and_not_written(
    tmp_path: Path, make: type[KVStore], options: dict[str, Any] | None
) -> None:
    place: Any = FileMedium(tmp_path / "users.kvs") if options is None else tmp_path / "data"
    store = make(place, **(options or {}))
    store["a"] = 1
    parent = os.getpid()

    def work() -> None:
        assert (
            of_other_process(parent)
            == f"the store was opened in process {parent}, from which this one was forked: open one here"
        )
        writes: dict[str, Callable[[], object]] = {
            "set": lambda: store.set("a", 2),
            "update": lambda: store.update(a=2),
            "incr": lambda: store.incr("a"),
            "pop": lambda: store.pop("a"),
            "popitem": store.popitem,
            "delete": lambda: store.delete("a"),
            "clear": store.clear,
            "shutdown": store.shutdown,
            "restore": store.restore,
        }
        for name, write in writes.items():
            with pytest.raises(MediumError) as caught:
                write()
            assert str(caught.value) == of_other_process(parent), name
        assert dict(store) == {"a": 1}
        assert store.frame()
        for _ in range(2):
            store.close()
        with KVStore(tmp_path / "of the child", journal=True) as own:
            own["a"] = 1

    # Its thread holds both locks of the store.
    def hold(wait: Callable[[], None]) -> None:
        with store._flushing, store.lock:
            wait()

    with Elsewhere(hold):
        in_child(work)
    if options is not None:
        with pytest.raises(MediumLocked):
            KVStore(place)
    store["b"] = 2
    store.close()
    with KVStore(FileMedium(place.path) if options is None else place) as again:
        assert options is not None or again.restore()
        assert dict(again) == {"a": 1, "b": 2}


def test_folder_of_the_parent_is_not_written_by_another_store(tmp_path: Path) -> None:
    with ServerFolder(tmp_path) as folder:

        def work() -> None:
            store = KVStore(folder)
            store["a"] = 1
            for write in (store.shutdown, lambda: KVStore(folder, journal=True), folder.apply_aside):
                with pytest.raises(MediumError, match="forked"):
                    write()

        in_child(work)


@pytest.mark.parametrize("place", [None, "medium"])
@pytest.mark.parametrize("steps", [0, 1, 500])
def test_child_has_a_whole_copy_of_what_was_amid_a_flush(place: str | None, steps: int) -> None:
    store = KVStore(MemoryMedium() if place else None)
    store.update({str(number): number for number in range(1000)})

    def flush(wait: Callable[[], None]) -> None:
        with store._flushing, store._frozen(store.databases.cut) as frozen:
            with store.lock:
                store.update({str(number): -number for number in range(0, 1000, 3)})
                for number in range(1, 1000, 3):
                    del store[str(number)]
            fold = frozen.fold()
            for _ in range(steps):
                next(fold)
            wait()
            for _ in fold:
                pass

    def work() -> None:
        expected = {str(number): number if number % 3 else -number for number in range(1000) if number % 3 != 1}
        assert dict(store) == expected
        assert len(store) == len(expected)
        assert store.frame()
        if place is None:
            store["more"] = 1
            assert store.shutdown()
            del store["more"]
            assert store.restore()
            assert dict(store) == {**expected, "more": 1}

    with Elsewhere(flush):
        in_child(work)


def test_store_in_memory_goes_on_in_the_child() -> None:
    store, cache = KVStore(), Cache[int]()
    store["a"] = cache["a"] = 1

    def hold(wait: Callable[[], None]) -> None:
        with store.lock, cache.lock:
            wait()

    def work() -> None:
        for each in (store, cache):
            each["b"] = 2
            assert each.shutdown()
            assert dict(each) == {"a": 1, "b": 2}
            each.close()

    with Elsewhere(hold):
        in_child(work)
    assert dict(store) == dict(cache) == {"a": 1}


def test_memoized_function_computes_anew_in_the_child() -> None:
    parent = os.getpid()
    waits: list[Callable[[], None]] = []

    @kvserver.memoize
    def slow(number: int) -> int:
        if os.getpid() == parent:
            waits[0]()
        return number

    def call(wait: Callable[[], None]) -> None:
        waits.append(wait)
        slow(1)

    def work() -> None:
        assert slow(1) == 1

    with Elsewhere(call):
        in_child(work)


def test_memoized_function_may_fork() -> None:
    @kvserver.memoize
    def forking() -> int:
        return os.fork()

    child = forking()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_common_cache_may_be_asked_for_while_a_thread_makes_it() -> None:
    def hold(wait: Callable[[], None]) -> None:
        with own_cache._lock:
            wait()

    with Elsewhere(hold):
        in_child(own_cache)
