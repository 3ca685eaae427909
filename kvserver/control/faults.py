"""Faults that a test orders: a disk that fails, a slow network, one that breaks off, the end of the process by kill -9.

While none is ordered, nothing of this is in the way of a command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.control.onloop import OnLoop
from kvserver.engine.jobs import Jobs
from kvserver.network.clients import Clients
from kvserver.persistence.snapshots import Snapshots

# The reason that the log and INFO give for a snapshot that fails by order.
REFUSED: Final = "writes are refused by order (faults.refuse_writes)"
LONGEST_DELAY_S: Final = 3600.0


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

    def attend(self, clients: Clients, jobs: Jobs, snapshots: Snapshots) -> None:
        """Act on these parts from now on: each start of a server makes new ones."""
        self._clients, self._jobs, self._snapshots = clients, jobs, snapshots

    def refuse_writes(self) -> Fault:
        """Answer every write by -MISCONF, as Redis does when its disk fails, while reads go on. SAVE and its kin fail, too.

        Until the end of the `with` block, or `clear`.
        """
        self._on_loop.run(lambda: self._snapshots.refuse(REFUSED))
        return Fault(lambda: self._end(lambda: self._snapshots.refuse("")))

    def delay(self, seconds: float) -> Fault:
        """Let every reply and every message leave so many seconds later, in their order. Commands run as before.

        0 ends it, as the end of the `with` block and `clear` do: what is late leaves then. ValueError for a negative number
        or more than an hour.
        """
        if not 0 <= seconds <= LONGEST_DELAY_S:
            raise ValueError(f"replies may be late by 0 to {LONGEST_DELAY_S:.0f} seconds, not by {seconds!r}")
        self._on_loop.run(lambda: self._jobs.delay_replies(seconds))
        return Fault(lambda: self._end(lambda: self._jobs.delay_replies(0)))

    def drop_connections(self) -> None:
        """Break off the connections of all clients at once, by a reset: replies that have not left are lost.

        New connections are taken at once.
        """
        self._on_loop.run(self._clients.reset)

    def crash(self) -> None:
        """End the server as kill -9 does: nothing is saved, nothing more is written, and all connections are reset.

        What was acknowledged is kept as far as `appendonly` and `appendfsync` say, in a folder as in memory. `restart()`
        starts the server again, on its port; and the next server on the same folder finds the same.
        """
        self._on_loop.run(self._crash)

    def clear(self) -> None:
        """End all faults. A server that has crashed stays so."""
        self._on_loop.run(self._clear)

    def _clear(self) -> None:
        self._snapshots.refuse("")
        self._jobs.delay_replies(0)

    def _end(self, call: Callable[[], None]) -> None:
        """End a fault, unless the server has ended meanwhile."""
        if self._on_loop.is_begun:
            self._on_loop.run(call)
