"""The lease of the node that writes: how long it may answer clients without a word from the engine.

Whoever follows takes over when it has seen no entry for a whole lease of the writer's, by its own clock: LEAD and the manifest
tell how long that is. The writer answers for a part of that
time only, counted from the moment at which it *sent* an entry that was acknowledged, which was before anybody saw the entry.
So two nodes never answer at once, as long as their clocks run equally fast to within what is left between the two. Nothing is
compared but times of one clock: to set the time of day changes nothing. The clock has to go on while the machine sleeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

# The writer answers for this part of a lease.
ANSWERING: Final = 0.7
# It lets the engine hear of it so many times in a lease, also where nobody writes.
BEATS: Final = 3


class Lease:
    """The right to answer, until a time by `clock` (seconds). A new lease has none.

    Any thread may extend it. There is no lock: where two do at once, the later end may be missed, and nobody answers longer.
    """

    def __init__(self, lease_s: float, clock: Callable[[], float]) -> None:
        self.lease_s = lease_s
        self.clock = clock
        self._ends_at = float("-inf")
        self._has_ended = False

    @property
    def lease_ms(self) -> int:
        """Its length in milliseconds, as other nodes are told."""
        return math.ceil(self.lease_s * 1000)

    @property
    def beat_s(self) -> float:
        """The longest time for which the writer appends nothing, in seconds."""
        return self.lease_s / BEATS

    @property
    def is_held(self) -> bool:
        """True if replies may leave now."""
        return not self._has_ended and self.clock() < self._ends_at

    @property
    def left_s(self) -> float:
        """The time for which replies may leave, if the engine says nothing more: 0 or more seconds."""
        return 0.0 if self._has_ended else max(0.0, self._ends_at - self.clock())

    def extend(self, sent_at: float) -> None:
        """Take notice that an entry was acknowledged, which was first sent at this time. A lease that has ended stays so."""
        self._ends_at = max(self._ends_at, sent_at + ANSWERING * self.lease_s)

    def end(self) -> None:
        """Answer nobody any more."""
        self._has_ended = True
