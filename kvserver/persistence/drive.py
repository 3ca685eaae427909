"""Drives a generator that asks for bytes of a medium (`scan`, `record`), at a workplace.

Beside a busy server its steps run in slices, and reading and hashing happen on the disk's thread, one read ahead of the step
that asks for it. Knows nothing of what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from kvserver.formats.scan import Hasher, Read
from kvserver.persistence.workplace import Workplace

T = TypeVar("T")


class Readable(Protocol):
    """What is needed of a medium."""

    def read(self, offset: int, length: int) -> bytes: ...


def _tell_nobody(offset: int) -> None: ...


async def drive(
    steps: Generator[Read | None, bytes, T],
    medium: Readable,
    workplace: Workplace,
    report: Callable[[int], None] = _tell_nobody,
) -> T:
    """Run the generator to its end and return its result. `report` is told up to which offset it has read (bytes)."""
    answer = b""
    pace = workplace.pace()
    ahead: tuple[int, int, Awaitable[bytes]] | None = None
    try:
        request = next(steps)
        while True:
            if request is not None:
                offset, length, hasher, length_ahead = request
                if ahead and ahead[:2] == (offset, length):
                    reading = ahead[2]
                else:
                    reading = workplace.run(partial(_read, medium, offset, length, hasher))
                ahead = None
                if length_ahead:
                    end = offset + length
                    ahead = (end, length_ahead, workplace.run(partial(_read, medium, end, length_ahead, hasher)))
                answer = await reading
                report(offset + length)
            elif pace.is_over:
                await pace.next()
            request = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        if ahead:  # nobody asks for it any more, but the medium is in use until it is done
            with suppress(OSError):
                await ahead[2]


def _read(medium: Readable, offset: int, length: int, hasher: Hasher | None) -> bytes:
    data = medium.read(offset, length)
    if hasher:
        hasher.update(data)
    return data
