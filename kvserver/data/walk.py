"""The ways through the keys of a keyspace: SCAN's cursor, all keys, those that are alive, a random key. Pure.

Other commands run between the steps of a scan. A cursor is a shard, and the number `left` of its first entries that have not
been looked at: `left * shards + shard`, where a `left` of 0 is a shard that was not begun. The bits above count how often the
shard had been given another order (`Cut.reorder`) by then: if that has happened since, the shard is begun again.

A shard is walked from its end to its front. In the order of a frozen shard its entries come first, and the writes over it
behind them, where a fold will put them. So a key that stays never gets further from the front: until it is looked at, it is
among the `left` first. A key that was looked at may get there, too, and is returned twice then, as with Redis.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate, chain
from operator import add
from typing import Final

from kvserver._speedups.places import keys_between
from kvserver.data.entries import Expiring, Value
from kvserver.data.freeze import TOMBSTONE
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import Shard

_ORDER: Final = 1 << 32
_ORDERS: Final = 1 << 31
# A random key is looked for so often by chance, and then in order.
_TRIES: Final = 100


def scan(keyspace: Keyspace, cursor: int, count: int) -> tuple[int, list[bytes]]:
    """Look at about `count` keys (at least 1) from a cursor on. Returns the next cursor, or 0 at the end, and the keys.

    A cursor of 0 begins, and any other number is taken. Keys whose time has come are returned, too.
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
    """All keys, in a list for each shard, also those whose time has come. Nobody may write meanwhile."""
    return (shard_keys(keyspace, index) for index in range(keyspace.shard_count))


def shard_keys(keyspace: Keyspace, index: int) -> list[bytes]:
    """All keys of one shard, also those whose time has come."""
    shard, overlay = (layer[index] for layer in keyspace.layers)
    return _slice(shard, overlay, 0, _length(shard, overlay))


def living_keys(keyspace: Keyspace, index: int) -> list[bytes]:
    """The keys of one shard whose time has not come. Nothing is removed."""
    if keyspace.may_lapse or keyspace.deadlines.may_be_in(index):
        return [key for key, _ in living_members(keyspace, index)]
    return shard_keys(keyspace, index)


def living_members(keyspace: Keyspace, index: int) -> list[tuple[bytes, Value]]:
    """The keys of one shard whose time has not come, with their values (`Keyspace.living`). Nothing is removed."""
    members = list(keyspace.shard_members(index))
    if keyspace.deadlines.may_be_in(index):
        now_ms = keyspace.now_ms()
        members = [
            (key, entry.value if type(entry) is Expiring else entry)
            for key, entry in members
            if type(entry) is not Expiring or entry.expires_at_ms > now_ms
        ]
    if keyspace.may_lapse:
        members = [(key, living) for key, value in members if (living := keyspace.living(value)) is not None]
    return members


def shards_in_use(keyspace: Keyspace, start: int) -> Iterator[int]:
    """The indexes of the shards that may have entries, from this one on and around to it."""
    around = chain(range(start, keyspace.shard_count), range(start))
    # Measured: to ask each shard of a small store for an entry takes a millisecond.
    return around if keyspace.is_frozen else filter(keyspace.layers[0].__getitem__, around)


def living_member(keyspace: Keyspace, index: int) -> tuple[bytes, Value] | None:
    """One of the keys of a shard whose time has not come, with its value, or None if there is none."""
    if keyspace.is_frozen:
        return next(reversed(living_members(keyspace, index)), None)
    now_ms = keyspace.now_ms()
    # The last one is found, and removed, without a walk past the others.
    for key, entry in reversed(keyspace.layers[0][index].items()):
        value = entry.value if type(entry) is Expiring else entry
        if value is entry or not entry.is_due(now_ms):
            living = keyspace.living(value)
            if living is not None:
                return key, living
    return None


def living_count(keyspace: Keyspace) -> int:
    """The number of keys whose time has not come. Nothing is removed.

    It is known without a look at the keys where sweeps have come to their end, but for shards that have something due.
    """
    if keyspace.may_lapse:
        return sum(len(living_keys(keyspace, index)) for index in range(keyspace.shard_count))
    now_ms, count = keyspace.now_ms(), len(keyspace)
    for index in keyspace.deadlines.shards_due(now_ms):
        count -= sum(type(entry) is Expiring and entry.is_due(now_ms) for _, entry in keyspace.shard_members(index))
    return count


def keys_at(keyspace: Keyspace, index: int, start: int, stop: int) -> list[bytes]:
    """The keys at some places of a shard's order, of which some may have none, also those whose time has come."""
    shard, overlay = (layer[index] for layer in keyspace.layers)
    return _slice(shard, overlay, start, stop)


def random_key(keyspace: Keyspace, random_below: Callable[[int], int]) -> bytes | None:
    """A key that is alive, each with the same chance, or None if there is none. Keys that are met dead are removed."""
    shards, overlays = keyspace.layers
    # A shard that is folded already is counted twice: the places behind its end have no key.
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
            if type(entry) is not Expiring or not entry.is_due(now_ms):
                return key
    return None


def _length(shard: Shard, overlay: Shard) -> int:
    return len(shard) if overlay is shard else len(shard) + len(overlay)


def _slice(shard: Shard, overlay: Shard, start: int, stop: int) -> list[bytes]:
    """The keys at some places of a shard's order. A place has no key if the key was deleted or has another place, too."""
    if overlay is shard:
        return keys_between(shard, start, stop)
    border = len(shard)
    frozen = keys_between(shard, start, stop) if start < border else ()
    later = keys_between(overlay, max(0, start - border), stop - border) if stop > border else ()
    return [
        *(key for key in frozen if overlay.get(key) is not TOMBSTONE),
        *(key for key in later if key not in shard),
    ]
