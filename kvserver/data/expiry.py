"""What a sweep has to look at: the shards that may have an entry that is due, and the keys that may have such a member. Pure.

A shard has a deadline, before which no entry of it expires.

A deadline may be long before the first entry that expires: the time of an entry that was deleted, or is to live longer, is
not forgotten until the shard is swept. This module removes nothing: its callers do.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, Final

from kvserver.containers.times import Times
from kvserver.data.entries import Expiring, Value
from kvserver.data.shards import Shard, placing

# No command takes so late a time.
NEVER_MS: Final = 1 << 63
# After a sweep a shard rests for so long per entry. Measured: a sweep takes some 35 ns per entry. So the sweeps of 1021 shards
# take at most 7 % of a processor, however many keys there are.
SWEEP_REST_MS: Final = 0.5
# A step of a sweep takes so many keys. To remove one takes a microsecond or two.
MOST_DUE: Final = 128


class Deadlines:
    """The deadlines of a keyspace with these shards. All times are Unix times in milliseconds."""

    def __init__(self, shards: list[Shard]) -> None:
        # The index of the shard whose turn it is.
        self._position = 0
        self.restart(shards)

    def restart(self, shards: list[Shard]) -> None:
        """Begin again, for other data. Its deadlines are known when it has been swept."""
        # The deadline of each shard: none of its entries expires before.
        self._earliest_ms = [0 if shard else NEVER_MS for shard in shards]
        # Keys of the shard whose turn it is that were due, and are yet to be taken.
        self._left: list[bytes] = []
        # The time until which each shard is not swept again.
        self._rests_until_ms = [0.0] * len(shards)
        # No shard has to be swept before this time, so that nobody looks through them all.
        self._quiet_until_ms = 0.0
        # The time of the last look for something to sweep.
        self._looked_at_ms = 0

    def setter(self, set_: Callable[[bytes, Any], None]) -> Callable[[bytes, Value, int], None]:
        """A function that stores a value that is gone from a time on. The keyspace asks for another one at each restart."""
        earliest_ms = self._earliest_ms
        digest, count = placing()

        def set_expiring(key: bytes, value: Value, expires_at_ms: int) -> None:
            set_(key, Expiring(value, expires_at_ms))
            index = digest(key) % count
            if expires_at_ms < earliest_ms[index]:
                earliest_ms[index] = expires_at_ms
                if expires_at_ms < self._quiet_until_ms:
                    self._quiet_until_ms = float(expires_at_ms)

        return set_expiring

    @property
    def has_any(self) -> bool:
        """True if an entry may have an expiry."""
        return min(self._earliest_ms) < NEVER_MS

    def may_be_in(self, index: int) -> bool:
        """True if an entry of this shard may have an expiry."""
        return self._earliest_ms[index] < NEVER_MS

    def forget(self, index: int) -> None:
        """Note that no entry of this shard has an expiry."""
        self._earliest_ms[index] = NEVER_MS

    def shard_to_sweep(self, now_ms: int) -> int | None:
        """The index of the next shard that may have something due, or None. The shards take turns."""
        if now_ms < self._looked_at_ms:
            # The clock was set back.
            self._rests_until_ms, self._quiet_until_ms = [0.0] * len(self._rests_until_ms), 0.0
        self._looked_at_ms = now_ms
        if now_ms < self._quiet_until_ms:
            return None
        position, earliest_ms, rests_until_ms = self._position, self._earliest_ms, self._rests_until_ms
        for index in chain(range(position, len(earliest_ms)), range(position)):
            if earliest_ms[index] <= now_ms and rests_until_ms[index] <= now_ms:
                self._position = (index + 1) % len(earliest_ms)
                return index
        self._quiet_until_ms = min(map(max, earliest_ms, rests_until_ms))
        return None

    def take_due(self, index: int, shard: Shard, now_ms: int) -> list[bytes]:
        """The keys of the shard whose turn it is that are due, up to MOST_DUE, which the caller removes now.

        Its deadline is exact then. If more are due, it is past, and the shard has the next turn, too.
        """
        if self._left:
            # They were due, if nobody has written them since. The call behind the last of them looks at the whole shard.
            some = self._left[-MOST_DUE:]
            del self._left[-MOST_DUE:]
            self._position = index
            return [key for key in some if type(entry := shard.get(key)) is Expiring and entry.is_due(now_ms)]
        timed = [(entry.expires_at_ms, key) for key, entry in shard.items() if type(entry) is Expiring]
        due = [key for expires_at_ms, key in timed if expires_at_ms <= now_ms]
        if len(due) > MOST_DUE:
            self._left = due[MOST_DUE:]
            self._position = index
            return due[:MOST_DUE]
        self._rests_until_ms[index] = now_ms + SWEEP_REST_MS * len(shard)
        self._earliest_ms[index] = min((time for time, _ in timed if time > now_ms), default=NEVER_MS)
        return due


class Lapses:
    """The keys whose values have members that expire, by the time of the first member. They are noted, not looked for.

    `unknown` has the indices of the shards of loaded data in which nobody has looked for such values yet.
    """

    def __init__(self) -> None:
        self.restart([])

    def restart(self, shards: list[Shard]) -> None:
        """Begin again, for other data."""
        self.unknown = [index for index, shard in enumerate(shards) if shard]
        self._keys = Times()

    def __len__(self) -> int:
        return len(self._keys)

    def expect(self, key: bytes, first_ms: int) -> None:
        """Note that a member of a key is gone from a time on (Unix milliseconds)."""
        known_ms = self._keys.get(key)
        if known_ms is None or first_ms < known_ms:
            self._keys.set(key, first_ms)

    def take_due(self, now_ms: int) -> bytes | None:
        """A key that may have members that are due, or None. It is forgotten: the caller notes it again."""
        due = self._keys.take_due(now_ms, 1)
        return due[0] if due else None
