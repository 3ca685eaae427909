"""What a sweep has to look at: the shards that may have an entry that is due, and the keys that may have such a member. Pure.

A shard has a deadline, before which no entry of it expires.

A deadline may be long before the first entry that expires: the time of an entry that was deleted, or is to live longer, is
not forgotten until the shard is swept. This module removes nothing: its callers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Final

from kvserver._speedups.places import items_between
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
# It looks at so many entries.
ENTRIES_A_STEP: Final = 1024


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
        # So many of the shard's entries, from its front on, are yet to be looked at; 0 if it was not begun. Its order then,
        # and the first time of those that were looked at and stay.
        self._stop = self._order = 0
        self._found_ms = NEVER_MS
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

    def shards_due(self, now_ms: int) -> list[int]:
        """The indices of the shards that may have something due."""
        # Measured: where nothing is due, as nearly always, this is half the time.
        if min(self._earliest_ms) > now_ms:
            return []
        return [index for index, earliest_ms in enumerate(self._earliest_ms) if earliest_ms <= now_ms]

    def forget(self, index: int) -> None:
        """Note that no entry of this shard has an expiry."""
        self._earliest_ms[index] = NEVER_MS

    def doubt(self, index: int) -> None:
        """Have this shard swept, since it may have no entry with an expiry any more: then that is known."""
        self._earliest_ms[index] = 0
        self._quiet_until_ms = 0.0

    def hurry(self) -> None:
        """Let no shard rest: the clock was moved, so that what is known of times to come is out of date."""
        self._rests_until_ms, self._quiet_until_ms = [0.0] * len(self._rests_until_ms), 0.0

    def shard_to_sweep(self, now_ms: int) -> int | None:
        """The index of the next shard that may have something due, or None. The shards take turns."""
        if now_ms < self._looked_at_ms:
            # The clock was set back.
            self.hurry()
        self._looked_at_ms = now_ms
        if self._left or self._stop:
            return self._position
        if now_ms < self._quiet_until_ms:
            return None
        position, earliest_ms, rests_until_ms = self._position, self._earliest_ms, self._rests_until_ms
        for index in chain(range(position, len(earliest_ms)), range(position)):
            if earliest_ms[index] <= now_ms and rests_until_ms[index] <= now_ms:
                self._position = (index + 1) % len(earliest_ms)
                return index
        self._quiet_until_ms = min(map(max, earliest_ms, rests_until_ms))
        return None

    def take_due(self, index: int, shard: Shard, now_ms: int, order: int = 0) -> list[bytes]:
        """Some keys of the shard whose turn it is that are due, up to MOST_DUE, which the caller removes now.

        Each call looks at some entries of the shard, from its end to its front, and the shard keeps its turn until all were
        looked at. Then its deadline is exact. The caller counts by `order` how often the shard was given another order.
        """
        if self._left:
            # They were due, if nobody has written them since.
            some = self._left[-MOST_DUE:]
            del self._left[-MOST_DUE:]
            times_ms = [(key, entry.expires_at_ms) for key in some if type(entry := shard.get(key)) is Expiring]
            # The clock may have been set back.
            self._note(time_ms for _, time_ms in times_ms if time_ms > now_ms)
            self._end(index, shard, now_ms)
            return [key for key, time_ms in times_ms if time_ms <= now_ms]
        if not self._stop or order != self._order:
            self._stop, self._order, self._found_ms = len(shard), order, NEVER_MS
            # It is later than all times, but NEVER_MS: whatever is stored from now on is noted.
            self._earliest_ms[index] = NEVER_MS - 1
        stop = min(self._stop, len(shard))
        start = max(0, stop - ENTRIES_A_STEP)
        timed = [(entry.expires_at_ms, key) for key, entry in items_between(shard, start, stop) if type(entry) is Expiring]
        due = [key for expires_at_ms, key in timed if expires_at_ms <= now_ms]
        self._note(expires_at_ms for expires_at_ms, _ in timed if expires_at_ms > now_ms)
        self._stop, self._left = start, due[MOST_DUE:]
        self._end(index, shard, now_ms)
        return due[:MOST_DUE]

    def _note(self, times_ms: Iterable[int]) -> None:
        """Note times of entries that stay."""
        self._found_ms = min(self._found_ms, min(times_ms, default=NEVER_MS))

    def _end(self, index: int, shard: Shard, now_ms: int) -> None:
        """Keep the turn of a shard, or end it if all of its entries were looked at, and those that are due taken."""
        if self._left or self._stop:
            self._position = index
            return
        self._position = (index + 1) % len(self._earliest_ms)
        stored_ms = self._earliest_ms[index]
        self._earliest_ms[index] = min(self._found_ms, NEVER_MS if stored_ms == NEVER_MS - 1 else stored_ms)
        self._rests_until_ms[index] = now_ms + SWEEP_REST_MS * len(shard)


class Lapses:
    """The keys whose values have members that expire, by the time of the first member. They are noted, not looked for.

    `unknown` has the indices of the shards of loaded data in which nobody has looked for such values yet. Of the last one,
    `left` places from its front on are still to be looked at, in the order that it had `order` times another one before; 0 of
    a shard that was not begun.
    """

    def __init__(self) -> None:
        self.restart([])

    def restart(self, shards: list[Shard]) -> None:
        """Begin again, for other data."""
        self.unknown = [index for index, shard in enumerate(shards) if shard]
        self.left = self.order = 0
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
