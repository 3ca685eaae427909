"""Steps on a disk's thread whose waits are the event loop's: no thread sleeps, and whoever stops the loop's part stops all."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Generic, NamedTuple, TypeVar

from kvserver.persistence.disk import Disk

T = TypeVar("T")


class _Result(NamedTuple, Generic[T]):
    value: T


def _advance(steps: Generator[float, None, T]) -> float | _Result[T]:
    """Do a step. Return the seconds to wait, or the result."""
    try:
        return next(steps)
    except StopIteration as stop:
        return _Result(stop.value)


def drive(disk: Disk, steps: Generator[float, None, T]) -> asyncio.Future[T]:
    """Run steps, which say how long to wait before the next one, to their end. The future gives what they return or raise.

    Whoever cancels it is told nothing more, and no further step runs.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def step() -> None:
        if not done.done():
            disk.run(lambda: _advance(steps)).add_done_callback(on_step)

    def on_step(stepped: asyncio.Future[float | _Result[T]]) -> None:
        if done.done() or stepped.cancelled():
            done.cancel()
        elif error := stepped.exception():
            done.set_exception(error)
        elif isinstance(result := stepped.result(), _Result):
            done.set_result(result.value)
        else:
            loop.call_later(result, step)

    step()
    return done
