"""Usual calls (`packed`) of the hot commands on strings, and MGET and MSET on the shards of a keyspace.

Of the `shards` a key's is that of the number `digest(key) % len(shards)`. They are read and written plainly. A use of a key is
noted for its whole shard: `by_shard[index] = now` (`Uses`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kvserver._speedups.choice import leaf
from kvserver._speedups.packed import Found, Request

# A run replies with no longer string: that would be copied twice.
MOST_REPLY_BYTES: Final = 4096

Digest = Callable[[bytes], int]
Shards = list[dict[bytes, Any]]

_ZERO: Final = ord("0")
_SURELY_IN_RANGE_DIGITS: Final = 18


@leaf
def get_string(entry: Any, request: Request, config: Any, most: int) -> Found:
    """GET of a plain string, or of nothing."""
    if len(request) != 2 or (entry is not None and (type(entry) is not bytes or len(entry) > MOST_REPLY_BYTES)):
        return None
    return entry, entry


@leaf
def set_string(entry: Any, request: Request, config: Any, most: int) -> Found:
    """SET without options, whatever the entry is."""
    return (True, request[2]) if len(request) == 3 else None


@leaf
def increment(entry: Any, request: Request, config: Any, most: int) -> Found:
    """INCR of nothing, or of a positive integer of 18 digits at most."""
    if len(request) != 2:
        return None
    if entry is None:
        return 1, b"1"
    if type(entry) is bytes and entry.isdigit() and entry[0] != _ZERO and len(entry) <= _SURELY_IN_RANGE_DIGITS:
        number = int(entry) + 1
        return number, b"%d" % number
    return None


@leaf
def set_pairs(shards: Shards, digest: Digest, by_shard: list[Any], now: Any, request: Request) -> None:
    """Store the words of an MSET, behind its name: keys and their values in turn."""
    count = len(shards)
    for key, value in zip(request[1::2], request[2::2], strict=True):
        index = digest(key) % count
        by_shard[index] = now
        shards[index][key] = value


@leaf
def get_values(
    shards: Shards, digest: Digest, by_shard: list[Any], now: Any, request: Request
) -> tuple[list[bytes | None], int] | None:
    """Return what an MGET finds, and the number of keys that are missing. None if an entry is neither bytes nor str.

    A str, which is a small collection, is replied to as if the key were missing, but is none of these.
    """
    count, missed = len(shards), 0
    values: list[bytes | None] = []
    for key in request[1:]:
        index = digest(key) % count
        by_shard[index] = now
        value = shards[index].get(key)
        if value is None:
            missed += 1
            values.append(None)
        elif isinstance(value, bytes):
            values.append(value)
        elif type(value) is str:
            values.append(None)
        else:
            return None
    return values, missed
