"""The group in group commit: says if what has gathered under appendfsync always is synced now, or waits for more.

Clients that wait for one sync are released together, and are about to write again. The next sync waits for them: else two
halves of the clients take turns, and each waits for the other's sync, too. Only where the clients are so many that running
their commands takes longer than some syncs, it is better to run one half while the disk is busy with the other.

It also says who syncs: the event loop itself, as in redis-server, since to hand the interpreter's lock to a thread and back
takes as long as a quick sync. Where syncs are slow, a thread does, so that others are served meanwhile.
Pure: the journal syncs and keeps the time.
"""

from __future__ import annotations

from typing import Final

# About the time that a write takes the loop, from reading the command to sending its reply.
COMMAND_S: Final = 20e-6
# The next sync waits if the commands take no longer than this many syncs. Measured with the loop that syncs: 3 is no better
# with 50 clients, and worse with 200.
WORTH_WAITING: Final = 1.0
# The loop's timers count whole milliseconds, the first of which may be nearly over.
LEAST_WAIT_S: Final = 0.002
# Half a usual sync is no longer than this, though a disk may stand still for seconds now and then.
MOST_PATIENCE_S: Final = 0.01
# The loop itself syncs while a sync takes no longer than this, on average. Quicker ones may take most of the time of a loop
# whose clients wait for them, as in redis-server.
SLOW_SYNC_S: Final = 0.002
# A new sync counts for so much in the average: one that takes long among quick ones leaves the rest where they are. Measured
# on a disk that others used, too: with a rest after each slow sync, two of three went by the thread, for one client.
SHARE_OF_ONE: Final = 1 / 8
# After a sync that waited in vain, so many do not wait; twice as many each time, up to the second number, until one does not
# wait in vain.
LEAST_AFTER_VAIN: Final = 2
MOST_AFTER_VAIN: Final = 64


class Group:
    """The number of clients with whose writes the next sync is to begin. The first one does not wait.

    A sync releases clients, who are `_awaited` from then on, until they write again. If their writes come quickly enough, the
    next sync waits until most of them are there, or until `wait_s` have passed: then it has waited in vain. `loop_may_sync`:
    the loop has nothing to do that may not wait for a quick sync.
    """

    def __init__(self, *, loop_may_sync: bool = True) -> None:
        self._loop_may_sync = loop_may_sync
        # The longest that the next sync waits for the group, in seconds.
        self.wait_s = 0.0
        self._wanted = 0
        # So many clients were released, and have not written again.
        self._awaited = 0
        # The number of syncs to come that do not wait, and of those that will not after the next one that waits in vain.
        self._hasty = 0
        self._after_vain = LEAST_AFTER_VAIN
        # The average time that a sync takes.
        self._usual_s = 0.0

    @property
    def is_for_loop(self) -> bool:
        """True if the loop itself is to sync, where nothing is on its way to the disk."""
        return self._loop_may_sync and self._usual_s <= SLOW_SYNC_S

    def note(self, sync_s: float) -> None:
        """Take notice of the time that a sync took, on the loop or on the thread."""
        self._usual_s += (sync_s - self._usual_s) * SHARE_OF_ONE

    def arrive(self, clients: int) -> None:
        """Take notice of clients that have written, and wait for a sync."""
        self._awaited = max(0, self._awaited - clients)

    def is_enough(self, queued: int) -> bool:
        """True if the writes of so many clients are worth a sync."""
        return queued >= self._wanted

    def expect(self, released: int, queued: int, sync_s: float) -> None:
        """Draw the conclusion from a sync that took so long and released so many clients, with so many queued behind it."""
        expected = self._awaited + released + queued
        arrival_s = expected * COMMAND_S
        if self._wanted:
            self._after_vain = LEAST_AFTER_VAIN
        self._wanted = 0
        if not self._hasty and arrival_s <= WORTH_WAITING * sync_s:
            self._awaited += released
            # Some clients may have left, or be slow.
            self._wanted = expected - expected // 8
            # On a busy machine they come later. Measured: half a sync more costs less than a second sync.
            self.wait_s = max(LEAST_WAIT_S, 2 * arrival_s, min(self._usual_s / 2, MOST_PATIENCE_S))
        else:
            # Those before these may never come again.
            self._awaited = released
            self._hasty = max(0, self._hasty - 1)

    def give_up(self) -> None:
        """Stop waiting: `wait_s` have passed, and too few commands came."""
        # Those who did not come may be slow, or may have left.
        self._wanted, self._awaited = 0, self._awaited // 2
        self._hasty = self._after_vain
        self._after_vain = min(2 * self._after_vain, MOST_AFTER_VAIN)
