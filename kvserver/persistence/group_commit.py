"""The group in group commit: whether what has gathered under appendfsync always is to be synced now, or is to wait for more.

Clients that wait for one sync are released together, and are about to write again. The next sync waits for them: else two
halves of the clients take turns, and each waits for the other's sync, too. Only where they are so many that running their
commands takes longer than some syncs, it is better to run the one half while the disk is busy with the other. Pure.
"""

from __future__ import annotations

from typing import Final

COMMAND_S: Final = 20e-6  # what a write takes the loop, from reading it to its reply, about
WORTH_WAITING: Final = 3.0  # times as long as a sync takes; measured at 0.5 and 3: 3 takes a sixth less of CPU at 50 clients
LEAST_WAIT_S: Final = 0.001  # the loop's timers are no finer
SYNCS_AFTER_VAIN: Final = 64  # do not wait when one has waited in vain


class Group:
    """The number of write commands that the next sync is to have. The first one does not wait."""

    def __init__(self) -> None:
        self.wait_s = 0.0  # at most
        self._wanted = 0
        self._hasty = 0  # syncs that do not wait

    def is_enough(self, queued: int) -> bool:
        """True where so many commands are worth a sync."""
        return queued >= self._wanted

    def expect(self, released: int, queued: int, sync_s: float) -> None:
        """A sync has ended that took so long and released so many commands, while so many were queued behind it."""
        expected = released + queued
        arrival_s = expected * COMMAND_S
        self._wanted = 0
        if self._hasty:
            self._hasty -= 1
        elif arrival_s <= WORTH_WAITING * sync_s:
            self._wanted = expected - expected // 8  # some may have left, or be slow
            self.wait_s = max(LEAST_WAIT_S, 2 * arrival_s)

    def give_up(self) -> None:
        """`wait_s` have passed, and it was not enough."""
        self._wanted = 0
        self._hasty = SYNCS_AFTER_VAIN
