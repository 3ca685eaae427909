"""The log of one place, opened again and again as by one process after another: for the tests of logs and of recoveries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kvserver.media.medium import Log
from kvserver.media.memory import MemoryLog
from kvserver.media.segments import FileLog

Reopen = Callable[[], Log]


def read(log: Log, name: str) -> bytes:
    contents = log.open(name)
    try:
        return contents.read(0, contents.size())
    finally:
        contents.close()


def found(log: Log) -> dict[int, bytes]:
    return {number: read(log, name) for number, name in log.segments().items()}


def put_aside(log: Log) -> list[tuple[int, bytes]]:
    return [(number, read(log, name)) for number, name in log.asides()]


@contextmanager
def log_of(kind: str, folder: Path) -> Iterator[Reopen]:
    """Opens the log of one place, in `folder` or in memory; whoever opens it again has closed the one before."""
    place = MemoryLog()
    logs: list[Log] = []

    def reopen() -> Log:
        for earlier in logs:
            earlier.close()
        logs.append(place if kind == "memory" else FileLog(str(folder / "dump.kvs")))
        return logs[-1]

    yield reopen
    for log in logs:
        log.close()
