"""The group in group commit: says if what has gathered under appendfsync always is synced now, or waits for more.

Clients that wait for one sync are released together, and are about to write again. The next sync waits for them: else two
halves of the clients take turns, and each waits for the other's sync, too. Only where the clients are so many that running
their commands takes longer than some syncs, it is better to run one half while the disk is busy with the other. Pure: the
journal syncs and keeps the time.
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
