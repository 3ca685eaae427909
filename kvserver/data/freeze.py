"""The data at one instant (`Cut`), and the writes over it from then on (`Overlay`). Pure, and never changes an entry.

A cut is what a snapshot encodes: nobody changes its shards before `Keyspace.fold`, but for their order (`Cut.reorder`).
Meanwhile writes go to a layer of further dicts, where a tombstone stands for a deletion, and reads look there first. A fold
brings the layer back into the shards, one after another, some writes at a time. The layer of a folded shard *is* the shard,
so that there is one way of reading and writing, however far the fold has come.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Any, Final

from kvserver._speedups.places import items_between
from kvserver.data.entries import Entry
from kvserver.data.shards import Access, Shard, placing, shard_of
from kvserver.data.uses import Uses


class Cut:
    """All entries of a database as they were at one instant, with the number that it had then.

    `keys_encoded` counts the entries that the snapshot has encoded so far.
    """

    def __init__(self, shards: list[Shard], orders: list[int], number: int = 0) -> None:
        self.shards = shards
        self.number = number
        self.keys_encoded = 0
        # The keyspace's own `orders`.
        self._orders = orders

    def reorder(self, index: int, ordered: Shard) -> None:
        """Put an equal dict, which has another order, in the place of a shard."""
        self.shards[index] = ordered
        self._orders[index] += 1

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def lookup(self, key: bytes) -> Entry:
        """The entry of a key. KeyError if the key is not in the cut."""
        entry: Entry = self.shards[shard_of(key)][key]
        return entry


# A step of a fold brings back so many writes.
WRITES_A_FOLD: Final = 256

TOMBSTONE: Final = object()
_MISSING: Final = object()
# The writes over a shard that was not written to. Never changed.
_NOTHING: Final[Shard] = {}


class Overlay:
    """The writes over these shards from now on."""

    def __init__(self, shards: list[Shard]) -> None:
        # For each shard that is not folded a dict of entries and TOMBSTONEs, else the shard. The first write to a shard makes
        # the dict of its own: sixteen databases are cut in one step.
        self.layer = [_NOTHING] * len(shards)
        self._shards = shards
        # For each shard that is not folded the keys that the layer adds, less the keys that it removes.
        self._growth = [0] * len(shards)

    @property
    def growth(self) -> int:
        """The number of keys less the number of those in the shards."""
        return sum(self._growth)

    def has(self, key: bytes) -> bool:
        """True if the entry of a key that is there was written since the cut, or its shard is folded: it is not frozen."""
        return key in self.layer[shard_of(key)]

    def members(self, index: int) -> Collection[tuple[bytes, Entry]]:
        """The keys and entries of a shard and of the writes over it, in the order that the folded shard will have."""
        shard, overlay = self._shards[index], self.layer[index]
        if overlay is shard or not overlay:
            return shard.items()
        merged = shard | overlay
        return [(key, entry) for key, entry in merged.items() if entry is not TOMBSTONE]

    def items_between(self, index: int, start: int, stop: int) -> list[tuple[bytes, Entry]]:
        """The keys and entries at some places of a shard's order, in which the writes over it come behind its entries.

        A place has none if its key was deleted or has another place, too.
        """
        shard, overlay = self._shards[index], self.layer[index]
        if overlay is shard:
            return items_between(shard, start, stop)
        border = len(shard)
        frozen = items_between(shard, start, stop) if start < border else ()
        later = items_between(overlay, max(0, start - border), stop - border) if stop > border else ()
        found = [(key, overlay.get(key, entry)) for key, entry in frozen]
        found += [(key, entry) for key, entry in later if key not in shard]
        return [(key, entry) for key, entry in found if entry is not TOMBSTONE]

    def unfolded(self) -> list[Shard]:
        """The dicts with writes that no shard has taken over yet."""
        return [overlay for overlay, shard in zip(self.layer, self._shards, strict=True) if overlay and overlay is not shard]

    def fold(self, index: int) -> bool:
        """Bring some of the writes over a shard back into it, in their order. Return True when it has them all."""
        shard, overlay = self._shards[index], self.layer[index]
        if overlay is shard:
            return True
        if len(overlay) <= WRITES_A_FOLD:
            self.layer[index] = shard
            self._growth[index] = 0
            for key, entry in overlay.items():
                if entry is TOMBSTONE:
                    del shard[key]
                else:
                    shard[key] = entry
            return True
        for key in list(islice(overlay, WRITES_A_FOLD)):
            entry = overlay.pop(key)
            before = len(shard)
            if entry is TOMBSTONE:
                del shard[key]
            else:
                shard[key] = entry
            self._growth[index] -= len(shard) - before
        return False

    def access(self, uses: Uses) -> Access:
        """Access through the layer."""
        # Measured: closures save the attribute look-ups of a method on the path of every GET and SET.
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
                if not overlay:
                    overlay = layer[index] = {}
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
                if not overlay:
                    overlay = layer[index] = {}
                overlay[key] = TOMBSTONE
            else:
                del overlay[key]
            growth[index] -= 1
            return True

        return Access(get, set_, delete, peek)
