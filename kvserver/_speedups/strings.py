"""Runs of GETs and of SETs on the shards of a keyspace that is read and written plainly.

All take `shards`, a key's being that of the number `digest(key) % len(shards)`, and `requests`, which are calls of one
command. A use of a key is noted for its whole shard: `by_shard[index] = now` (`Uses`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kvserver._speedups.choice import leaf

Digest = Callable[[bytes], int]
Shards = list[dict[bytes, Any]]
Requests = list[list[bytes]]

_CRLF: Final = b"\r\n"


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
