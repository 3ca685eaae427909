"""Processes in virtual time: code that waits, as it stands, without threads and without a second of real time.

Each task is a greenlet, and time moves when all of them wait. Tasks belong to processes, which can be stopped for a while (as
by SIGSTOP, or on a machine that is busy), and killed: what a process has sent to others goes on all the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet


class Process:
    """What is stopped and killed as one."""

    def __init__(self) -> None:
        self.stopped_until = 0.0
        self.is_dead = False
        self.tasks: set[greenlet] = set()

    def stop(self, until: float) -> None:
        self.stopped_until = max(self.stopped_until, until)

    def kill(self) -> None:
        """End all tasks where they stand. A task does not kill its own process."""
        self.is_dead = True
        for task in list(self.tasks):
            task.throw()
        self.tasks.clear()


class Hub:
    """The clock, and the order of all that happens."""

    def __init__(self) -> None:
        self.now = 0.0
        self.failure: BaseException | None = None
        self._count = 0
        self._events: list[tuple[float, int, Process | None, Callable[..., Any], tuple[Any, ...]]] = []
        self._main = getcurrent()

    def at(self, time: float, call: Callable[..., Any], *arguments: Any, process: Process | None = None) -> None:
        """Call at this time; later, if the process is stopped then, and not at all if it is dead. The call must not wait."""
        self._count += 1
        heapq.heappush(self._events, (time, self._count, process, call, arguments))

    def spawn(self, process: Process, call: Callable[[], object]) -> None:
        """Begin a task of a process."""

        def run() -> None:
            try:
                call()
            except Exception as error:
                self.failure = self.failure or error
            finally:
                process.tasks.discard(task)

        task = greenlet(run, self._main)
        process.tasks.add(task)
        self.at(self.now, task.switch, process=process)

    def sleep(self, seconds: float, process: Process) -> None:
        """Wait, in a task of this process."""
        self.at(self.now + seconds, getcurrent().switch, process=process)
        self._main.switch()

    def wait(self) -> Any:
        """Wait, in a task, until somebody switches to it. Returns what is handed over."""
        return self._main.switch()

    def run(self, until: float) -> None:
        """Let everything happen up to this time. What a task raised is raised here."""
        events = self._events
        while events and events[0][0] <= until:
            time, _, process, call, arguments = heapq.heappop(events)
            self.now = max(self.now, time)
            if process is not None:
                if process.is_dead:
                    continue
                if process.stopped_until > self.now:
                    self.at(process.stopped_until, call, *arguments, process=process)
                    continue
            call(*arguments)
            if self.failure:
                raise self.failure
        self.now = until
