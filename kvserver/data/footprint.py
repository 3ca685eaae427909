"""What keys and values take of memory: an estimate of each, and a running count of all, by a witness of every write.

The estimate is of Python's objects: 33 bytes before a string's own, blocks of 16, a place in a shard's dict. It leaves
out the process itself, clients, and what a freeze holds twice for as long as it lasts. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from kvserver.data.entries import Expiring
from kvserver.data.keyspace import ESTIMATE_ENTRIES, Keyspace
from kvserver.data.shards import SHARDS, Access, placing

EMPTY_BYTES: Final = SHARDS * 64  # of the dicts of a keyspace without a key
SLOT_BYTES: Final = 38  # of a dict of a thousand entries, its spare places and its index included
STRING_BYTES: Final = 33 + 15  # and then down to a multiple of BLOCK_BYTES
BLOCK_BYTES: Final = 16
EXPIRY_BYTES: Final = 80  # an Expiring and its integer, which is a part of it where it is compiled: then it takes 56


def entry_bytes(key: bytes, entry: Any) -> int:
    """What a key takes with its entry."""
    return SLOT_BYTES + ((len(key) + STRING_BYTES) & -BLOCK_BYTES) + _value_bytes(entry)


def _value_bytes(entry: Any) -> int:
    if type(entry) is Expiring:
        return EXPIRY_BYTES + ((len(entry.value) + STRING_BYTES) & -BLOCK_BYTES)
    size: int = (len(entry) + STRING_BYTES) & -BLOCK_BYTES
    return size


class Footprint:
    """What all keys take, and an empty keyspace; until `measure` has been called for every shard, of those that were."""

    def __init__(self, keyspace: Keyspace) -> None:
        self.used_bytes = EMPTY_BYTES
        self._keyspace = keyspace
        self._measured = 0  # shards, from the first on, whose entries are in `used_bytes`

    def forget(self) -> None:
        """Nobody counts any more."""
        self.used_bytes, self._measured = EMPTY_BYTES, 0

    def restart(self) -> None:
        """Begin to count, or again since all data is other data. Of few keys, what they take is known at once."""
        self.forget()
        if len(self._keyspace) <= ESTIMATE_ENTRIES:
            while not self.is_measured:
                self.measure()

    @property
    def is_measured(self) -> bool:
        return self._measured == self._keyspace.shard_count

    def measure(self) -> None:
        """Count one more shard."""
        members = self._keyspace.shard_members(self._measured)
        self.used_bytes += sum(entry_bytes(key, entry) for key, entry in members)
        self._measured += 1

    def estimate_bytes(self) -> int:
        """What all keys take, from some thousands of them where they are many. Works without the running count."""
        if self.is_measured:
            return self.used_bytes
        keyspace, sizes = self._keyspace, 0
        seen = index = 0
        while index < keyspace.shard_count and seen < ESTIMATE_ENTRIES:
            members = keyspace.shard_members(index)
            sizes += sum(entry_bytes(key, entry) for key, entry in members)
            seen += len(members)
            index += 1
        return EMPTY_BYTES + (round(sizes * len(keyspace) / seen) if seen else 0)

    def wrap(self, plain: Access) -> Access:
        """Access that counts."""
        look, put, remove, peek = plain
        digest, count = placing()

        def set_(key: bytes, entry: Any) -> None:
            if digest(key) % count < self._measured:
                previous = peek(key)
                if previous is None:
                    self.used_bytes += SLOT_BYTES + ((len(key) + STRING_BYTES) & -BLOCK_BYTES) + _value_bytes(entry)
                else:
                    self.used_bytes += _value_bytes(entry) - _value_bytes(previous)
            put(key, entry)

        def delete(key: bytes) -> bool:
            if digest(key) % count < self._measured:
                previous = peek(key)
                if previous is not None:
                    self.used_bytes -= entry_bytes(key, previous)
            return remove(key)

        return Access(look, set_, delete, peek)
