"""What goes without a command: keys whose time has come or that memory is too short for, and large values of keys that went.

Owns when that happens: in slices between the commands of clients, which take a quarter of the processor at most, and nothing
while there is nothing to do. Which keys go is for the keyspaces and the memory limit to say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from kvserver.containers import lazyfree
from kvserver.resp.request import Request
from kvserver.state.channels import Message
from kvserver.state.session import ServerState, Session

# A slice ends with the first step that ends later than this.
SLICE_S: Final = 0.0003
# The rest between two slices is as long as so many slices.
REST_SLICES: Final = 3

Deliveries = list[tuple[Session, Message]]


class Upkeep:
    """The upkeep of a server, which calls `begin` some times a second. Nothing of it runs while data is loaded.

    `record` takes the commands that repeat what a slice has done, as the writer's takes those of a tick. `deliver` sends the
    messages about it. `wake` has those served who wait for what has gone.
    """

    def __init__(
        self,
        state: ServerState,
        record: Callable[[list[Request]], None],
        deliver: Callable[[Deliveries], None],
        wake: Callable[[], None],
    ) -> None:
        self._state = state
        self._record = record
        self._deliver = deliver
        self._wake = wake
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False

    def begin(self) -> None:
        """Do a slice now of what there is to do, and the rest in the background."""
        if not self._has_begun:
            self._has_begun = True
            lazyfree.begin()
        self._state.memory.tick()
        if self._task is None and not self._state.persistence.loading and self._slice():
            self._task = asyncio.create_task(self._go_on())

    def catch_up(self) -> None:
        """Remove at once all that is due by the clock, which somebody has moved, and tell of it.

        What a snapshot that is being made keeps, or a script that stands aside, goes behind that.
        """
        state = self._state
        state.memory.tick()
        if state.scripts.busy_error:
            return
        if state.expires_actively:
            state.databases.hurry()
            while state.databases.sweep():
                pass
        self._hand_over()

    def _hand_over(self) -> None:
        """Pass on what was done: to the journal, to who listens, and to who waits."""
        records, notifications = self._state.databases.records, self._state.notifications
        # The next tick may be long in coming.
        if records.has_any:
            deliveries = notifications.take() if notifications.is_on else []
            self._record(records.take())
            if deliveries:
                self._deliver(deliveries)
        if self._state.databases.awaited.touched:
            self._wake()

    def end(self) -> None:
        """Do nothing more."""
        if self._task:
            self._task.cancel()
        if self._has_begun:
            self._has_begun = False
            lazyfree.end()

    async def _go_on(self) -> None:
        try:
            is_unfinished = True
            while is_unfinished and not self._state.persistence.loading:
                await asyncio.sleep(SLICE_S * REST_SLICES)
                is_unfinished = self._slice()
        finally:
            self._task = None

    def _slice(self) -> bool:
        """Do steps for SLICE_S, and one at least. Return True if there is more to do."""
        # A script that stands aside must not see anything go.
        if self._state.scripts.busy_error:
            return True
        ends_at = time.perf_counter() + SLICE_S
        is_unfinished = self._step()
        while is_unfinished and time.perf_counter() <= ends_at:
            is_unfinished = self._step()
        self._hand_over()
        return is_unfinished

    def _step(self) -> bool:
        """Do one step, if there is one to do. Return True if there was, so that there may be more."""
        if lazyfree.free_some():
            return True
        if self._state.tracking.tidy():
            return True
        memory = self._state.memory
        if memory.is_unmeasured:
            memory.measure()
            return True
        if self._state.expires_actively and self._state.databases.sweep():
            return True
        return memory.is_over and not self._state.databases.is_held and memory.make_room()
