"""The data at one instant, and what is written over it meanwhile. Pure, and never changes an entry.

`Cut` is the state of a keyspace at one instant, for whoever encodes it: nobody changes its shards until the keyspace has
been told to fold it (`Keyspace.fold`). `Overlay` is what is written from then on, until it is folded back into the shards,
one after another: writes go to a layer of further dicts, where a deletion is a tombstone, and reads look there first. The
layer of a folded shard *is* the shard, so that all reading and writing knows just this one way, however far a fold has
come. A frozen shard is never changed before it is folded, but for its order (`Cut.reorder`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from kvserver.data.entries import Entry
from kvserver.data.shards import Access, Shard, new_shards, placing, shard_of
from kvserver.data.uses import Uses


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


TOMBSTONE: Final = object()
_MISSING: Final = object()


class Overlay:
    """What is written over these shards from now on."""

    def __init__(self, shards: list[Shard]) -> None:
        self.layer = new_shards()  # of an unfolded shard: Entry or TOMBSTONE
        self._shards = shards
        self._growth = [0] * len(shards)  # keys that the layer adds to an unfolded shard, less those it takes away

    @property
    def growth(self) -> int:
        """How many keys more there are than in the shards."""
        return sum(self._growth)

    def members(self, index: int) -> Collection[tuple[bytes, Entry]]:
        """The keys and entries of one shard with what was written over it, in the order that they will have."""
        shard, overlay = self._shards[index], self.layer[index]
        if overlay is shard or not overlay:
            return shard.items()
        merged = shard | overlay
        return [(key, entry) for key, entry in merged.items() if entry is not TOMBSTONE]

    def unfolded(self) -> list[Shard]:
        """The dicts that no shard has taken over yet."""
        return [overlay for overlay, shard in zip(self.layer, self._shards, strict=True) if overlay is not shard]

    def fold(self, index: int) -> bool:
        """Bring back what was written over one shard; whether anything was."""
        shard, overlay = self._shards[index], self.layer[index]
        for key, entry in overlay.items():
            if entry is TOMBSTONE:
                del shard[key]
            else:
                shard[key] = entry
        self.layer[index] = shard
        self._growth[index] = 0
        return len(overlay) > 0

    def access(self, uses: Uses) -> Access:
        """Reading and writing through the layer."""
        shards, layer, growth = self._shards, self.layer, self._growth
        digest, count = placing()
        places = uses.places
        place_count = len(places)

        def get(key: bytes) -> Any:
            places[digest(key) % place_count] = uses.now_ms
            return peek(key)

        def peek(key: bytes) -> Any:
            index = digest(key) % count
            entry = layer[index].get(key, _MISSING)
            if entry is _MISSING:
                return shards[index].get(key)
            return None if entry is TOMBSTONE else entry

        def set_(key: bytes, entry: Any) -> None:
            places[digest(key) % place_count] = uses.now_ms
            index = digest(key) % count
            overlay, shard = layer[index], shards[index]
            if overlay is not shard:
                previous = overlay.get(key, _MISSING)
                if previous is TOMBSTONE or (previous is _MISSING and key not in shard):
                    growth[index] += 1
            overlay[key] = entry

        def delete(key: bytes) -> bool:
            index = digest(key) % count
            overlay, shard = layer[index], shards[index]
            if overlay is shard:
                return shard.pop(key, _MISSING) is not _MISSING
            was_there = overlay.get(key, _MISSING)
            if was_there is TOMBSTONE or (was_there is _MISSING and key not in shard):
                return False
            if key in shard:
                overlay[key] = TOMBSTONE
            else:
                del overlay[key]
            growth[index] -= 1
            return True

        return Access(get, set_, delete, peek)
