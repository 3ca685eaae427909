"""The choice of the key that goes when memory is short: Redis's policies, by samples and a pool of the best candidates. Pure.

Redis looks at `maxmemory-samples` keys for each key that it evicts. Here as many keys are looked at on the whole, but those
for a batch of victims at once, mostly in one shard: to reach a key within a dict takes a walk past the keys before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from operator import itemgetter
from typing import Final

from kvserver.data import walk
from kvserver.data.clocks import Clocks
from kvserver.data.databases import Databases
from kvserver.data.entries import Expiring
from kvserver.data.keyspace import Keyspace

# So many keys are evicted after each look at a shard.
BATCH_KEYS: Final = 16
# The pool keeps so many candidates.
POOL_KEYS: Final = 32
# A look searches so many shards for keys with an expiry, and so many keys; then the next look goes on.
SHARDS_PER_LOOK: Final = 32
KEYS_PER_LOOK: Final = 4_096
# A shard of more keys is not looked at as a whole: those with an expiry are looked for among so many, and others come from
# PLACES that are spread all over it.
KEYS_AT_ONCE: Final = 2_048
PLACES: Final = 8


class Eviction:
    """The choice of victims by a policy other than noeviction. `clocks_of` gives the clocks of an LRU or LFU policy."""

    def __init__(
        self,
        databases: Databases,
        policy: str,
        clocks_of: Callable[[Keyspace], Clocks | None],
        samples: int,
        random_below: Callable[[int], int],
    ) -> None:
        self._databases = databases
        self._is_volatile = policy.startswith("volatile-")
        self._by_time = policy == "volatile-ttl"
        self._clocks_of = clocks_of
        self._samples = 1 if policy.endswith("-random") else samples
        self._random_below = random_below
        # The candidates, each a score, the number of its database and a key. The best one is the last.
        self._pool: list[tuple[int, int, bytes]] = []
        # The number of victims that are still taken from the pool before the next look.
        self._left = 0

    @property
    def has_candidates(self) -> bool:
        """True if there may be a key that the policy lets go."""
        return any(map(self._may_have_some, self._databases))

    def _may_have_some(self, keyspace: Keyspace) -> bool:
        return keyspace.deadlines.has_any if self._is_volatile else len(keyspace) > 0

    def victim(self) -> tuple[Keyspace, bytes] | None:
        """The keyspace and the key that is to go next, or None if a look at some of the keys found no candidate."""
        while True:
            if not (self._left and self._pool):
                self._fill()
                self._left = BATCH_KEYS
            if not self._pool:
                return None
            score, number, key = self._pool.pop()
            keyspace = self._databases[number]
            # The key may have gone, lost its expiry or been used since the look at it.
            entry = keyspace.peek(key)
            is_candidate = type(entry) is Expiring if self._is_volatile else entry is not None
            if is_candidate and self._score(keyspace, key, entry) >= score:
                self._left -= 1
                return keyspace, key

    def _score(self, keyspace: Keyspace, key: bytes, entry: object) -> int:
        clocks = self._clocks_of(keyspace)
        if clocks:
            return clocks.score(key)
        return -entry.expires_at_ms if self._by_time and isinstance(entry, Expiring) else 0

    def _fill(self) -> None:
        """Look at some keys of a database, and keep the best candidates in the pool."""
        keyspace = self._keyspace_to_look_at()
        if keyspace is None:
            return
        candidates = {(number, key): score for score, number, key in self._pool}
        for key in self._sample(keyspace, self._samples * BATCH_KEYS):
            candidates[keyspace.number, key] = self._score(keyspace, key, keyspace.peek(key))
        found = [(score, *place) for place, score in candidates.items()]
        # Of equal ones the last goes first. Those of this database are the last, whatever its number is.
        found.sort(key=itemgetter(0))
        self._pool = found[-POOL_KEYS:]

    def _keyspace_to_look_at(self) -> Keyspace | None:
        """A database that may have a candidate: each key has the same chance that it is looked at. None if none has any."""
        keyspaces = list(filter(self._may_have_some, self._databases))
        if len(keyspaces) < 2:
            return keyspaces[0] if keyspaces else None
        ends = list(accumulate(map(len, keyspaces)))
        return keyspaces[bisect_right(ends, self._random_below(ends[-1]))] if ends[-1] else None

    def _sample(self, keyspace: Keyspace, wanted: int) -> list[bytes]:
        """Up to `wanted` keys of a keyspace that may go, from a random shard on, of as many shards as it takes.

        Those of a big shard are spread all over it.
        """
        shards = keyspace.shard_count
        first = self._random_below(shards)
        found: list[bytes] = []
        searched = searched_keys = 0
        for index in (*range(first, shards), *range(first)):
            missing = wanted - len(found)
            if not self._is_volatile:
                found += self._keys_of(keyspace, index, missing)
            elif keyspace.deadlines.may_be_in(index):
                found += self._spread(self._expiring_keys_of(keyspace, index), missing)
                searched += 1
                searched_keys += min(keyspace.shard_length(index), KEYS_AT_ONCE)
            if len(found) == wanted or searched == SHARDS_PER_LOOK or searched_keys >= KEYS_PER_LOOK:
                break
        return found

    def _keys_of(self, keyspace: Keyspace, index: int, wanted: int) -> list[bytes]:
        """Up to `wanted` keys of a shard."""
        length = keyspace.shard_length(index)
        if length <= KEYS_AT_ONCE:
            return self._spread(walk.shard_keys(keyspace, index), wanted)
        first, count = self._random_below(length), -(-wanted // PLACES)
        starts = [(first + length * number // PLACES) % length for number in range(PLACES)]
        return [key for start in starts for key in walk.keys_at(keyspace, index, start, start + count)][:wanted]

    def _expiring_keys_of(self, keyspace: Keyspace, index: int) -> list[bytes]:
        """The keys of a shard that have an expiry; of a big one those that stand together from a random place on."""
        length = keyspace.shard_length(index)
        if length <= KEYS_AT_ONCE:
            return [key for key, _ in keyspace.expiring_members(index)]
        start = self._random_below(length)
        members = keyspace.members_between(index, start, start + KEYS_AT_ONCE)
        # What is behind the end is in front.
        members += keyspace.members_between(index, 0, max(0, start + KEYS_AT_ONCE - length))
        keys = [key for key, entry in members if type(entry) is Expiring]
        if not keys:
            keyspace.deadlines.doubt(index)
        return keys

    def _spread(self, keys: list[bytes], wanted: int) -> list[bytes]:
        """Up to `wanted` of these keys, from a random one on."""
        if not keys:
            return []
        start = self._random_below(len(keys))
        return (keys[start:] + keys[:start])[:: max(1, len(keys) // wanted)][:wanted]
