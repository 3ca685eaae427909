"""Ways through the keys of a keyspace that other commands run between: SCAN's cursor, all keys, a random key. Pure.

A cursor is a shard and how many of its entries, from the front, have not been looked at: `left * shards + shard`, where
0 stands for a shard that was not begun. Where one was begun, the bits above say how often it had been given another
order (`Cut.reorder`) by then: if that has happened since, the shard is begun again. A shard is walked from its end to
its front. What a shard was frozen as comes first in its order, and what was written over it since comes behind, until a
fold has put it there. So, whatever else happens, a key that stays never gets further from the front: one that was not
looked at is among the `left` first until it is. What was looked at may move there, too, and be given twice, as with Redis.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate, islice
from operator import add
from typing import Final

from kvserver.data.entries import Expiring
from kvserver.data.freeze import TOMBSTONE
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import Shard

_ORDER: Final = 1 << 32
_ORDERS: Final = 1 << 31
_TRIES: Final = 100  # to meet a key by chance, before looking for one in order


def scan(keyspace: Keyspace, cursor: int, count: int) -> tuple[int, list[bytes]]:
    """Look at about `count` keys (at least 1) from a cursor on: the next cursor, 0 at the end, and the keys.

    A cursor of 0 begins; any number is taken. Keys whose time has come are among them.
    """
    shards, overlays = keyspace.layers
    orders, place = divmod(cursor, _ORDER)
    left, index = divmod(place, len(shards))
    if orders != keyspace.orders[index] % _ORDERS:
        left = 0
    keys: list[bytes] = []
    while index < len(shards) and count > 0:
        length = _length(shards[index], overlays[index])
        stop = min(left, length) if left else length
        start = max(0, stop - count)
        if stop:
            keys += _slice(shards[index], overlays[index], start, stop)
            count -= stop - start
            if start:
                return keyspace.orders[index] % _ORDERS * _ORDER + start * len(shards) + index, keys
        left = 0
        index += 1
    return index % len(shards), keys


def all_keys(keyspace: Keyspace) -> Iterator[list[bytes]]:
    """All keys, a shard's at a time, those whose time has come as well. Nobody may write meanwhile."""
    return (shard_keys(keyspace, index) for index in range(keyspace.shard_count))


def shard_keys(keyspace: Keyspace, index: int) -> list[bytes]:
    """All keys of one shard, as `all_keys` gives them."""
    shard, overlay = (layer[index] for layer in keyspace.layers)
    return _slice(shard, overlay, 0, _length(shard, overlay))


def random_key(keyspace: Keyspace, random_below: Callable[[int], int]) -> bytes | None:
    """A key that is alive, each with the same chance, or None where there is none. Removes those it meets that are not."""
    shards, overlays = keyspace.layers
    # A shard that is folded already is counted twice: the places behind its end give none.
    lengths = map(len, shards) if overlays is shards else map(add, map(len, shards), map(len, overlays))
    ends = list(accumulate(lengths))
    if not ends[-1]:
        return None
    for _ in range(_TRIES):
        target = random_below(ends[-1])
        index = bisect_right(ends, target)
        position = target - (ends[index - 1] if index else 0)
        for key in _slice(shards[index], overlays[index], position, position + 1):
            if keyspace.live(key) is not None:
                return key
    now_ms = keyspace.now_ms()
    for keys in all_keys(keyspace):
        for key in keys:
            entry = keyspace.peek(key)
            if type(entry) is not Expiring or entry.expires_at_ms > now_ms:
                return key
    return None


def _length(shard: Shard, overlay: Shard) -> int:
    return len(shard) if overlay is shard else len(shard) + len(overlay)


def _slice(shard: Shard, overlay: Shard, start: int, stop: int) -> list[bytes]:
    """The keys at some places of a shard's order. A place where a key was deleted or that repeats one gives none."""
    if overlay is shard:
        return list(islice(shard, start, stop))
    border = len(shard)
    frozen = islice(shard, start, stop) if start < border else ()
    later = islice(overlay, max(0, start - border), stop - border) if stop > border else ()
    return [
        *(key for key in frozen if overlay.get(key) is not TOMBSTONE),
        *(key for key in later if key not in shard),
    ]
