"""The last uses of keys, for OBJECT IDLETIME: as exact as is possible without memory per key, at some 50 ns an access.

Keys share places, PLACES_PER_SHARD for each shard, and a place knows the last use of any of its keys. Where many keys are read
or written at once, the whole shard is one place. So a key may seem to have been used when another key was, but no use is ever
missed. `clocks` is exact, for an LRU policy. Pure: `tick` tells the time.
"""

from __future__ import annotations

from typing import Any, Final

PLACES_PER_SHARD: Final = 64
# The idle times that RESTORE has set are remembered of so many keys.
REMEMBERED_KEYS: Final = 10_000


class Uses:
    """The last uses of the keys of a keyspace with so many shards. Times are Unix milliseconds, exact to a tick.

    An access to a key sets its place, `places[hash(key) % len(places)]`, or that of its shard, in `by_shard`, to `now_ms`.
    """

    def __init__(self, shards: int, now_ms: int) -> None:
        # Any, so that all places hold the same object: of an int, the compiled build would make a new one at each use.
        self.now_ms: Any = now_ms
        self.places = [now_ms] * (PLACES_PER_SHARD * shards)
        self.by_shard = [0] * shards
        # No key was used before.
        self._since_ms = 0
        # For each key the time of its last use that RESTORE has set, and the time that its place holds until another use.
        self._told: dict[bytes, tuple[int, int]] = {}

    def tick(self, now_ms: int) -> None:
        """Take notice of the time. The memory limit calls this some times a second."""
        self.now_ms = now_ms

    def restart(self, now_ms: int) -> None:
        """Begin again, for other data, whose keys count as used now."""
        # Measured: to set all places would take a millisecond.
        self._since_ms = now_ms
        self._told.clear()

    def idle_ms(self, key: bytes) -> int:
        """The milliseconds since the last use of a key, or fewer."""
        place = hash(key) % len(self.places)
        used_ms = max(self.places[place], self.by_shard[place % len(self.by_shard)], self._since_ms)
        told = self._told.get(key)
        if told and told[1] == used_ms:
            used_ms = told[0]
        return max(int(self.now_ms) - used_ms, 0)

    def set_idle(self, key: bytes, idle_ms: int) -> None:
        """Let the last use of a key that was written just now have been so many milliseconds ago."""
        place = hash(key) % len(self.places)
        index = place % len(self.by_shard)
        # The millisecond before this tick differs from the time of a use that follows.
        written_ms = int(self.now_ms) - 1
        self.places[place] = written_ms
        self.by_shard[index] = min(self.by_shard[index], written_ms)
        self._since_ms = min(self._since_ms, written_ms)
        self._told.pop(key, None)
        self._told[key] = int(self.now_ms) - idle_ms, written_ms
        if len(self._told) > REMEMBERED_KEYS:
            del self._told[next(iter(self._told))]
