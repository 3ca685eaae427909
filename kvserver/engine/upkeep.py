"""Keys that go without a command: those whose time has come, and those that memory is too short for.

In slices between the commands of clients.

Takes a quarter of the processor at most, and nothing while there is nothing to do.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from kvserver.state.session import ServerState

SLICE_S: Final = 0.0003  # and the rest of the step that is under way then
REST_SLICES: Final = 3  # between two slices, as long as so many of them took


class Upkeep:
    """`begin` is to be called some times a second."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Do a slice of what there is to do now, and what that leaves in the background."""
        self._state.memory.tick()
        if self._task is None and not self._state.persistence.loading and self._slice():
            self._task = asyncio.create_task(self._go_on())

    def end(self) -> None:
        """Do nothing more."""
        if self._task:
            self._task.cancel()

    async def _go_on(self) -> None:
        try:
            is_unfinished = True
            while is_unfinished and not self._state.persistence.loading:
                await asyncio.sleep(SLICE_S * REST_SLICES)
                is_unfinished = self._slice()
        finally:
            self._task = None

    def _slice(self) -> bool:
        """Whether there is more to do."""
        ends_at = time.perf_counter() + SLICE_S
        while self._step():
            if time.perf_counter() > ends_at:
                return True
        return False

    def _step(self) -> bool:
        """Whether something was done, so that there may be more."""
        memory = self._state.memory
        if memory.is_unmeasured:
            memory.measure()
            return True
        if self._state.expires_actively and self._state.keyspace.sweep():
            return True
        return memory.is_over and not self._state.keyspace.is_held and memory.make_room()
