"""Long work beside a busy event loop, divided into slices, one per iteration of the loop.

This module knows nothing of the work but that it comes in steps. A step that is long by itself is not divided.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from kvserver.persistence.disk import Disk
from kvserver.state.statistics import Counters, PersistenceFacts

T = TypeVar("T")

SLICE_S: Final = 0.00005
# The longest slice, where no command has come for a while: the first one then waits no longer.
IDLE_SLICE_S: Final = 0.001
# A slice may last for this share of the time since the last command came: a wait that is short beside the time between two.
IDLE_SHARE: Final = 0.1


class Slices:
    """The Pace of work beside an event loop: short slices while commands come in, longer ones else.

    While the server loads they are long, too: a command that comes then is told so, and waits for nothing else.
    """

    def __init__(self, counters: Counters, facts: PersistenceFacts) -> None:
        self._counters = counters
        self._facts = facts
        self._commands = counters.commands_processed
        self._idle_since = time.perf_counter()
        self._ends_at = 0.0
        self._begin()

    @property
    def is_over(self) -> bool:
        """True if it is time to `await next()`."""
        return time.perf_counter() >= self._ends_at

    async def next(self) -> None:
        """Let the event loop go round once."""
        await asyncio.sleep(0)
        self._begin()

    def _begin(self) -> None:
        now = time.perf_counter()
        before, self._commands = self._commands, self._counters.commands_processed
        if self._commands != before:
            self._idle_since = now
        idle_s = now - self._idle_since
        self._ends_at = now + (IDLE_SLICE_S if self._facts.loading else min(max(SLICE_S, idle_s * IDLE_SHARE), IDLE_SLICE_S))

    async def run(self, steps: Iterable[T]) -> list[T]:
        """Run steps to their end. Return what they gave, without the Nones."""
        given: list[T] = []
        for step in steps:
            if step is not None:
                given.append(step)
            if self.is_over:
                await self.next()
        return given


class BesideLoop:
    """The Workplace of a server: blocking calls on a disk's thread, steps in slices."""

    def __init__(self, disk: Disk, counters: Counters, facts: PersistenceFacts) -> None:
        self._disk = disk
        self._counters = counters
        self._facts = facts

    def run(self, call: Callable[[], T]) -> Awaitable[T]:
        return self._disk.run(call)

    def pace(self) -> Slices:
        return Slices(self._counters, self._facts)
