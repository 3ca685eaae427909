"""The clocks of an LRU or LFU policy: for each key the time of its last use, or how often it is used.

Redis keeps them in each object; here they are beside the data, in shards like the keyspace's, since a dict of a million keys
stalls the event loop when it grows. A key that was not used since the clocks began counts as used then. Pure: `tick` tells
the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from kvserver.data.shards import Access, Shard, new_shards, placing, shard_of

# Redis's LFU_INIT_VAL: a new key must have time to be used before it is the least used one.
LFU_INITIAL: Final = 5
LFU_MAX: Final = 255
MINUTE_MS: Final = 60_000


class Clocks(Protocol):
    """The table that a policy keeps beside the data."""

    def tick(self, now_ms: int) -> None:
        """Take notice of the Unix time. Upkeep calls this some times a second."""

    def restart(self) -> list[Shard]:
        """Begin again, for other data. Returns the tables that are not used any more, to be freed in slices."""

    def wrap(self, plain: Access) -> Access:
        """An access that notes each use of a key."""

    def score(self, key: bytes) -> int:
        """The rank of a key as a victim: the higher it is, the sooner the key may go. A use makes it lower."""


class Recency:
    """The clocks of LRU: the time of each key's last use, in Unix milliseconds, exact to a tick."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._used_ms: list[Shard] = []
        self.restart()

    def tick(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def restart(self) -> list[Shard]:
        self._began_ms = self._now_ms
        unused, self._used_ms = self._used_ms, new_shards()
        return unused

    def score(self, key: bytes) -> int:
        """The milliseconds since the last use of the key."""
        used_ms: int = self._used_ms[shard_of(key)].get(key, self._began_ms)
        return self._now_ms - used_ms

    def set_idle(self, key: bytes, idle_ms: int) -> None:
        """Let the last use of a key have been so many milliseconds ago."""
        self._used_ms[shard_of(key)][key] = self._now_ms - idle_ms

    def wrap(self, plain: Access) -> Access:
        look, put, remove, peek = plain
        tables = self._used_ms
        digest, count = placing()

        def get(key: bytes) -> Any:
            entry = look(key)
            if entry is not None:
                tables[digest(key) % count][key] = self._now_ms
            return entry

        def set_(key: bytes, entry: Any) -> None:
            tables[digest(key) % count][key] = self._now_ms
            put(key, entry)

        def delete(key: bytes) -> bool:
            tables[digest(key) % count].pop(key, None)
            return remove(key)

        return Access(get, set_, delete, peek)


class Order(Recency):
    """The clocks of LRU without a time: the order of all uses, exact to the use. Nobody tells it the time.

    `next_use` gives a number that grows with each call; keyspaces of one limit have one such function.
    """

    def __init__(self, next_use: Callable[[], int]) -> None:
        self._next_use = next_use
        super().__init__(next_use())

    def tick(self, now_ms: int) -> None:
        """Do nothing."""

    def restart(self) -> list[Shard]:
        self._now_ms = self._next_use()
        return super().restart()

    def wrap(self, plain: Access) -> Access:
        look, put, remove, peek = plain
        tables, next_use = self._used_ms, self._next_use
        digest, count = placing()

        def get(key: bytes) -> Any:
            entry = look(key)
            if entry is not None:
                tables[digest(key) % count][key] = next_use()
            return entry

        def set_(key: bytes, entry: Any) -> None:
            tables[digest(key) % count][key] = next_use()
            put(key, entry)

        def delete(key: bytes) -> bool:
            tables[digest(key) % count].pop(key, None)
            return remove(key)

        return Access(get, set_, delete, peek)


class Frequency:
    """The clocks of LFU: Redis's logarithmic counters from 0 to 255.

    A counter loses 1 for each `decay_minutes` without a use, or never if they are 0. It grows the slower the greater
    `log_factor` is.
    """

    def __init__(self, now_ms: int, random_below: Callable[[int], int]) -> None:
        self.log_factor = 10
        self.decay_minutes = 1
        self._random_below = random_below
        self._minute = now_ms // MINUTE_MS
        # For each key `minute * 256 + counter`: the Unix time in minutes of the last use, and the counter then.
        self._tables: list[Shard] = []
        self.restart()

    def tick(self, now_ms: int) -> None:
        self._minute = now_ms // MINUTE_MS

    def restart(self) -> list[Shard]:
        self._began = self._minute * 256 + LFU_INITIAL
        unused, self._tables = self._tables, new_shards()
        return unused

    def count(self, key: bytes) -> int:
        """The counter of a key, which OBJECT FREQ shows."""
        return self._decayed(self._tables[shard_of(key)].get(key, self._began))

    def set_count(self, key: bytes, count: int) -> None:
        """Let the counter of a key be this one now."""
        self._tables[shard_of(key)][key] = self._minute * 256 + count

    def score(self, key: bytes) -> int:
        return LFU_MAX - self.count(key)

    def _decayed(self, stamp: int) -> int:
        minute, counter = divmod(stamp, 256)
        if not self.decay_minutes:
            return counter
        return max(0, counter - (self._minute - minute) // self.decay_minutes)

    def _used(self, stamp: int) -> int:
        counter = self._decayed(stamp)
        base = max(0, counter - LFU_INITIAL)
        if counter < LFU_MAX and not self._random_below(base * self.log_factor + 1):
            counter += 1
        return self._minute * 256 + counter

    def wrap(self, plain: Access) -> Access:
        look, put, remove, peek = plain
        tables = self._tables
        digest, count = placing()

        def get(key: bytes) -> Any:
            entry = look(key)
            if entry is not None:
                table = tables[digest(key) % count]
                table[key] = self._used(table.get(key, self._began))
            return entry

        def set_(key: bytes, entry: Any) -> None:
            table = tables[digest(key) % count]
            stamp = table.get(key)
            table[key] = self._minute * 256 + LFU_INITIAL if stamp is None else self._used(stamp)
            put(key, entry)

        def delete(key: bytes) -> bool:
            tables[digest(key) % count].pop(key, None)
            return remove(key)

        return Access(get, set_, delete, peek)
