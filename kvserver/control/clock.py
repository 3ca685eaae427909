"""The clock of a server: the system's time, and the time by which somebody has moved it forward.

Programs and tests move it by `server.clock`, other languages by DEBUG CLOCK. It moves what the server tells and decides by
the time of day; it never moves the timers of the event loop, nor the dates of files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from kvserver.commands.debug import LONGEST_ADVANCE_S
from kvserver.control.onloop import OnLoop

_NS_PER_S: Final = 1_000_000_000


class Clock:
    """The clock of a server. Its methods may be called from any thread.

    >>> import kvserver
    >>> with kvserver.running() as server:
    ...     before = server.clock.now()
    ...     server.clock.advance(3600)
    ...     3600 <= server.clock.now() - before < 3660
    True

    What moves with it: expiries and TTLs, TIME, the IDs of streams, the idle times and frequencies of keys, the ends of
    blocking commands and of CLIENT PAUSE, the idle times of clients, SLOWLOG and LATENCY. What does not: save points,
    LASTSAVE, DEBUG SLEEP, and the time that a script may take.
    """

    def __init__(self, on_loop: OnLoop) -> None:
        self._on_loop = on_loop
        self._ahead_ns = 0
        # The server has what is due happen. It is given the seconds by which the clock went forward.
        self.on_move: Callable[[float], None] = lambda seconds: None

    def now(self) -> float:
        """The server's Unix time in seconds."""
        return (time.time_ns() + self._ahead_ns) / _NS_PER_S

    def advance(self, seconds: float) -> None:
        """Move the clock forward by so many seconds, which may be a fraction.

        When it returns, keys whose time has come are gone for every client, their events are published, and blocked clients
        whose time is up have their replies. ValueError for a negative number, or one above LONGEST_ADVANCE_S: the clock never
        goes back. NotRunning if the server doesn't run.
        """
        if not 0 <= seconds <= LONGEST_ADVANCE_S:
            raise ValueError(f"a clock goes forward by 0 to {LONGEST_ADVANCE_S:.0f} seconds, not by {seconds!r}")
        self._on_loop.run(lambda: self.move(seconds))

    def reset(self) -> None:
        """Tell the system's time again. For a server that was emptied: keys that are there would live longer again."""
        self._on_loop.run(lambda: self.move(None))

    def move(self, seconds: float | None) -> None:
        """Move forward by so many seconds, or to the system's time if they are None. For the event loop's thread alone."""
        self._ahead_ns = 0 if seconds is None else self._ahead_ns + round(seconds * _NS_PER_S)
        self.on_move(seconds or 0)

    # What the server's parts read

    def now_ms(self) -> int:
        """The server's Unix time in milliseconds."""
        return (time.time_ns() + self._ahead_ns) // 1_000_000

    def now_us(self) -> int:
        """The server's Unix time in microseconds."""
        return (time.time_ns() + self._ahead_ns) // 1_000
