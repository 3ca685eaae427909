"""The place where long work runs: here for a program that may wait, or beside a busy server in slices.

`Here` is the first kind of Workplace, `slices.BesideLoop` the second. `drive` takes a generator that asks for bytes of a
medium (`formats/scan`, `formats/record`) through its steps at such a place. Beside a server, reading and hashing happen on
the disk's thread, one read ahead of the step that asks for it. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from kvserver.formats.scan import Hasher, Read

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Pace(Protocol):
    """The time for which work goes on before others have their turn."""

    @property
    def is_over(self) -> bool:
        """True if it is time to `await next()`."""

    async def next(self) -> None:
        """Let others have their turn."""

    async def run(self, steps: Iterable[T]) -> list[T]:
        """Run steps to their end. Return what they gave, without the Nones."""


class Workplace(Protocol):
    """A place where long work is done."""

    def run(self, call: Callable[[], T]) -> Awaitable[T]:
        """Start a blocking call, behind the calls that were started before. The caller awaits the result."""

    def pace(self) -> Pace:
        """The pace of work that begins now."""


class Here:
    """A Workplace in the caller's thread: each call is done when it was started, and nobody else wants a turn."""

    def run(self, call: Callable[[], T]) -> Awaitable[T]:
        return _Done(call())

    def pace(self) -> Pace:
        return _Unhurried()


class _Unhurried:
    is_over = False

    async def next(self) -> None:
        """Nobody else is there."""

    async def run(self, steps: Iterable[T]) -> list[T]:
        return [given for given in steps if given is not None]


class _Done(Generic[T_co]):
    """The result of a call, for one who awaits it."""

    def __init__(self, value: T_co) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, T_co]:
        return self._value
        yield


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Do work whose Workplace is Here to its end; return and raise what the work does. RuntimeError if it has to wait."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise RuntimeError("this work waits for an event loop")


class Readable(Protocol):
    """The part of a medium that `drive` needs."""

    def read(self, offset: int, length: int) -> bytes: ...


def _tell_nobody(offset: int) -> None: ...


async def drive(
    steps: Generator[Read | None, bytes, T],
    medium: Readable,
    workplace: Workplace,
    report: Callable[[int], None] = _tell_nobody,
) -> T:
    """Run the generator to its end and return its result. `report` is told the offset (bytes) up to which it has read."""
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
        if ahead:
            # Nobody asks for this read any more, but it uses the medium until it is done.
            with suppress(OSError):
                await ahead[2]


def _read(medium: Readable, offset: int, length: int, hasher: Hasher | None) -> bytes:
    data = medium.read(offset, length)
    if hasher:
        hasher.update(data)
    return data
