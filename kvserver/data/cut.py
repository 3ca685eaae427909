"""The state of a keyspace at one instant, for whoever encodes it. Pure, and never changes an entry.

Nobody changes its shards until the keyspace has been told to fold it (`Keyspace.fold`).
"""

from __future__ import annotations

from kvserver.data.entries import Entry
from kvserver.data.shards import Shard, shard_of


class Cut:
    """All entries as they were at `at_ms` (Unix time). Whoever encodes them may give a shard another order (`reorder`)."""

    def __init__(self, shards: list[Shard], orders: list[int], at_ms: int) -> None:
        self.shards = shards
        self.at_ms = at_ms
        self.keys_encoded = 0  # so far
        self._orders = orders  # see Keyspace

    def reorder(self, index: int, ordered: Shard) -> None:
        """Put an equal dict of another order in the place of a shard."""
        self.shards[index] = ordered
        self._orders[index] += 1

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def lookup(self, key: bytes) -> Entry:
        """The entry of a key that is in the cut. KeyError elsewhere."""
        entry: Entry = self.shards[shard_of(key)][key]
        return entry
