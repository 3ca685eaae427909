"""The group in group commit: says if what has gathered under appendfsync always is synced now, or waits for more.

Clients that wait for one sync are released together, and are about to write again. The next sync waits for them: else two
halves of the clients take turns, and each waits for the other's sync, too. Only where the clients are so many that running
their commands takes longer than some syncs, it is better to run one half while the disk is busy with the other.

It also says who syncs. Where few commands wait, the event loop itself does, as in redis-server: to hand the interpreter's lock
to a thread and back takes as long as a quick sync. Where syncs are slow, a thread does, so that others are served meanwhile.
Pure: the journal syncs and keeps the time.
"""

from __future__ import annotations

from typing import Final

# About the time that a write takes the loop, from reading the command to sending its reply.
COMMAND_S: Final = 20e-6
# The next sync waits if the commands take no longer than this many syncs. Measured at 0.5 and 3: with 3, 50 clients take a
# sixth less of CPU.
WORTH_WAITING: Final = 3.0
# The loop's timers are no finer.
LEAST_WAIT_S: Final = 0.001
# The loop itself syncs for so many commands of a tick. More of them are worth a thread, beside which the next ones gather.
HERE_COMMANDS: Final = 16
# The loop itself syncs while a sync takes no longer than this, on average. Quicker ones may take most of the time of a loop
# whose clients wait for them, as in redis-server.
SLOW_SYNC_S: Final = 0.002
# A new sync counts for so much in the average: one that takes long among quick ones leaves the rest where they are. Measured
# on a disk that others used, too: with a rest after each slow sync, two of three went by the thread, for one client.
SHARE_OF_ONE: Final = 1 / 8
# After a sync that waited in vain, so many do not wait.
SYNCS_AFTER_VAIN: Final = 64


class Group:
    """The number of write commands that the next sync is to have. The first one does not wait."""

    def __init__(self) -> None:
        # The longest that the next sync waits for the group.
        self.wait_s = 0.0
        self._wanted = 0
        # The number of syncs to come that do not wait.
        self._hasty = 0
        # The average time that a sync takes.
        self._usual_s = 0.0

    def is_for_loop(self, commands: int) -> bool:
        """True if the loop itself is to sync so many commands, before which nothing is on its way to the disk."""
        return commands <= HERE_COMMANDS and self._usual_s <= SLOW_SYNC_S

    def note(self, sync_s: float) -> None:
        """Take notice of the time that a sync took, on the loop or on the thread."""
        self._usual_s += (sync_s - self._usual_s) * SHARE_OF_ONE

    def is_enough(self, queued: int) -> bool:
        """True if so many commands are worth a sync."""
        return queued >= self._wanted

    def expect(self, released: int, queued: int, sync_s: float) -> None:
        """Draw the conclusion from a sync that took so long and released so many commands, with so many queued behind it."""
        expected = released + queued
        arrival_s = expected * COMMAND_S
        self._wanted = 0
        if self._hasty:
            self._hasty -= 1
        elif arrival_s <= WORTH_WAITING * sync_s:
            # Some clients may have left, or be slow.
            self._wanted = expected - expected // 8
            self.wait_s = max(LEAST_WAIT_S, 2 * arrival_s)

    def give_up(self) -> None:
        """Stop waiting: `wait_s` have passed, and too few commands came."""
        self._wanted = 0
        self._hasty = SYNCS_AFTER_VAIN
