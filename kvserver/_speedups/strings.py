"""Runs of GETs, SETs and INCRs, MGET and MSET on the shards of a keyspace that is read and written plainly.

All take `shards`, a key's being that of the number `digest(key) % len(shards)`, and `requests`, which are calls of one
command, or a request. A use of a key is noted for its whole shard: `by_shard[index] = now` (`Uses`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kvserver._speedups.choice import leaf

Digest = Callable[[bytes], int]
Shards = list[dict[bytes, Any]]
Requests = list[list[bytes]]

_CRLF: Final = b"\r\n"
_ZERO: Final = ord("0")
_SURELY_IN_RANGE_DIGITS: Final = 18


@leaf
def get_replies(
    shards: Shards,
    digest: Digest,
    by_shard: list[Any],
    now: Any,
    requests: Requests,
    null: bytes,
    headers: list[bytes],
) -> tuple[bytes, int, int]:
    """Run GETs up to one whose value is no plain string, or a long one.

    Return the replies as they are sent, the number of calls that have run, and how many of them have found nothing: `null` is
    the reply to these. `headers` has the first lines of bulk strings by their length; a longer string is a long one.
    """
    pieces: list[bytes] = []
    count, done, missed = len(shards), 0, 0
    for request in requests:
        key = request[1]
        index = digest(key) % count
        by_shard[index] = now
        value = shards[index].get(key)
        if type(value) is bytes and len(value) < len(headers):
            pieces += (headers[len(value)], value, _CRLF)
        elif value is None:
            pieces.append(null)
            missed += 1
        else:
            break
        done += 1
    return b"".join(pieces), done, missed


@leaf
def set_all(shards: Shards, digest: Digest, by_shard: list[Any], now: Any, requests: Requests) -> None:
    """Store the third word of each request under its second word, in order."""
    count = len(shards)
    for request in requests:
        key = request[1]
        index = digest(key) % count
        by_shard[index] = now
        shards[index][key] = request[2]


@leaf
def set_pairs(shards: Shards, digest: Digest, by_shard: list[Any], now: Any, request: list[bytes]) -> None:
    """Store the words of an MSET, behind its name: keys and their values in turn."""
    count = len(shards)
    for key, value in zip(request[1::2], request[2::2], strict=True):
        index = digest(key) % count
        by_shard[index] = now
        shards[index][key] = value


@leaf
def get_values(
    shards: Shards, digest: Digest, by_shard: list[Any], now: Any, request: list[bytes]
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


@leaf
def increment_all(
    shards: Shards, digest: Digest, by_shard: list[Any], now: Any, requests: Requests, name: bytes
) -> tuple[bytes, Requests]:
    """Run INCRs up to one whose value is another one than a positive integer of 18 digits at most.

    Return the replies as they are sent, and a request of this name for each call that has run: the key and the new value.
    """
    replies: list[bytes] = []
    records: Requests = []
    count = len(shards)
    for request in requests:
        key = request[1]
        index = digest(key) % count
        by_shard[index] = now
        shard = shards[index]
        value = shard.get(key)
        if value is None:
            number = 1
        elif type(value) is bytes and value.isdigit() and value[0] != _ZERO and len(value) <= _SURELY_IN_RANGE_DIGITS:
            number = int(value) + 1
        else:
            break
        shard[key] = value = b"%d" % number
        replies.append(b":%b\r\n" % value)
        records.append([name, key, value])
    return b"".join(replies), records
