"""A library under test in a process of its own, with a store in a folder that is thrown away.

Owns the process, both ends of it: the parent sends one request a line, and the child (`python -m bench.library_process NAME
FOLDER`) does it and answers with a line of JSON. A child's memory holds nothing but its store. The child measures its own
calls, so that no pipe is in the figures; it makes keys and values before the clock starts.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.failure import BenchFailed
from bench.libraries import LIBRARIES, Library, Store
from bench.procfs import ProcessFiles

CALLS = ("get", "set", "incr", "memoize hit", "iteration")
MEMOIZED = 1000
TEXT_BYTES = 100


class LibraryFailed(BenchFailed):
    """A library's process has failed; the message has its last words."""


class LibraryProcess:
    """A store of a library with so many keys, while a `with` statement runs."""

    def __init__(self, library: Library, keys: int, value: str, parent: Path | None = None) -> None:
        self.library = library
        self._keys = keys
        self._value = value
        self._parent = parent
        # The seconds that the filling took.
        self.fill_s = 0.0

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-", dir=self._parent)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.library_process", self.library.name, self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self._ask("ready")
            self.empty_bytes = ProcessFiles(self._process.pid).rss_bytes()
            self.fill_s = self._ask("fill", self._keys, self._value)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def seconds_per_call(self, call: str, threads: int, calls: int) -> float:
        """The time of so many calls of all threads together, divided by their number."""
        return self._ask("time", call, threads, calls)

    def bytes_per_key(self) -> float:
        return (ProcessFiles(self._process.pid).rss_bytes() - self.empty_bytes) / self._keys

    def file_bytes(self) -> int:
        """The size of the files, when the store has let go of them: what it does at its end is done."""
        self._ask("close")
        return sum(path.stat().st_size for path in Path(self._folder.name).rglob("*") if path.is_file())

    def _ask(self, *words: Any) -> float:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        try:
            stdin.write(json.dumps(words) + "\n")
            stdin.flush()
            answer = stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            lines = self._process.communicate()[1].strip().splitlines()
            raise LibraryFailed(f"{self.library} ended at {words[0]}: {lines[-1] if lines else 'it said nothing'}")
        return float(json.loads(answer))


# --- The child ---


def key_of(number: int) -> str:
    return f"key:{number:012d}"


def document(number: int) -> dict[str, Any]:
    return {"id": number, "name": f"user {number}", "active": True, "score": number / 8, "tags": ["a", "b"]}


def text(number: int) -> str:
    return (f"{number}:" + "abcdefghijklmnopqrstuvwxyz0123456789" * 3)[:TEXT_BYTES]


VALUES: dict[str, Callable[[int], Any]] = {"document": document, "text": text}


class Child:
    """The child's side: the store of a library, and what it is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._random = random.Random(16)
        self._keys = 0
        self._make: Callable[[int], Any] = document

    def ready(self) -> float:
        return 0.0

    def fill(self, keys: int, value: str) -> float:
        self._keys, self._make = keys, VALUES[value]
        started_at = time.perf_counter()
        self._store.fill((key_of(number), self._make(number)) for number in range(keys))
        return time.perf_counter() - started_at

    def close(self) -> float:
        self._store.close()
        return 0.0

    def time(self, call: str, threads: int, calls: int) -> float:
        """The seconds a call. The first call of each thread comes before: some libraries connect by it."""
        if call == "iteration":
            calls = self._keys * threads
        works = [self._work(call, calls // threads) for _ in range(threads)]
        barrier = threading.Barrier(threads)
        # The times when each thread began and ended its calls.
        times: list[tuple[float, float]] = []
        failures: list[BaseException] = []

        def run(warm_up: Callable[[], object], work: Callable[[], None]) -> None:
            try:
                warm_up()
                barrier.wait()
                started_at = time.perf_counter()
                work()
                times.append((started_at, time.perf_counter()))
            except BaseException as error:
                failures.append(error)
                barrier.abort()
                raise

        started = [threading.Thread(target=run, args=work) for work in works]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        if failures:
            raise failures[0]
        elapsed_s = max(end for _, end in times) - min(begin for begin, _ in times)
        return elapsed_s / (calls // threads * threads)

    def _work(self, call: str, calls: int) -> tuple[Callable[[], object], Callable[[], None]]:
        """A first call, and so many calls, with all that they need made before."""
        store = self._store
        numbers = [self._random.randrange(self._keys) for _ in range(calls)]
        keys = [key_of(number) for number in numbers]

        def get() -> None:
            get = store.get
            for key in keys:
                get(key)

        def set_() -> None:
            set_ = store.set
            for key, value in pairs:
                set_(key, value)

        def incr() -> None:
            incr = store.incr
            for key in counters:
                incr(key)

        def memoize_hit() -> None:
            for number in arguments:
                memoized(number)

        def iterate() -> None:
            count = sum(1 for _ in store)
            if count < self._keys:
                raise ValueError(f"the iteration gave {count} of {self._keys} keys")

        match call:
            case "get":
                return lambda: store.get(key_of(0)), get
            case "set":
                pairs = [(key, self._make(number + 1)) for key, number in zip(keys, numbers, strict=True)]
                return lambda: store.set(key_of(0), self._make(0)), set_
            case "incr":
                counters = [f"counter:{number % 1000}" for number in numbers]
                return lambda: store.incr("counter:0"), incr
            case "memoize hit":
                memoized = store.memoized(self._make)
                arguments = [number % MEMOIZED for number in numbers]
                return lambda: [memoized(number) for number in range(MEMOIZED)], memoize_hit
            case "iteration":
                return lambda: store.get(key_of(0)), iterate
        raise ValueError(f"no call is named {call}")


def main(name: str, folder: str) -> None:
    library = next(each for each in LIBRARIES if each.name == name)
    child = Child(library.open(folder))
    for line in sys.stdin:
        what, *rest = json.loads(line)
        print(json.dumps(getattr(child, what)(*rest)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
