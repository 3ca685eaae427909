"""Threads share a store: each call is one step, and nobody who goes through it is thrown out."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kvserver import KVStore, MemoryMedium
from kvserver.library.keeping import InMemory

SEED = random.SystemRandom().randrange(1 << 32)
PLACES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda path: None,
    "a medium": lambda path: MemoryMedium(),
    "a folder": lambda path: path,
}


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KVStore]:
    with KVStore(PLACES[request.param](tmp_path)) as store:
        yield store


@pytest.fixture(autouse=True)
def eager_threads() -> Iterator[None]:
    """Threads take turns at nearly every step of the interpreter, so that what is no one step shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_together(*works: Callable[[], object]) -> None:
    """Run each in a thread of its own, and raise what one of them raises."""
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "somebody waits for ever"
    if failures:
        raise failures[0]


def test_sums_of_threads_are_all_there(store: KVStore) -> None:
    def count() -> None:
        for _ in range(400):
            store.incr("n")

    run_together(*[count] * 4, *[store.shutdown] * 2)
    assert store["n"] == 1600


def test_key_is_added_once_and_taken_once(store: KVStore) -> None:
    added: list[str] = []
    taken: list[str] = []

    def add(name: str) -> None:
        for number in range(300):
            if store.add(f"key {number}", name):
                added.append(f"key {number}")
            if store.setdefault(f"other {number}", name) == name:
                added.append(f"other {number}")

    def take() -> None:
        for number in range(300):
            if store.pop(f"key {number}", None):
                taken.append(f"key {number}")
        while True:
            try:
                taken.append(store.popitem()[0])
            except KeyError:
                return

    run_together(*(partial(add, name) for name in "abcd"))
    assert len(added) == len(set(added)) == 600
    run_together(take, take, take, store.shutdown)
    assert sorted(taken) == sorted(added)


def test_whoever_goes_through_gets_what_stays_exactly_once_whatever_others_do(store: KVStore) -> None:
    print("seed", SEED)
    staying = {f"stays {number}" for number in range(1_500)}
    store.update(dict.fromkeys(staying, 1))
    has_ended = threading.Event()

    def change(seed: int) -> None:
        rng = random.Random(seed)
        while not has_ended.is_set():
            key = f"{seed} comes and goes {rng.randrange(2_000)}"
            store.set(key, 1)
            store.pop(f"{seed} comes and goes {rng.randrange(2_000)}", None)
            store[rng.choice("abc") + "stays"] = 1

    def flush() -> None:
        while not has_ended.is_set():
            store.shutdown()

    def go_through() -> None:
        try:
            for _ in range(6):
                for found in (list(store), [key for key, _ in store.items()], list(store.keys())):
                    assert len(found) == len(set(found))
                    assert staying <= set(found)
                assert sum(store.values()) >= len(staying)
                assert len(store) >= len(staying)
        finally:
            has_ended.set()

    run_together(lambda: change(SEED), lambda: change(SEED + 1), flush, go_through)


def test_frame_of_a_flush_has_each_step_as_a_whole_or_not_at_all() -> None:
    medium = MemoryMedium()
    store = KVStore(medium)
    has_ended = threading.Event()

    def write() -> None:
        number = 0
        while not has_ended.is_set():
            number += 1
            store.update({f"{name}": number for name in range(50)})

    def flush() -> None:
        try:
            for _ in range(15):
                store.shutdown()
        finally:
            has_ended.set()

    run_together(write, flush)
    last, content = 0, medium.read_all()
    again = KVStore(MemoryMedium(content))
    assert again.restore()
    numbers = set(again.values())
    assert len(numbers) == 1, f"half of an update: {numbers}"
    assert numbers.pop() >= last


def test_others_read_and_write_while_a_frame_is_on_its_way_to_the_disk() -> None:
    class Slow(InMemory):
        def append(self, payload: Iterable[bytes], key_count: int) -> None:
            pieces = []
            for number, piece in enumerate(payload):
                if number % 200 == 0:
                    # Other threads come, and have their turns.
                    run_together(lambda: shared.incr("n"), lambda: shared.get("n"), lambda: list(shared), lambda: len(shared))
                pieces.append(piece)
            super().append(pieces, key_count)

    shared = KVStore(Slow())
    shared.update({f"key {number}": number for number in range(100)}, n=0)
    before = shared.frame()
    shared.shutdown()
    assert shared["n"] > 1
    assert shared.restore()
    assert shared.frame() == before


def test_several_calls_are_one_step_under_the_lock(store: KVStore) -> None:
    store.update(left=0, right=0)

    def move() -> None:
        for _ in range(200):
            with store.lock:
                store["left"] += 1
                store["right"] -= 1

    def look() -> None:
        for _ in range(200):
            with store.lock:
                assert store["left"] == -store["right"]

    run_together(move, move, look)
    assert store["left"] == 400


def test_callers_code_runs_without_the_lock(store: KVStore) -> None:
    """A caller in the midst of an iteration, or one whose mapping is slow, stops nobody."""
    store.update(a=1, b=2)

    def others_go_on() -> None:
        run_together(lambda: store.set("c", 3), store.shutdown)

    for iterator in (iter(store), iter(store.items()), iter(store.values())):
        next(iterator)
        others_go_on()

    class Slow(dict[str, int]):
        def items(self) -> Any:
            others_go_on()
            return super().items()

    store.update(Slow(d=4))
    assert dict(store) == {"a": 1, "b": 2, "c": 3, "d": 4}
