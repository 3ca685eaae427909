"""When keys were used last, as nearly as it can be known at no memory per key and some 50 ns per access (OBJECT IDLETIME).

What is noted is the time of the last use of any key that shares a place with others: there are PLACES_PER_SHARD of them for
each shard, and where many keys are read or written at once just one for the shard. So a key may seem to have been used when
another one was, never the other way round. An LRU policy knows exactly (`clocks`). Pure: time is told by `tick`.
"""

from __future__ import annotations

from typing import Any, Final

PLACES_PER_SHARD: Final = 64
REMEMBERED_KEYS: Final = 10_000  # whose idle time was set by RESTORE


class Uses:
    """Of a keyspace with so many shards. Times are Unix times in milliseconds, exact to a tick.

    Whoever reads or writes a key sets its place (`hash(key) % len(places)`), or its shard's one, to `now_ms`.
    """

    def __init__(self, shards: int, now_ms: int) -> None:
        # One object for all places: as an int, the compiled build would make a new one at each use.
        self.now_ms: Any = now_ms
        self.places = [now_ms] * (PLACES_PER_SHARD * shards)
        self.by_shard = [0] * shards
        # By key, when it was used as RESTORE has it, and what its place holds until another use.
        self._told: dict[bytes, tuple[int, int]] = {}

    def tick(self, now_ms: int) -> None:
        """It is this time. To be told some times a second."""
        self.now_ms = now_ms

    def restart(self, now_ms: int) -> None:
        """All data is other data, which counts as used now."""
        self.places[:] = [now_ms] * len(self.places)
        self._told.clear()

    def idle_ms(self, key: bytes) -> int:
        """For how long at least the key has not been used."""
        place = hash(key) % len(self.places)
        used_ms = max(self.places[place], self.by_shard[place % len(self.by_shard)])
        told = self._told.get(key)
        if told and told[1] == used_ms:
            used_ms = told[0]
        return max(int(self.now_ms) - used_ms, 0)

    def set_idle(self, key: bytes, idle_ms: int) -> None:
        """Let a key that was written just now count as not used for so long."""
        place = hash(key) % len(self.places)
        index = place % len(self.by_shard)
        # A millisecond before this tick, by which it is told from a use in it.
        written_ms = int(self.now_ms) - 1
        self.places[place] = written_ms
        self.by_shard[index] = min(self.by_shard[index], written_ms)
        self._told.pop(key, None)
        self._told[key] = int(self.now_ms) - idle_ms, written_ms
        if len(self._told) > REMEMBERED_KEYS:
            del self._told[next(iter(self._told))]
