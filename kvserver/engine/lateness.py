"""Replies that leave later than they could, as over a slow network: a fault that somebody has ordered, and never there else.

Knows nothing of what leaves: it is given steps in the order in which they would leave now, and lets them go in that order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Steps = TypeVar("Steps")


class Lateness(Generic[Steps]):
    """Passes steps on to `let_go`, each when `delay_s` has passed since they came."""

    def __init__(self, let_go: Callable[[Steps], None]) -> None:
        self.delay_s = 0.0
        self._let_go = let_go
        self._loop = asyncio.get_running_loop()
        # With the times at which they leave, by the event loop's clock. None leaves before one that came earlier.
        self._late: deque[tuple[float, Steps]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def take(self, steps: Steps) -> None:
        """Let these steps leave later."""
        leaves_at_s = self._loop.time() + self.delay_s
        if self._late:
            leaves_at_s = max(leaves_at_s, self._late[-1][0])
        self._late.append((leaves_at_s, steps))
        if not self._timer:
            self._timer = self._loop.call_at(leaves_at_s, self._let_due_go)

    def _let_due_go(self) -> None:
        self._timer = None
        # The timer may be early by a rounding.
        now_s = max(self._loop.time(), self._late[0][0]) if self._late else 0.0
        while self._late and self._late[0][0] <= now_s:
            self._let_go(self._late.popleft()[1])
        if self._late:
            self._timer = self._loop.call_at(self._late[0][0], self._let_due_go)

    def end(self) -> None:
        """Let all leave now."""
        self.delay_s = 0.0
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._late:
            self._let_go(self._late.popleft()[1])
