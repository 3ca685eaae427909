"""When the entries of each shard expire, as far as it takes to look at those shards only that may have something due. Pure.

Of a shard it is known before which time nothing in it expires, which may be long before the first entry that does: one
that was deleted, or is to live longer, is not forgotten until the shard is swept. Removes nothing: whoever sweeps does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, Final

from kvserver.data.entries import Expiring, Value
from kvserver.data.shards import Shard, placing

NEVER_MS: Final = 1 << 63  # behind every time that a command takes
# After a sweep a shard rests for so long per entry, which bounds what sweeping takes: some 35 ns per entry, and 1021 shards
# at the same time, are 7 % of a processor whatever the number of keys, where keys expire all the time.
SWEEP_REST_MS: Final = 0.5


class Deadlines:
    """Those of a keyspace with these shards. All times are Unix times in milliseconds."""

    def __init__(self, shards: list[Shard]) -> None:
        self._position = 0  # of the shard that comes next
        self.restart(shards)

    def restart(self, shards: list[Shard]) -> None:
        """All data is other data. What of it expires is known when it has been swept."""
        self._earliest_ms = [0 if shard else NEVER_MS for shard in shards]  # no entry of the shard expires before
        self._rests_until_ms = [0.0] * len(shards)  # it need not be swept before

    def setter(self, set_: Callable[[bytes, Any], None]) -> Callable[[bytes, Value, int], None]:
        """Storing of a value that is gone from a time on. To be asked for again at each restart."""
        earliest_ms = self._earliest_ms
        digest, count = placing()

        def set_expiring(key: bytes, value: Value, expires_at_ms: int) -> None:
            set_(key, Expiring(value, expires_at_ms))
            index = digest(key) % count
            if expires_at_ms < earliest_ms[index]:
                earliest_ms[index] = expires_at_ms

        return set_expiring

    @property
    def has_any(self) -> bool:
        """Whether an entry may have an expiry."""
        return min(self._earliest_ms) < NEVER_MS

    def may_be_in(self, index: int) -> bool:
        """Whether an entry of this shard may have an expiry."""
        return self._earliest_ms[index] < NEVER_MS

    def forget(self, index: int) -> None:
        """No entry of this shard has an expiry, as somebody has seen."""
        self._earliest_ms[index] = NEVER_MS

    def shard_to_sweep(self, now_ms: int) -> int | None:
        """The next shard that may have something due, or None. They take turns."""
        position, earliest_ms, rests_until_ms = self._position, self._earliest_ms, self._rests_until_ms
        for index in chain(range(position, len(earliest_ms)), range(position)):
            if earliest_ms[index] <= now_ms and rests_until_ms[index] <= now_ms:
                self._position = (index + 1) % len(earliest_ms)
                return index
        return None

    def sweep(self, index: int, shard: Shard, now_ms: int) -> list[bytes]:
        """Look at all entries of a shard: the keys that are due, which are to be removed now. The others are known then."""
        self._rests_until_ms[index] = now_ms + SWEEP_REST_MS * len(shard)
        timed = [(entry.expires_at_ms, key) for key, entry in shard.items() if type(entry) is Expiring]
        due = [key for expires_at_ms, key in timed if expires_at_ms <= now_ms]
        self._earliest_ms[index] = min((time for time, _ in timed if time > now_ms), default=NEVER_MS)
        return due
