"""Long collections of RDB files, read some hundred members at a time. Pure.

The bodies are those of `rdb_collections`, of the types that are a count and what comes so often. What Redis keeps in one
block, a listpack or an intset, is no long one. Whoever makes a value of the chunks looks if a member comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import isnan
from typing import Any, Final

from kvserver.errors import DumpInvalid
from kvserver.formats.rdb import BAD_FORMAT, Reader
from kvserver.formats.rdb_collections import (
    DOUBLE,
    HASH,
    HASH_METADATA,
    HASH_METADATA_PRE_GA,
    LIST,
    LIST_QUICKLIST,
    LIST_QUICKLIST_2,
    SET,
    ZSET_2,
    check_expiry,
    read_base_ms,
    read_node,
)

Body = bytes | bytearray
# The types of long collections.
LONG_LISTS: Final = (LIST, LIST_QUICKLIST, LIST_QUICKLIST_2)
LONG_SETS: Final = (SET,)
LONG_ZSETS: Final = (ZSET_2,)
LONG_HASHES: Final = (HASH, HASH_METADATA, HASH_METADATA_PRE_GA)
# So many strings make a chunk: some dozens of microseconds.
_STRINGS: Final = 128


def list_chunks(dump_type: int, body: Body, max_bytes: int) -> Iterator[list[bytes]]:
    """Yield the elements of a list, in order, whose type is one of LONG_LISTS. DumpInvalid where the body is none.

    No compressed string in it may have more than `max_bytes` bytes. A node of a quicklist is a chunk.
    """
    reader = Reader(body)
    if dump_type == LIST:
        yield from _chunks(reader, b"s", max_bytes)
        return
    for _ in range(reader.length()):
        yield read_node(dump_type, reader, max_bytes)
    reader.end()


def set_chunks(body: Body, max_bytes: int) -> Iterator[list[bytes]]:
    """Yield the members of a SET, in the order of the body. DumpInvalid as for a list."""
    return _chunks(Reader(body), b"s", max_bytes)


def zset_chunks(body: Body, max_bytes: int) -> Iterator[tuple[list[bytes], list[float]]]:
    """Yield the members of a ZSET_2 and their scores, in the order of the body. DumpInvalid as for a list."""
    for items in _chunks(Reader(body), b"s8", max_bytes):
        scores = list(chain.from_iterable(DOUBLE.iter_unpack(b"".join(items[1::2]))))
        if any(map(isnan, scores)):
            raise DumpInvalid(BAD_FORMAT)
        yield items[::2], scores


def hash_chunks(dump_type: int, body: Body, max_bytes: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield the fields and values of a HASH, the type without expiries, in the order of the body.

    DumpInvalid as for a list.
    """
    for items in _chunks(Reader(body), b"ss", max_bytes):
        yield list(zip(items[::2], items[1::2], strict=True))


def expiring_hash_chunks(dump_type: int, body: Body, max_bytes: int) -> Iterator[list[tuple[bytes, bytes, int | None]]]:
    """Yield the fields of a hash, their values, and when each expires: in Unix milliseconds, which may have passed, or None.

    Its type is one of LONG_HASHES, but for HASH. DumpInvalid as for a list.
    """
    reader = Reader(body)
    base_ms = read_base_ms(dump_type, reader)
    for items in _chunks(reader, b"nss", max_bytes):
        times = [check_expiry(time_ms + base_ms) if time_ms else None for time_ms in items[::3]]
        yield list(zip(items[1::3], items[2::3], times, strict=True))


def _chunks(reader: Reader, shape: bytes, max_bytes: int) -> Iterator[list[Any]]:
    """What stands in a shape, as often as the count before it says. DumpInvalid also if anything is behind that."""
    left, most = reader.length(), _STRINGS // len(shape)
    while left:
        rounds = min(left, most)
        yield reader.items(shape, rounds, max_bytes)
        left -= rounds
    reader.end()
