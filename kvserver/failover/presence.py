"""The nodes that share an engine: this one tells of itself regularly, and learns of the others.

It decides nothing. What is told is for clients that look for nodes (SENTINEL, ROLE, INFO), and for WAIT.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kvserver.errors import MediumError
from kvserver.media.shared import Node, Presence
from kvserver.persistence.disk import Disk
from kvserver.state.replication import NodeFacts, ReplicationFacts

# A node that has said nothing for so many beats, while another one says that it is at the same address, is not there any more.
BEATS_OF_A_LIFE: Final = 4

_log = logging.getLogger("kvserver")


class Neighbours:
    """The other nodes, as `facts.others` has them. `clock` gives seconds that only grow."""

    def __init__(
        self,
        facts: ReplicationFacts,
        presence: Presence,
        beat_s: float,
        clock: Callable[[], float],
        make_disk: Callable[[], Disk] = Disk,
    ) -> None:
        # The address of this node for clients.
        self.host, self.port = "", 0
        # This is called when something may have changed.
        self.on_change: Callable[[], None] = lambda: None
        self._facts = facts
        self._presence = presence
        self._beat_s = beat_s
        self._clock = clock
        self._disk = make_disk()
        self._beats = 0
        # The last word of each node, and when it was seen first.
        self._seen: dict[str, tuple[Node, float]] = {}
        self._has_failed = False
        self._wants_to_tell = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Tell and learn from now on."""
        self._task = asyncio.get_running_loop().create_task(self._go_on())

    def tell_soon(self) -> None:
        """Tell now: the role has changed."""
        self._wants_to_tell.set()

    async def _go_on(self) -> None:
        while True:
            try:
                await self._tell_and_learn()
                self._has_failed = False
            except Exception as error:
                if not self._has_failed:
                    # What is no failure of the engine is a defect, which its traceback shows.
                    trace = None if isinstance(error, MediumError) else error
                    _log.warning("the engine does not tell of other nodes: %s", error, exc_info=trace)
                self._has_failed = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wants_to_tell.wait(), self._beat_s)
            self._wants_to_tell.clear()

    async def _tell_and_learn(self) -> None:
        facts = self._facts
        self._beats += 1
        node = Node(facts.node_id, self.host, self.port, facts.is_primary, facts.applied, self._beats)
        self._learn(await self._disk.run(lambda: self._exchange(node)))

    def _exchange(self, node: Node) -> list[Node]:
        self._presence.tell(node)
        return self._presence.nodes()

    def _learn(self, nodes: list[Node]) -> None:
        now, own_id = self._clock(), self._facts.node_id
        seen: dict[str, tuple[Node, float]] = {}
        for node in nodes:
            if node.id != own_id:
                before = self._seen.get(node.id)
                seen[node.id] = before if before and before[0].beats == node.beats else (node, now)
        self._seen = seen
        words = sorted(seen.values(), key=lambda word: (word[0].host, word[0].port))
        # A node that was started anew has another id. Its earlier life is none of the nodes, though it could not say so.
        latest = {(self.host, self.port): now}
        for node, seen_at in words:
            latest[node.host, node.port] = max(seen_at, latest.get((node.host, node.port), seen_at))
        self._facts.others = [
            NodeFacts(node.id, node.host, node.port, node.is_primary, node.applied, now - seen_at)
            for node, seen_at in words
            if latest[node.host, node.port] - seen_at < BEATS_OF_A_LIFE * self._beat_s
        ]
        self.on_change()

    async def leave(self) -> None:
        """Tell the others that this node is not there any more, if the engine takes that now."""
        self.halt()
        node_id = self._facts.node_id
        # They notice a little later, if that fails.
        with suppress(MediumError, TimeoutError):
            await asyncio.wait_for(self._disk.run(lambda: self._presence.leave(node_id)), self._beat_s)

    def halt(self) -> None:
        """Tell nothing any more."""
        if self._task:
            self._task.cancel()

    def close(self) -> None:
        """Let go, behind `halt`."""
        self._disk.forget()
