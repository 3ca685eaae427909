"""Which key goes when memory is short: Redis's policies, by samples and a pool of the best candidates. Pure.

Redis looks at `maxmemory-samples` keys for each one that it evicts. Here as many are looked at on the whole, but those
for a batch of keys at once, most often in one shard, since to reach a key within a dict takes a walk past those before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.data import walk
from kvserver.data.clocks import Clocks
from kvserver.data.entries import Expiring
from kvserver.data.keyspace import Keyspace

BATCH_KEYS: Final = 16  # are evicted after each look at a shard
POOL_KEYS: Final = 32  # the best candidates so far
SHARDS_PER_LOOK: Final = 32  # are searched for keys with an expiry before the search is left for the next time


class Eviction:
    """Chooses victims by a policy other than noeviction. `clocks` are those of an LRU or LFU policy."""

    def __init__(
        self, keyspace: Keyspace, policy: str, clocks: Clocks | None, samples: int, random_below: Callable[[int], int]
    ) -> None:
        self._keyspace = keyspace
        self._is_volatile = policy.startswith("volatile-")
        self._by_time = policy == "volatile-ttl"
        self._clocks = clocks
        is_random = not (clocks or self._by_time)
        self._samples = 1 if is_random else samples
        self._random_below = random_below
        self._pool: list[tuple[int, bytes]] = []  # score and key, the best last
        self._left = 0  # of the batch

    @property
    def has_candidates(self) -> bool:
        """Whether there may be a key that this policy lets go."""
        return self._keyspace.deadlines.has_any if self._is_volatile else len(self._keyspace) > 0

    def victim(self) -> bytes | None:
        """The key that is to go next, or None where no look at some of them found one."""
        while True:
            if not (self._left and self._pool):
                self._fill()
                self._left = BATCH_KEYS
            if not self._pool:
                return None
            score, key = self._pool.pop()
            # It may be gone, or persisted, or have been used since it was looked at.
            entry = self._keyspace.peek(key)
            is_candidate = type(entry) is Expiring if self._is_volatile else entry is not None
            if is_candidate and self._score(key, entry) >= score:
                self._left -= 1
                return key

    def _score(self, key: bytes, entry: object) -> int:
        if self._clocks:
            return self._clocks.score(key)
        return -entry.expires_at_ms if self._by_time and isinstance(entry, Expiring) else 0

    def _fill(self) -> None:
        """Look at some keys, and keep the best candidates."""
        peek = self._keyspace.peek
        candidates = {key: score for score, key in self._pool}
        for key in self._sample(self._samples * BATCH_KEYS):
            candidates[key] = self._score(key, peek(key))
        self._pool = sorted((score, key) for key, score in candidates.items())[-POOL_KEYS:]

    def _sample(self, wanted: int) -> list[bytes]:
        """Keys that may go, of as many shards as it takes, from a random one on; of a big one, spread all over it."""
        shards = self._keyspace.shard_count
        first = self._random_below(shards)
        found: list[bytes] = []
        searched = 0
        for index in (*range(first, shards), *range(first)):
            if not self._is_volatile:
                keys = walk.shard_keys(self._keyspace, index)
            elif self._keyspace.deadlines.may_be_in(index):
                keys = [key for key, _ in self._keyspace.expiring_members(index)]
                searched += 1
            else:
                continue
            if keys:
                missing, start = wanted - len(found), self._random_below(len(keys))
                found += (keys[start:] + keys[:start])[:: max(1, len(keys) // missing)][:missing]
            if len(found) == wanted or searched == SHARDS_PER_LOOK:
                break
        return found
