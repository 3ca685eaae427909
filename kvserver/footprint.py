"""What keys and values take of memory: an estimate of each, and a running count of all, by a witness of every write.

The estimate is of Python's objects: 33 bytes before a string's own, blocks of 16, a place in a shard's dict. It leaves
out the process itself, clients, and what a freeze holds twice for as long as it lasts. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from kvserver.keyspace import ESTIMATE_ENTRIES, SHARDS, Access, Expiring, Keyspace

SLOT_BYTES: Final = 38  # of a dict of a thousand entries, its spare places and its index included
STRING_BYTES: Final = 33 + 15  # and then down to a multiple of BLOCK_BYTES
BLOCK_BYTES: Final = 16
EXPIRY_BYTES: Final = 80  # an Expiring and its integer


def entry_bytes(key: bytes, entry: Any) -> int:
    """What a key takes with its entry."""
    return SLOT_BYTES + ((len(key) + STRING_BYTES) & -BLOCK_BYTES) + _value_bytes(entry)


def _value_bytes(entry: Any) -> int:
    if type(entry) is Expiring:
        return EXPIRY_BYTES + ((len(entry.value) + STRING_BYTES) & -BLOCK_BYTES)
    size: int = (len(entry) + STRING_BYTES) & -BLOCK_BYTES
    return size


class Footprint:
    """What all keys take. Until `measure` has been called for every shard, what those that were measured take."""

    def __init__(self, keyspace: Keyspace) -> None:
        self.used_bytes = 0
        self._keyspace = keyspace
        self._measured = 0  # shards, from the first on, whose entries are in `used_bytes`

    def restart(self) -> None:
        """All data is other data."""
        self.used_bytes = self._measured = 0

    @property
    def is_measured(self) -> bool:
        return self._measured >= SHARDS

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
        while index < SHARDS and seen < ESTIMATE_ENTRIES:
            members = keyspace.shard_members(index)
            sizes += sum(entry_bytes(key, entry) for key, entry in members)
            seen += len(members)
            index += 1
        return round(sizes * len(keyspace) / seen) if seen else 0

    def wrap(self, plain: Access) -> Access:
        """Access that counts."""
        look, put, remove = plain

        def set_(key: bytes, entry: Any) -> None:
            if hash(key) % SHARDS < self._measured:
                previous = look(key)
                if previous is None:
                    self.used_bytes += SLOT_BYTES + ((len(key) + STRING_BYTES) & -BLOCK_BYTES) + _value_bytes(entry)
                else:
                    self.used_bytes += _value_bytes(entry) - _value_bytes(previous)
            put(key, entry)

        def delete(key: bytes) -> bool:
            if hash(key) % SHARDS < self._measured:
                previous = look(key)
                if previous is not None:
                    self.used_bytes -= entry_bytes(key, previous)
            return remove(key)

        return Access(look, set_, delete)
