"""Long values of RDB files, in pieces that take a short time each. Pure.

Not all of them have the type that DUMP gives: a quicklist tells how many nodes it has before the first one, which is known
when all of it was walked through. So a long list has the type that needs no nodes; whoever loads it makes the same of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from kvserver._speedups.rdb_strings import write_length, write_strings
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.rdb_collections import HASH, HASH_METADATA, ZSET_2, expiring_head, expiring_part, pair_part

# A piece has so many parts that take some hundred nanoseconds each.
_PARTS: Final = 256


def _groups(strings: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the same strings in groups that make a piece each."""
    gathered: list[bytes] = []
    length = 0
    for string in strings:
        gathered.append(string)
        length += len(string)
        if length >= PIECE_BYTES or len(gathered) >= _PARTS:
            yield gathered
            gathered, length = [], 0
    yield gathered


def in_pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces: some hundred parts each, or some thousand bytes."""
    return map(b"".join, _groups(parts))


def strings_in_pieces(dump_type: int, count: int, strings: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the type and the body of a collection that is a count and strings, each or several of them a member."""
    yield bytes((dump_type,)) + write_length(count)
    for some in _groups(strings):
        yield write_strings(b"", 1, some)


def hash_in_pieces(count: int, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Yield the type and the body of a hash."""
    return strings_in_pieces(HASH, count, chain.from_iterable(pairs))


def expiring_hash_in_pieces(
    count: int, earliest_ms: int, fields: Iterable[tuple[bytes, bytes, int | None]]
) -> Iterator[bytes]:
    """Yield the type and the body of a hash some of whose fields expire, the first at `earliest_ms` (Unix time)."""
    yield expiring_head(HASH_METADATA, earliest_ms) + write_length(count)
    yield from in_pieces(expiring_part(field, earliest_ms) for field in fields)


def zset_in_pieces(count: int, pairs: Iterable[tuple[bytes, float]]) -> Iterator[bytes]:
    """Yield the type and the body of a sorted set, the greatest member first, as Redis does."""
    yield bytes((ZSET_2,)) + write_length(count)
    yield from in_pieces(map(pair_part, pairs))


def string_in_pieces(head: bytes, string: bytes) -> Iterator[bytes]:
    """Yield what stands before a long string, and the string."""
    yield head + write_length(len(string))
    for start in range(0, len(string), PIECE_BYTES):
        yield string[start : start + PIECE_BYTES]
