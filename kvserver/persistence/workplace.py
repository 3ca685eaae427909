"""Where long work is done, its blocking calls and its steps: beside an event loop that goes on (`slices`), or here, at once.

What is written for a Workplace serves the server and the library alike: it awaits each call and each pause, and where there
is no event loop, nothing has to be waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Pace(Protocol):
    """How long work goes on before others have their turn."""

    @property
    def is_over(self) -> bool:
        """Whether it is time to `await next()`."""

    async def next(self) -> None:
        """Let others have their turn."""

    async def run(self, steps: Iterable[T]) -> list[T]:
        """Run steps to their end. What they gave, without the Nones."""


class Workplace(Protocol):
    """Where long work is done."""

    def run(self, call: Callable[[], T]) -> Awaitable[T]:
        """Start a blocking call, behind those that were started before; to be awaited."""

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
    """What a call gave, to be awaited."""

    def __init__(self, value: T_co) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, T_co]:
        return self._value
        yield


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Do work whose Workplace is Here to its end. What it returns; raises what it raises."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise RuntimeError("this work waits for an event loop")
