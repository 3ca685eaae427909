"""The dicts that hold all entries, which of them holds a key, and plain access to them. Pure, and never asks what an entry is.

There are SHARDS small dicts, because one that outgrows its table rehashes it in one go: at 700,000 keys that stalled the
event loop for 30 to 90 ms, and a restore passes that point. A shard's rehash takes microseconds.

No other module knows which shard holds a key, or takes SHARDS to mean how many a keyspace has: that is the length of
its list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from kvserver.data.entries import Entry
from kvserver.data.uses import Uses

# A prime, for `hash % SHARDS`: the low bits alone, which dict uses as well, would make every key of a shard collide.
SHARDS: Final = 1021

Shard = dict[bytes, Any]  # of entries; in an overlay and in the tables of clocks also of other things

_MISSING: Final = object()


class Access(NamedTuple):
    """What reading and writing are bound to."""

    # Entry, or None where the key is missing. May be an Expiring whose time has come: `Keyspace.live` is what commands use.
    get: Callable[[bytes], Any]
    # Stores an entry, replacing what was there with its expiry.
    set: Callable[[bytes, Any], None]
    # Removes a key; whether it was there.
    delete: Callable[[bytes], bool]
    # What `get` gives, but no use of the key.
    peek: Callable[[bytes], Any]


def new_shards() -> list[Shard]:
    """The shards of an empty keyspace."""
    return [{} for _ in range(SHARDS)]


def shard_of(key: bytes) -> int:
    """The index of the shard that holds a key, if any does."""
    return hash(key) % SHARDS


def placing() -> tuple[Callable[[bytes], int], int]:
    """A function and a number, for closures that spell `shard_of` out as `digest(key) % count`: it is a call less."""
    return hash, SHARDS


def load_shards(shards: list[Shard], members: Iterable[tuple[bytes, Entry]]) -> None:
    """Put members into shards, where nobody has to see each access; of a repeated key the last one counts."""
    for key, entry in members:
        shards[hash(key) % SHARDS][key] = entry


def put(shards: list[Shard], members: Iterable[tuple[bytes, Entry]], uses: Uses) -> None:
    """What plain access sets for each of these members, in their order. The uses are noted by shard."""
    by_shard, now_ms = uses.by_shard, uses.now_ms
    for key, entry in members:
        index = hash(key) % SHARDS
        by_shard[index] = now_ms
        shards[index][key] = entry


def look_up(shards: list[Shard], keys: Iterable[bytes], uses: Uses) -> list[Any]:
    """What plain access gets for each of these keys. The uses are noted by shard."""
    by_shard, now_ms = uses.by_shard, uses.now_ms
    # A loop over one item is an assignment, which takes no time of its own.
    return [shards[index].get(key) for key in keys for index in (hash(key) % SHARDS,) for by_shard[index] in (now_ms,)]


def plain_access(shards: list[Shard], uses: Uses) -> Access:
    """Reading and writing right in these shards."""
    places = uses.places
    count = len(places)  # a multiple of SHARDS

    # Closures, not methods: no attribute look-ups on the path of every GET and SET.
    def get(key: bytes) -> Any:
        place = hash(key) % count
        places[place] = uses.now_ms
        return shards[place % SHARDS].get(key)

    def set_(key: bytes, entry: Any) -> None:
        place = hash(key) % count
        places[place] = uses.now_ms
        shards[place % SHARDS][key] = entry

    def peek(key: bytes) -> Any:
        return shards[hash(key) % SHARDS].get(key)

    def delete(key: bytes) -> bool:
        return shards[hash(key) % SHARDS].pop(key, _MISSING) is not _MISSING

    return Access(get, set_, delete, peek)


def drain(shards: list[Shard]) -> Iterator[None]:
    """Free shards that nobody uses any more, one per step: freeing a million entries at once would stall the loop."""
    while shards:
        shards.pop().clear()
        yield
