"""When, or how often, keys were used: what Redis keeps in each object under an LRU or LFU policy, kept here beside the data.

Tables of shards like the keyspace's own, since a dict of a million keys stalls the event loop when it grows. A key that
was not used since the clocks began counts as used then. Pure: time is told by `tick`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from kvserver.data.shards import Access, Shard, new_shards, placing, shard_of

LFU_INITIAL: Final = 5  # Redis's LFU_INIT_VAL: a new key must have time to be used before it is the least used one
LFU_MAX: Final = 255
MINUTE_MS: Final = 60_000


class Clocks(Protocol):
    """A side table of a policy."""

    def tick(self, now_ms: int) -> None:
        """It is this Unix time. To be told some times a second."""

    def restart(self) -> list[Shard]:
        """All data is other data. Returns what is not used any more, to be freed in slices."""

    def wrap(self, plain: Access) -> Access:
        """Access that is noted."""

    def score(self, key: bytes) -> int:
        """The higher, the sooner the key may go. Falls when it is used."""


class Recency:
    """LRU: when each key was used last, in Unix milliseconds, exact to a tick."""

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
        """For how many milliseconds the key has been idle."""
        used_ms: int = self._used_ms[shard_of(key)].get(key, self._began_ms)
        return self._now_ms - used_ms

    def set_idle(self, key: bytes, idle_ms: int) -> None:
        """Let a key count as not used for so long."""
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


class Frequency:
    """LFU: Redis's logarithmic counters, of 0 to 255, that lose one each `decay_minutes` without use (0: never)."""

    def __init__(self, now_ms: int, random_below: Callable[[int], int]) -> None:
        self.log_factor = 10
        self.decay_minutes = 1
        self._random_below = random_below
        self._minute = now_ms // MINUTE_MS
        self._tables: list[Shard] = []  # minute * 256 + counter
        self.restart()

    def tick(self, now_ms: int) -> None:
        self._minute = now_ms // MINUTE_MS

    def restart(self) -> list[Shard]:
        self._began = self._minute * 256 + LFU_INITIAL
        unused, self._tables = self._tables, new_shards()
        return unused

    def count(self, key: bytes) -> int:
        """The counter of a key, as OBJECT FREQ shows it."""
        return self._decayed(self._tables[shard_of(key)].get(key, self._began))

    def set_count(self, key: bytes, count: int) -> None:
        """Let a key have been used so often."""
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
