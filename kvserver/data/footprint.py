"""The memory that keys and values take: an estimate for each entry, and a running count of all, which sees every write.

The estimate is of Python's objects: 33 bytes before those of a string, blocks of 16, a place in a shard's dict. It leaves out
the process itself, the clients, and the second copies that a freeze has for as long as it lasts. A value that is no string
is estimated by its kind. Pure; changes no entry.
"""

from __future__ import annotations

from typing import Any, Final

from kvserver.data.entries import Entry, Expiring
from kvserver.data.keyspace import ESTIMATE_ENTRIES, Keyspace
from kvserver.data.kinds import is_changed_in_place, kind_of
from kvserver.data.shards import SHARDS, Access, placing

# The dicts of a keyspace without a key.
EMPTY_BYTES: Final = SHARDS * 64
# An entry of a dict of a thousand entries, with its share of the spare places and of the index.
SLOT_BYTES: Final = 38
# A string's own bytes come to these, and the sum is rounded down to a multiple of BLOCK_BYTES.
STRING_BYTES: Final = 33 + 15
BLOCK_BYTES: Final = 16
# A step of measuring counts so many keys.
KEYS_A_STEP: Final = 512
# An Expiring and its integer. The compiled one holds the integer itself, and takes 56.
EXPIRY_BYTES: Final = 80


def bytes_size(length: int) -> int:
    """The memory, in bytes, that a bytes object of this length takes."""
    return (length + STRING_BYTES) & -BLOCK_BYTES


def entry_bytes(key: bytes, entry: Entry) -> int:
    """The memory, in bytes, that a key takes with its entry, and its place in a dict. KeyError for a value of no kind."""
    return SLOT_BYTES + ((len(key) + STRING_BYTES) & -BLOCK_BYTES) + _entry_size(entry)


def _entry_size(entry: Entry) -> int:
    # Measured: with a limit, each SET asks twice.
    if type(entry) is bytes:
        return (len(entry) + STRING_BYTES) & -BLOCK_BYTES
    if type(entry) is Expiring:
        return EXPIRY_BYTES + _entry_size(entry.value)
    return kind_of(entry).size_bytes(entry)


class Footprint:
    """The running count of the bytes that a keyspace takes: `used_bytes`, of the empty keyspace and of all its keys.

    Until `measure` has come to the end of the last shard, it counts only what was measured.
    """

    def __init__(self, keyspace: Keyspace) -> None:
        self.used_bytes = EMPTY_BYTES
        self._keyspace = keyspace
        # The number of shards, from the first on, that were measured. Of the next one so many places are left, in the order
        # that it had another one before so many times, and these keys were counted; 0 places if it was not begun.
        self._measured = self._left = self._order = 0
        self._seen: set[bytes] = set()
        # The bytes that were counted of each value that is changed in place, by key: it can't be asked how long it was.
        self._counted: dict[bytes, int] = {}

    def forget(self) -> None:
        """Count nothing, as before the first `restart`."""
        self.used_bytes, self._counted = EMPTY_BYTES, {}
        self._measured = self._left = 0
        self._seen = set()

    def restart(self) -> None:
        """Begin to count, or begin again for other data. A small keyspace is measured at once."""
        self.forget()
        if len(self._keyspace) <= ESTIMATE_ENTRIES:
            while not self.is_measured:
                self.measure()

    @property
    def is_measured(self) -> bool:
        """True if all shards were measured."""
        return self._measured == self._keyspace.shard_count

    def measure(self) -> None:
        """Count some more keys of a shard, which is gone through from its end to its front, as SCAN does it."""
        keyspace, index = self._keyspace, self._measured
        stop, order = keyspace.shard_length(index), keyspace.orders[index]
        if self._left and self._order == order:
            stop = min(stop, self._left)
        start = max(0, stop - KEYS_A_STEP)
        for key, entry in keyspace.members_between(index, start, stop):
            if key not in self._seen:
                self.used_bytes += entry_bytes(key, entry)
                self._note(key, entry)
                self._seen.add(key)
        self._left, self._order = start, order
        if not start:
            self._measured += 1
            self._seen = set()

    def estimate_bytes(self) -> int:
        """The bytes that all keys take. Without a running count they are estimated from some thousands of the keys."""
        if self.is_measured:
            return self.used_bytes
        sizes = seen = 0
        for members in self._keyspace.sample():
            sizes += sum(entry_bytes(key, entry) for key, entry in members)
            seen += len(members)
        return EMPTY_BYTES + (round(sizes * len(self._keyspace) / seen) if seen else 0)

    def _note(self, key: bytes, entry: Entry) -> None:
        """Note what was counted of the entry, if its value is changed in place."""
        if type(entry) is not bytes:
            value = entry.value if type(entry) is Expiring else entry
            if is_changed_in_place(value):
                self._counted[key] = _entry_size(entry)

    def wrap(self, plain: Access) -> Access:
        """An access that does what `plain` does, and counts what that changes in the shards that were measured."""
        look, put, remove, peek = plain
        digest, count = placing()

        def counted(key: bytes, entry: Entry) -> int:
            if type(entry) is bytes:
                return (len(entry) + STRING_BYTES) & -BLOCK_BYTES
            size = self._counted.pop(key, None)
            return _entry_size(entry) if size is None else size

        def set_(key: bytes, entry: Any) -> None:
            place, measured = digest(key) % count, self._measured
            if place < measured or (place == measured and self._left):
                previous = peek(key)
                if previous is None:
                    self.used_bytes += SLOT_BYTES + ((len(key) + STRING_BYTES) & -BLOCK_BYTES) + _entry_size(entry)
                    self._note(key, entry)
                    if place == measured:
                        self._seen.add(key)
                elif place < measured or key in self._seen:
                    self.used_bytes += _entry_size(entry) - counted(key, previous)
                    self._note(key, entry)
            put(key, entry)

        def delete(key: bytes) -> bool:
            place, measured = digest(key) % count, self._measured
            if place < measured or (place == measured and key in self._seen):
                previous = peek(key)
                if previous is not None:
                    self.used_bytes -= SLOT_BYTES + ((len(key) + STRING_BYTES) & -BLOCK_BYTES) + counted(key, previous)
                    self._seen.discard(key)
            return remove(key)

        return Access(look, set_, delete, peek)
