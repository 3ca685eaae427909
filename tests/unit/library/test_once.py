"""A signal handler that comes amid a step of a store is told, and changes nothing; it never waits for the thread it is in."""

from __future__ import annotations

import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.disks import Disk
from kvserver import KVStore, ServerFolder
from kvserver.library.journal import Journal
from kvserver.library.once import Once

AMID = "a signal handler .* has interrupted a call"


def test_thread_has_it_once_at_a_time() -> None:
    lock = threading.RLock()
    once = Once(lock)
    with lock, once:
        with pytest.raises(RuntimeError, match=AMID), once:
            pytest.fail("nobody comes here")
        with pytest.raises(RuntimeError, match=AMID):
            once.refuse_if_amid()
        other = threading.Thread(target=once.refuse_if_amid)
        other.start()
        other.join()
    once.refuse_if_amid()
    with once:
        pass
    taken: list[bool] = []
    other = threading.Thread(target=lambda: taken.append(lock.acquire(blocking=False)))
    other.start()
    other.join()
    assert taken == [True]


class Interrupted(Disk):
    """A disk at whose next call of a method a signal handler runs, in the thread that calls."""

    def __init__(self) -> None:
        super().__init__()
        self.handler: Callable[[], None] = lambda: None
        self.method = ""

    def _interrupt(self, method: str) -> None:
        if method == self.method:
            self.method = ""
            self.handler()

    def append_now(self, descriptor: int, data: bytes | memoryview) -> int:
        self._interrupt("append")
        return super().append_now(descriptor, data)

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        self._interrupt("write")
        return super().write(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._interrupt("sync")
        super().sync(descriptor)


CALLS: dict[str, Callable[[KVStore], object]] = {
    "set": lambda store: store.set("a", -1),
    "incr": lambda store: store.incr("n"),
    "update": lambda store: store.update(a=-1),
    "clear": lambda store: store.clear(),
    "shutdown": lambda store: store.shutdown(),
    "restore": lambda store: store.restore(),
    "close": lambda store: store.close(),
}


def kept_in(folder: Path) -> dict[str, Any]:
    with KVStore(folder, read_only=True) as store:
        return dict(store)


@pytest.mark.parametrize("method", ["append", "sync"])
@pytest.mark.parametrize("name", CALLS)
def test_handler_is_told_and_may_go_on(tmp_path: Path, method: str, name: str) -> None:
    disk = Interrupted()
    told: list[str] = []

    def handle() -> None:
        try:
            CALLS[name](store)
        except RuntimeError as error:
            told.append(str(error))

    with KVStore(ServerFolder(tmp_path, filesystem=disk), journal=True, fsync="always") as store:
        store["a"] = 1
        disk.handler, disk.method = handle, method
        store["a"] = 2
        assert len(told) == 1
        assert "a signal handler" in told[0]
        assert dict(store) == kept_in(tmp_path) == {"a": 2}
        store["b"] = 3
        assert dict(store) == kept_in(tmp_path) == {"a": 2, "b": 3}


def test_handler_that_does_not_catch_it_lets_the_call_fail_and_a_frame_heals(tmp_path: Path) -> None:
    disk = Interrupted()
    with KVStore(ServerFolder(tmp_path, filesystem=disk), journal=True, fsync="always") as store:
        store["a"] = 1
        disk.handler, disk.method = (lambda: store.set("a", -1)), "append"
        with pytest.raises(RuntimeError, match=AMID):
            store["a"] = 2
        assert dict(store) == {"a": 1}
        assert store.shutdown()
        store["a"] = 3
        assert dict(store) == kept_in(tmp_path) == {"a": 3}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_exception_between_a_record_and_its_change_is_a_failure_of_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    with KVStore(tmp_path, journal=True) as store:
        store["a"] = 1
        assert isinstance(store._journal, Journal)
        write = store._journal.write

        def interrupted(commands: Any) -> None:
            write(commands)
            raise kind

        with monkeypatch.context() as patch:
            patch.setattr(store._journal, "write", interrupted)
            with pytest.raises(kind):
                store["a"] = 2
        with pytest.raises(OSError, match=f"interrupted by {kind.__name__}"):
            store["b"] = 1
        assert dict(store) == {"a": 1}
    with KVStore(tmp_path) as again:
        assert dict(again) == {"a": 1}


@pytest.mark.parametrize("name", ["shutdown", "restore", "close"])
def test_handler_amid_a_flush_does_not_begin_another(tmp_path: Path, name: str) -> None:
    disk = Interrupted()
    told: list[str] = []

    def handle() -> None:
        try:
            CALLS[name](store)
        except RuntimeError as error:
            told.append(str(error))
        store["late"] = True

    with KVStore(ServerFolder(tmp_path, filesystem=disk), journal=True) as store:
        store["a"] = 1
        disk.handler, disk.method = handle, "write"
        assert store.shutdown()
        assert told == ["this thread is in the midst of a flush of this store"]
        assert dict(store) == kept_in(tmp_path) == {"a": 1, "late": True}


@contextmanager
def signals(handle: Callable[[], None]) -> Iterator[None]:
    """Signals with this handler, one after another, until the block ends."""
    has_ended, main = threading.Event(), threading.main_thread().ident

    def send() -> None:
        while not has_ended.wait(0.0003):
            signal.pthread_kill(main or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda number, frame: handle())
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        has_ended.set()
        sender.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_memory_and_journal_agree_whenever_signals_come(tmp_path: Path, fsync: Any) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    outcomes = {"written": 0, "refused": 0}

    def handle() -> None:
        try:
            store["a"] = -sum(outcomes.values())
        except RuntimeError:
            outcomes["refused"] += 1
        else:
            outcomes["written"] += 1

    folder, copy = tmp_path / "data", tmp_path / "copy"
    with KVStore(folder, journal=True, fsync=fsync) as store:
        ends_at = time.monotonic() + 60
        with signals(handle):
            while min(outcomes.values()) < 20 and time.monotonic() < ends_at:
                for number in range(chance.randrange(1, 200)):
                    store["a"] = number
                # No handler runs while both are looked at.
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(folder, copy)
                assert kept_in(copy) == dict(store)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        # It depends on the machine how many come where: all were right.
        assert sum(outcomes.values()), "no signal has come"
