"""Event loops in virtual time: a conductor turns the one that is due next. Each may run fast or slow, stop, or be dropped."""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakSet

from helpers.linearizability import NEVER

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RESOLUTION_S = 1e-9


class _Call(asyncio.TimerHandle):
    """A call that is to come. It has no context of its own, which costs more than many a call."""

    __slots__ = ("arguments", "call")

    def __init__(self, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.call, self.arguments = call, arguments

    def cancel(self) -> None:
        self.call, self.arguments = _do_nothing, ()


class Loop(asyncio.BaseEventLoop):
    """An event loop that a conductor turns: without sockets, threads and signals. `rate` is that of its clock."""

    def __init__(self, conductor: Conductor, rate: float) -> None:
        super().__init__()
        self.conductor = conductor
        self.rate = rate
        self.stopped_until = 0.0
        self._calls: deque[_Call] = deque()
        # Of those at the same time, the one that was asked for first comes first.
        self._timers: list[tuple[float, int, _Call]] = []
        self._count = 0
        # asyncio keeps those of all loops together: to look for those of one takes longer with each node that was killed.
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()

    # What code in it calls

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> asyncio.Task[Any]:
        task = super().create_task(coro, name=name, context=context)
        self.tasks.add(task)
        return task

    def time(self) -> float:
        return self.conductor.now * self.rate

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> asyncio.Handle:
        call = _Call(callback, args)
        self._calls.append(call)
        return call

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        call = _Call(callback, args)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, call))
        return call

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args)

    # What its conductor calls

    def due(self) -> float:
        """The time of the conductor at which something is to be done here."""
        if self._calls:
            due = self.conductor.now
        elif self._timers:
            due = self._timers[0][0] / self.rate
        else:
            return NEVER
        return due if due > self.stopped_until else self.stopped_until

    def turn(self) -> None:
        """Do what is due, and all that comes of it without a wait."""
        timers, calls = self._timers, self._calls
        # Divided by the rate and multiplied, a time may have become a little earlier.
        now = self.time() + RESOLUTION_S
        while timers and timers[0][0] <= now:
            calls.append(heapq.heappop(timers)[2])
        events._set_running_loop(self)
        try:
            while calls:
                call = calls.popleft()
                call.call(*call.arguments)
        except Exception as error:
            self.call_exception_handler({"message": "a call of the loop failed", "exception": error})
        finally:
            events._set_running_loop(None)

    def do(self, call: Callable[[], T]) -> T:
        """Call in the loop, from outside."""
        events._set_running_loop(self)
        try:
            return call()
        finally:
            events._set_running_loop(None)


def _do_nothing() -> None:
    """It was cancelled."""


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
            due, next_loop = self._events[0][0] if self._events else NEVER, None
            for loop in self.loops:
                if (due_here := loop.due()) < due:
                    due, next_loop = due_here, loop
            if due > until:
                self.now = until
                return
            self.now = max(self.now, due)
            if next_loop:
                next_loop.turn()
            else:
                heapq.heappop(self._events)[2]()
            if self.failure:
                raise self.failure
