"""Members by their hash, each with a value, in chunks: dicts of some hundred members. Hashes and sets are made of it. Pure.

A table never rehashes all its members at once: it grows by linear hashing (W. Litwin, 1980), which splits one chunk at a time,
in the order of the chunks. The chunks lie in pages, of which a fork copies the list, and shares all else until one of the two
changes it. Measured: to copy a list of all chunks takes 2.5 ms at ten million members, since it touches each of them.

No place or cursor may be kept beyond the process: bytes have other hashes in each process, so that nobody can choose members
that fall into one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final, Self

from kvserver._speedups.chunks import PLACE as PLACE
from kvserver._speedups.chunks import Chunk, fill_chunks
from kvserver.containers import lazyfree

# The members of a chunk, on average, at which one more chunk is made. Measured: from 128 to 256 a member takes the same time
# and memory, but a chunk takes longer to split or to copy: with 256, at a million members in no cache, 0.4 ms, 1.4 at worst.
FULL: Final = 128
# A page has so many chunks, but for the last one.
PAGE_BITS: Final = 8
IN_PAGE: Final = (1 << PAGE_BITS) - 1
# The memory of a chunk: of its dict on average, and of the reference to it.
CHUNK_BYTES: Final = 5_100
# The memory of a bytes object beside its bytes: 33, and on average 7.5 to the next multiple of 16.
STRING_BYTES: Final = 41

_CURSOR_BITS: Final = 32
_CURSORS: Final = (1 << _CURSOR_BITS) - 1
_MISSING: Final = object()
# The bits of each byte in reverse.
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Table:
    """Members, each once, with a value each: any object. A set has None as its values.

    Nobody may change a table while it is iterated over. A `fork` may be changed meanwhile.
    """

    __slots__ = ("_chunk_count", "_count", "_high", "_mean_bytes", "_owned", "_owned_pages", "_pages")

    def __init__(self) -> None:
        self._pages: list[list[Chunk]] = [[{}]]
        self._chunk_count = 1
        self._count = 0
        # The least 2**n - 1 that is not below the index of the last chunk.
        self._high = 0
        # For each chunk 1 if no fork shares it. None: no fork was made, and nothing is shared.
        self._owned: bytearray | None = None
        # For each page 1 if no fork shares the list of its chunks.
        self._owned_pages = bytearray(b"\1")
        # The memory of a member and its value, as it was when a chunk was last split.
        self._mean_bytes = 0

    def get(self, member: bytes) -> Any | None:
        """The value of a member, or None. A member that has None as its value is told from a missing one by `in`."""
        high = self._high
        if not high:
            return self._pages[0][0].get(member)
        index = hash(member) >> PLACE & high
        if index >= self._chunk_count:
            index &= high >> 1
        return self._pages[index >> PAGE_BITS][index & IN_PAGE].get(member)

    def __contains__(self, member: bytes) -> bool:
        high = self._high
        if not high:
            return member in self._pages[0][0]
        index = hash(member) >> PLACE & high
        if index >= self._chunk_count:
            index &= high >> 1
        return member in self._pages[index >> PAGE_BITS][index & IN_PAGE]

    def set(self, member: bytes, value: Any) -> bool:
        """Give a member a value, and return True if the member is new."""
        high = self._high
        index = hash(member) >> PLACE & high if high else 0
        if index >= self._chunk_count:
            index &= high >> 1
        chunk = self._pages[index >> PAGE_BITS][index & IN_PAGE] if self._owned is None else self._own(index)
        before = len(chunk)
        chunk[member] = value
        if len(chunk) == before:
            return False
        self._count += 1
        if self._count > FULL * self._chunk_count:
            self._split()
        return True

    def delete(self, member: bytes) -> bool:
        """Remove a member, and return True if it was there."""
        high = self._high
        index = hash(member) >> PLACE & high if high else 0
        if index >= self._chunk_count:
            index &= high >> 1
        if member not in self._pages[index >> PAGE_BITS][index & IN_PAGE]:
            return False
        del self._own(index)[member]
        self._count -= 1
        if high and self._count * 4 < FULL * (self._chunk_count - 1):
            self._merge()
        return True

    def update(self, pairs: Iterable[tuple[bytes, Any]]) -> None:
        """Give members their values, in order. Each takes some microseconds: who has millions gives some hundred a call."""
        if not self._count and self._owned is None:
            self._fill(dict(pairs))
            return
        # Measured: `set` spelled out here is no faster.
        put = self.set
        for member, value in pairs:
            put(member, value)

    def _fill(self, members: Chunk) -> None:
        """Begin with these members. Measured: to make all chunks at once takes a third of the time of all splits."""
        self._count = len(members)
        self._chunk_count = count = -(-len(members) // FULL) or 1
        self._high = high = (1 << (count - 1).bit_length()) - 1
        chunks: list[Chunk] = [{} for _ in range(count)] if high else [members]
        if high:
            fill_chunks(chunks, members, hash)
        self._pages = [chunks[start : start + IN_PAGE + 1] for start in range(0, count, IN_PAGE + 1)]
        self._owned_pages = bytearray(b"\1" * len(self._pages))
        if high and chunks[-1]:
            self._mean_bytes = _contents_bytes(chunks[-1]) // len(chunks[-1])

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(chain.from_iterable(self._pages))

    def chunks(self) -> Iterator[Iterable[bytes]]:
        """The members, some hundred at a time: those of a chunk are a random sample of all."""
        return chain.from_iterable(self._pages)

    def items(self) -> Iterator[tuple[bytes, Any]]:
        """All members and their values, in the order of `iter`."""
        return chain.from_iterable(map(dict.items, chain.from_iterable(self._pages)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table) or len(self) != len(other):
            return False
        return all(member in other and other.get(member) == value for member, value in self.items())

    __hash__ = None  # type: ignore[assignment]

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
        if index >= self._chunk_count:
            index &= high >> 1
        if bits and index <= high >> 1 and index + (high >> 1) + 1 >= self._chunk_count:
            # The chunk is yet to be split, so that one bit less chooses it.
            bits -= 1
        rest = _CURSOR_BITS - bits
        return ((cursor >> rest) + 1 << rest) & _CURSORS, list(self._pages[index >> PAGE_BITS][index & IN_PAGE])

    def random(self, below: Callable[[int], int]) -> bytes:
        """A random member, all with the same chance; IndexError if there is none. `below(n)` gives one of 0 to n - 1."""
        if not self._count:
            raise IndexError("no member to choose from")
        # A chunk that is next to be split has 2 * FULL members on average. 3 * FULL are eight standard deviations more.
        most = 3 * FULL if self._high else self._count
        while True:
            # A place that no member has is drawn anew, so that members of small chunks have no better chance.
            index, place = divmod(below(self._chunk_count * most), most)
            chunk = self._pages[index >> PAGE_BITS][index & IN_PAGE]
            if place < len(chunk):
                return next(islice(chunk, place, None))

    def fork(self) -> Self:
        """An equal table, independent of this one: either of the two copies a chunk before it first changes it."""
        other = type(self).__new__(type(self))
        other._pages, other._chunk_count, other._count = self._pages.copy(), self._chunk_count, self._count
        other._high, other._mean_bytes = self._high, self._mean_bytes
        for table in (self, other):
            table._owned, table._owned_pages = bytearray(self._chunk_count), bytearray(len(self._pages))
        return other

    def size_bytes(self) -> int:
        """The memory that the table takes, with its members and those values that are bytes: an estimate in constant time.

        Beyond the first chunk, the mean size of a member with its value is taken from the chunk that was last split.
        """
        if self._high:
            return self._chunk_count * CHUNK_BYTES + self._count * self._mean_bytes
        chunk = self._pages[0][0]
        return chunk.__sizeof__() + _contents_bytes(chunk)

    def _page(self, number: int) -> list[Chunk]:
        """A page whose list of chunks may be changed."""
        if self._owned is not None and not self._owned_pages[number]:
            self._pages[number] = self._pages[number].copy()
            self._owned_pages[number] = 1
        return self._pages[number]

    def _own(self, index: int) -> Chunk:
        """A chunk that may be changed."""
        if self._owned is not None and not self._owned[index]:
            self._replace(index, self._pages[index >> PAGE_BITS][index & IN_PAGE].copy())
        return self._pages[index >> PAGE_BITS][index & IN_PAGE]

    def _replace(self, index: int, chunk: Chunk) -> None:
        """Put a chunk that nobody shares in the place of another."""
        self._page(index >> PAGE_BITS)[index & IN_PAGE] = chunk
        if self._owned is not None:
            self._owned[index] = 1

    def _split(self) -> None:
        """Make one more chunk: of the members that one more bit of the hash tells from the others of their chunk."""
        new = self._chunk_count
        if new > self._high:
            self._high = self._high * 2 + 1
        old = new & self._high >> 1
        chunk = self._pages[old >> PAGE_BITS][old & IN_PAGE]
        bit = new - old << PLACE
        moved = {member: value for member, value in chunk.items() if hash(member) & bit}
        self._replace(old, {member: value for member, value in chunk.items() if not hash(member) & bit})
        if not new & IN_PAGE:
            self._pages.append([])
            self._owned_pages.append(1)
        self._page(new >> PAGE_BITS).append(moved)
        if self._owned is not None:
            self._owned.append(1)
        self._chunk_count += 1
        if moved:
            self._mean_bytes = _contents_bytes(moved) // len(moved)

    def _merge(self) -> None:
        """Make one chunk less: put the members of the last one where they were before it was made."""
        last = self._chunk_count = self._chunk_count - 1
        old = last & self._high >> 1
        self._replace(old, self._pages[old >> PAGE_BITS][old & IN_PAGE] | self._page(last >> PAGE_BITS).pop())
        if not self._pages[-1]:
            self._pages.pop()
            self._owned_pages.pop()
        if self._owned is not None:
            self._owned.pop()
        if last - 1 <= self._high >> 1:
            self._high >>= 1

    def __del__(self) -> None:
        # At the end of the interpreter a module may have lost its names.
        if self._high and lazyfree is not None and lazyfree.free is not None:
            lazyfree.free(self._pages, _contents)


def _contents(chunk: Chunk) -> list[object]:
    return [*chunk, *chunk.values()]


def _contents_bytes(chunk: Chunk) -> int:
    """The memory that members take with those values that are bytes."""
    values = [value for value in chunk.values() if type(value) is bytes]
    return (len(chunk) + len(values)) * STRING_BYTES + sum(map(len, chunk)) + sum(map(len, values))


def _reversed(number: int) -> int:
    """The 32 bits of a number in reverse."""
    return int.from_bytes(number.to_bytes(4, "little").translate(_REVERSED), "big")
