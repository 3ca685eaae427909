"""Faults that a test orders: a disk that fails, a slow network, one that breaks off, the end of the process by kill -9.

While none is ordered, nothing of this is in the way of a command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from kvserver.control.onloop import OnLoop
from kvserver.engine.jobs import Jobs
from kvserver.network.clients import Clients
from kvserver.persistence.snapshots import Snapshots

# The reason that the log and INFO give for a snapshot that fails by order.
REFUSED: Final = "writes are refused by order (faults.refuse_writes)"
LONGEST_DELAY_S: Final = 3600.0

T = TypeVar("T")


class Delay:
    """An order to be late by so many seconds. It equals no other one of the same time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Fault:
    """A fault that has begun. It ends by `end`, or with the block of a `with` statement."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.end = end

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


class Faults:
    """The faults of a server. Its methods may be called from any thread; NotRunning if the server doesn't run.

    >>> import kvserver, redis
    >>> with kvserver.running() as server:
    ...     client = redis.Redis.from_url(server.url)
    ...     with server.faults.refuse_writes():
    ...         try:
    ...             client.set("a", 1)
    ...         except redis.ResponseError as error:
    ...             print(str(error)[:59])
    ...     client.set("a", 1)
    ...     client.close()
    MISCONF Redis is configured to save RDB snapshots, but it's
    True
    """

    def __init__(self, on_loop: OnLoop, crash: Callable[[], None]) -> None:
        self._on_loop = on_loop
        self._crash = crash
        # The orders that have not ended, the newest last: each ends by itself.
        self._refusals: list[object] = []
        self._delays: list[Delay] = []

    def attend(self, clients: Clients, jobs: Jobs, snapshots: Snapshots) -> None:
        """Act on these parts from now on: each start of a server makes new ones."""
        self._clients, self._jobs, self._snapshots = clients, jobs, snapshots
        # What was ordered of the parts before ended with them.
        self._refusals.clear()
        self._delays.clear()

    def refuse_writes(self) -> Fault:
        """Answer every write by -MISCONF, as Redis does when its disk fails, while reads go on. SAVE and its kin fail, too.

        Until the end of the `with` block, or `clear`. Of several orders each counts until its own end.
        """
        return self._order(self._refusals, object())

    def delay(self, seconds: float) -> Fault:
        """Let every reply and every message leave so many seconds later, in their order. Commands run as before.

        The end of the `with` block ends it, and so does `clear`: what is late leaves then. Of several orders the newest
        counts, and behind its end the one before, unless that has ended. ValueError for a negative number, or more than
        an hour.
        """
        if not 0 <= seconds <= LONGEST_DELAY_S:
            raise ValueError(f"replies may be late by 0 to {LONGEST_DELAY_S:.0f} seconds, not by {seconds!r}")
        return self._order(self._delays, Delay(seconds))

    def drop_connections(self) -> None:
        """Break off the connections of all clients at once, by a reset: replies that have not left are lost.

        New connections are taken at once.
        """
        self._on_loop.run(self._clients.reset)

    def crash(self) -> None:
        """End the server as kill -9 does: nothing is saved, nothing more is written, and all connections are reset.

        What was acknowledged is kept as far as `appendonly` and `appendfsync` say, in a folder as in memory. In memory
        `appendonly` is off unless it is given: `kvserver.running(appendonly=True)`, or the marker
        `@pytest.mark.kvserver(appendonly=True)`, make a server that has its data again. `restart()` starts the server again,
        on its port; and the next server on the same folder finds the same.
        """
        self._on_loop.run(self._crash)

    def clear(self) -> None:
        """End all faults. A server that has crashed stays so."""
        self._on_loop.run(self._clear)

    def _clear(self) -> None:
        self._refusals.clear()
        self._delays.clear()
        self._act()

    def _act(self) -> None:
        """Have the parts do what is ordered now."""
        self._snapshots.refuse(REFUSED if self._refusals else "")
        self._jobs.delay_replies(self._delays[-1].seconds if self._delays else 0)

    def _order(self, orders: list[T], order: T) -> Fault:
        """Let an order count beside those that are there, until the end of the fault, or of the server."""

        def begin() -> None:
            orders.append(order)
            self._act()

        def end() -> None:
            if order in orders:
                orders.remove(order)
                self._act()

        def end_if_it_runs() -> None:
            if self._on_loop.is_begun:
                self._on_loop.run(end)

        self._on_loop.run(begin)
        return Fault(end_if_it_runs)
