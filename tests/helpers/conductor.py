"""Event loops in virtual time: a conductor turns the one that is due next. Each may run fast or slow, stop, or be dropped."""

from __future__ import annotations

import asyncio
import heapq
import selectors
from asyncio import events
from collections.abc import Callable
from typing import TypeVar

from helpers.linearizability import NEVER

T = TypeVar("T")


class _NoSelector(selectors.DefaultSelector):
    """Whoever waits is told at once that nothing came: the time is the conductor's."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []


class Loop(asyncio.SelectorEventLoop):
    """An event loop that a conductor turns. `rate` is that of its clock."""

    def __init__(self, conductor: Conductor, rate: float) -> None:
        super().__init__(_NoSelector())
        self.conductor = conductor
        self.rate = rate
        self.stopped_until = 0.0

    def time(self) -> float:
        return self.conductor.now * self.rate

    def due(self) -> float:
        """The time of the conductor at which something is to be done here."""
        if self._ready:  # type: ignore[attr-defined]
            due = self.conductor.now
        elif scheduled := self._scheduled:  # type: ignore[attr-defined]
            due = scheduled[0]._when / self.rate
        else:
            return NEVER
        return due if due > self.stopped_until else self.stopped_until

    def turn(self) -> None:
        """Do what is due, once round."""
        events._set_running_loop(self)
        try:
            self._run_once()  # type: ignore[attr-defined]
        finally:
            events._set_running_loop(None)

    def do(self, call: Callable[[], T]) -> T:
        """Call in the loop, from outside."""
        events._set_running_loop(self)
        try:
            return call()
        finally:
            events._set_running_loop(None)


class Conductor:
    """The time, the loops of the nodes, and what happens outside of them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loops: list[Loop] = []
        self.failure: BaseException | None = None
        self._count = 0
        self._events: list[tuple[float, int, Callable[[], object]]] = []

    def at(self, time: float, call: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, call))

    def run(self, until: float) -> None:
        """Let everything happen up to this time, in its order. What failed is raised."""
        while True:
            loop = min(self.loops, key=Loop.due, default=None)
            due = loop.due() if loop else float("inf")
            own = self._events[0][0] if self._events else float("inf")
            if min(due, own) > until:
                self.now = until
                return
            if own <= due:
                self.now = max(self.now, own)
                heapq.heappop(self._events)[2]()
            else:
                assert loop
                self.now = max(self.now, due)
                loop.turn()
            if self.failure:
                raise self.failure
