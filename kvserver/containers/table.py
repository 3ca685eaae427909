"""Members by their hash, each with a value, in chunks: dicts of some hundred members. Hashes and sets are made of it. Pure.

A table never rehashes all its members at once: it grows by linear hashing (W. Litwin, 1980), which splits one chunk at a time,
in the order of the chunks. A fork of a table shares the chunks with it until one of the two changes them.

No place or cursor may be kept beyond the process: bytes have other hashes in each process, so that nobody can choose members
that fall into one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from kvserver.containers import lazyfree

# The members of a chunk, on average, at which one more chunk is made. Measured: from 128 to 256 a member takes the same time
# and memory. The fewer chunks there are, the shorter is a fork, and the longer it takes to split or to copy one: with 256, at
# a million members that are in no cache, 0.4 ms, and 1.4 at worst.
FULL: Final = 170
# The bits of a hash from this one on choose the chunk. A dict places its members by the lower ones.
PLACE: Final = 32
# The memory of a chunk: of its dict on average, and of the reference to it.
CHUNK_BYTES: Final = 6_600
# The memory of a bytes object beside its bytes: 33, and on average 7.5 to the next multiple of 16.
STRING_BYTES: Final = 41

_CURSOR_BITS: Final = 32
_CURSORS: Final = (1 << _CURSOR_BITS) - 1
_MISSING: Final = object()
# The bits of each byte in reverse.
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

Chunk = dict[bytes, Any]


class Table:
    """Members, each once, with a value each: any object. A set has None as its values.

    Nobody may change a table while it is iterated over. A `fork` may be changed meanwhile.
    """

    __slots__ = ("_chunks", "_count", "_high", "_mean_bytes", "_owned")

    def __init__(self) -> None:
        self._chunks: list[Chunk] = [{}]
        self._count = 0
        # The least 2**n - 1 that is not below the index of the last chunk.
        self._high = 0
        # For each chunk 1 if no fork shares it. None: no fork was made, and no chunk is shared.
        self._owned: bytearray | None = None
        # The memory of a member and its value, as it was when a chunk was last split.
        self._mean_bytes = 0

    def get(self, member: bytes) -> Any | None:
        """The value of a member, or None. A member that has None as its value is told from a missing one by `in`."""
        high = self._high
        if not high:
            return self._chunks[0].get(member)
        chunks = self._chunks
        index = hash(member) >> PLACE & high
        return chunks[index if index < len(chunks) else index & high >> 1].get(member)

    def __contains__(self, member: bytes) -> bool:
        high = self._high
        if not high:
            return member in self._chunks[0]
        chunks = self._chunks
        index = hash(member) >> PLACE & high
        return member in chunks[index if index < len(chunks) else index & high >> 1]

    def set(self, member: bytes, value: Any) -> bool:
        """Give a member a value, and return True if the member is new."""
        chunks, high = self._chunks, self._high
        index = hash(member) >> PLACE & high if high else 0
        if index >= len(chunks):
            index &= high >> 1
        chunk = chunks[index] if self._owned is None else self._own(index)
        before = len(chunk)
        chunk[member] = value
        if len(chunk) == before:
            return False
        self._count += 1
        if self._count > FULL * len(chunks):
            self._split()
        return True

    def delete(self, member: bytes) -> bool:
        """Remove a member, and return True if it was there."""
        chunks, high = self._chunks, self._high
        index = hash(member) >> PLACE & high if high else 0
        if index >= len(chunks):
            index &= high >> 1
        if member not in chunks[index]:
            return False
        del self._own(index)[member]
        self._count -= 1
        if high and self._count * 4 < FULL * (len(chunks) - 1):
            self._merge()
        return True

    def update(self, pairs: Iterable[tuple[bytes, Any]]) -> None:
        """Give members their values, in order. Each takes some microseconds: who has millions gives some hundred a call."""
        # Measured: `set` spelled out here is no faster.
        put = self.set
        for member, value in pairs:
            put(member, value)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._chunks)

    def items(self) -> Iterator[tuple[bytes, Any]]:
        """All members and their values, in the order of `iter`."""
        return chain.from_iterable(map(dict.items, self._chunks))

    def scan(self, cursor: int) -> tuple[int, list[bytes]]:
        """The members of the chunk at a cursor, some hundred at most, and the next cursor; 0 begins, and is given at the end.

        A member that stays from the first call to the last is given, whatever else changes meanwhile; one may be given twice.
        Any number is taken as a cursor. As in Redis, the chunks follow in the order of the bits of their indices in reverse:
        a chunk and those that it is split into lie side by side in it.
        """
        cursor &= _CURSORS
        high = self._high
        bits = high.bit_length()
        index = _reversed(cursor) & high
        if index >= len(self._chunks):
            index &= high >> 1
        if bits and index <= high >> 1 and index + (high >> 1) + 1 >= len(self._chunks):
            # The chunk is yet to be split, so that one bit less chooses it.
            bits -= 1
        rest = _CURSOR_BITS - bits
        return ((cursor >> rest) + 1 << rest) & _CURSORS, list(self._chunks[index])

    def random(self, below: Callable[[int], int]) -> bytes:
        """A random member, all with the same chance; IndexError if there is none. `below(n)` gives one of 0 to n - 1."""
        chunks = self._chunks
        if not self._count:
            raise IndexError("no member to choose from")
        # A chunk that is next to be split has 2 * FULL members on average. 3 * FULL are nine standard deviations more.
        most = 3 * FULL if self._high else self._count
        while True:
            # A place that no member has is drawn anew, so that members of small chunks have no better chance.
            index, place = divmod(below(len(chunks) * most), most)
            if place < len(chunks[index]):
                return next(islice(chunks[index], place, None))

    def fork(self) -> Table:
        """An equal table, independent of this one: either of the two copies a chunk before it first changes it."""
        other = Table.__new__(Table)
        other._chunks, other._count, other._high = self._chunks.copy(), self._count, self._high
        other._mean_bytes = self._mean_bytes
        self._owned = bytearray(len(self._chunks))
        other._owned = bytearray(len(self._chunks))
        return other

    def size_bytes(self) -> int:
        """The memory that the table takes, with its members and those values that are bytes: an estimate in constant time.

        Beyond the first chunk, the mean size of a member with its value is taken from the chunk that was last split.
        """
        if self._high:
            return len(self._chunks) * CHUNK_BYTES + self._count * self._mean_bytes
        chunk = self._chunks[0]
        return chunk.__sizeof__() + _contents_bytes(chunk)

    def _own(self, index: int) -> Chunk:
        """A chunk that may be changed."""
        owned = self._owned
        if owned is not None and not owned[index]:
            self._chunks[index] = self._chunks[index].copy()
            owned[index] = 1
        return self._chunks[index]

    def _split(self) -> None:
        """Make one more chunk: of the members that one more bit of the hash tells from the others of their chunk."""
        chunks, owned = self._chunks, self._owned
        new = len(chunks)
        if new > self._high:
            self._high = self._high * 2 + 1
        old = new & self._high >> 1
        chunk = chunks[old]
        bit = new - old << PLACE
        moved = {member: value for member, value in chunk.items() if hash(member) & bit}
        chunks.append(moved)
        chunks[old] = {member: value for member, value in chunk.items() if not hash(member) & bit}
        if moved:
            self._mean_bytes = _contents_bytes(moved) // len(moved)
        if owned is not None:
            owned.append(1)
            owned[old] = 1

    def _merge(self) -> None:
        """Make one chunk less: put the members of the last one where they were before it was made."""
        chunks, owned = self._chunks, self._owned
        last = chunks.pop()
        old = len(chunks) & self._high >> 1
        chunks[old] = chunks[old] | last
        if owned is not None:
            owned.pop()
            owned[old] = 1
        if len(chunks) - 1 <= self._high >> 1:
            self._high >>= 1

    def __del__(self) -> None:
        # At the end of the interpreter a module may have lost its names.
        if self._high and lazyfree is not None and lazyfree.free is not None:
            lazyfree.free(self._chunks, _contents)


def _contents(chunk: Chunk) -> list[object]:
    return [*chunk, *chunk.values()]


def _contents_bytes(chunk: Chunk) -> int:
    """The memory that members take with those values that are bytes."""
    values = [value for value in chunk.values() if type(value) is bytes]
    return (len(chunk) + len(values)) * STRING_BYTES + sum(map(len, chunk)) + sum(map(len, values))


def _reversed(number: int) -> int:
    """The 32 bits of a number in reverse."""
    return int.from_bytes(number.to_bytes(4, "little").translate(_REVERSED), "big")
