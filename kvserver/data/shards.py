"""The shards: the dicts that hold all entries, the place of a key in them, and plain access to them.

There are SHARDS small dicts, since a dict that outgrows its table rehashes it in one go: at 700,000 keys that stalled the
event loop for 30 to 90 ms, and a restore passes that point. A shard's rehash takes microseconds.

Pure, and asks of an entry at most if it expires. No other module computes the shard of a key. The number of shards of a
keyspace is the length of its list, not SHARDS.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from kvserver._speedups.members import put_pairs, table_place
from kvserver._speedups.runs import run_calls
from kvserver._speedups.strings import get_values, set_pairs
from kvserver.containers.packed import MOST_MEMBERS
from kvserver.data.entries import Entry, Expiring
from kvserver.data.uses import Uses
from kvserver.resp.request import Request

# A prime, for `hash % SHARDS`: with a power of two all keys of a shard would have the low bits of their hashes in common, by
# which the dict places them, too.
SHARDS: Final = 1021

# A step that frees shards frees so many entries.
ENTRIES_A_STEP: Final = 64
# And it asks for a block of so many bytes. The C library puts the large blocks that were freed in order when it is next asked
# for one, up to 10,000 of them at once: measured, 5 to 10 ms with values of 1 KB.
_LARGE_BYTES: Final = 65_000
# Each arena of memory has entries of nearly every shard. So it is given back with an entry of the last few shards, which takes
# the system some 50 µs: measured, 21 ms for the last shard of a million strings, 51 where these expire.
LAST_SHARDS: Final = 4
LAST_ENTRIES_A_STEP: Final = 1

# A dict of entries. In an overlay there are tombstones, too, and in the tables of clocks numbers.
Shard = dict[bytes, Any]

_MISSING: Final = object()


class Access(NamedTuple):
    """The four functions by which a keyspace is read and written.

    - `get` returns the entry of a key, or None. It may be an Expiring whose time has come: commands use `Keyspace.live`.
    - `set` stores an entry in place of the one before and its expiry.
    - `delete` removes a key, and returns True if it was there.
    - `peek` is `get`, but no use of the key: neither Uses nor a witness sees it.
    """

    get: Callable[[bytes], Any]
    set: Callable[[bytes, Any], None]
    delete: Callable[[bytes], bool]
    peek: Callable[[bytes], Any]


def new_shards() -> list[Shard]:
    """The shards of an empty keyspace."""
    return [{} for _ in range(SHARDS)]


def shard_of(key: bytes) -> int:
    """The index of the shard in which a key is, or would be."""
    return hash(key) % SHARDS


def placing() -> tuple[Callable[[bytes], int], int]:
    """A function and a number, for closures that spell `shard_of` out as `digest(key) % count`. Measured: a call less."""
    return hash, SHARDS


def load_shards(shards: list[Shard], members: Iterable[tuple[bytes, Entry]]) -> None:
    """Put keys and their entries into shards that belong to no keyspace. The last entry of a repeated key counts."""
    put_pairs(shards, hash, members if isinstance(members, list) else list(members))


def set_requests(shards: list[Shard], requests: list[Request], uses: Uses) -> None:
    """Set the keys that stand second in requests to their third words, in order, as plain access does.

    Uses are noted by shard. Measured: for runs of SETs where the leaves are not compiled.
    """
    by_shard, now_ms = uses.by_shard, uses.now_ms
    for _, key, value in requests:
        index = hash(key) % SHARDS
        by_shard[index] = now_ms
        shards[index][key] = value


def set_pairs_of(shards: list[Shard], request: Request, uses: Uses) -> None:
    """Set the keys and values that stand in turn behind the name in a request. Uses are noted by shard."""
    set_pairs(shards, hash, uses.by_shard, uses.now_ms, request)


def values_for(shards: list[Shard], request: Request, uses: Uses) -> tuple[list[bytes | None], int] | None:
    """The values for MGET (`get_values`), as plain access finds them. Uses are noted by shard."""
    return get_values(shards, hash, uses.by_shard, uses.now_ms, request)


def run_usual(
    shards: list[Shard],
    requests: list[Request],
    start: int,
    codes: dict[bytes, int],
    config: Any,
    null: bytes,
    uses: Uses,
    now_ms: int,
    records: list[Request],
) -> tuple[bytes, int, int, int, int]:
    """Run usual calls (`run_calls`), as plain access does. Uses are noted by shard."""
    by_shard, used_ms = uses.by_shard, uses.now_ms
    return run_calls(
        shards, hash, by_shard, used_ms, requests, start, codes, config, MOST_MEMBERS, null, Expiring, now_ms, records
    )


def look_up(shards: list[Shard], keys: Iterable[bytes], uses: Uses) -> list[Any]:
    """Get the entries of keys, as plain access does, but note the uses by shard. Measured: for runs of reads."""
    by_shard, now_ms = uses.by_shard, uses.now_ms
    # A loop over one item is an assignment without the time of a loop.
    return [shards[index].get(key) for key in keys for index in (hash(key) % SHARDS,) for by_shard[index] in (now_ms,)]


def plain_access(shards: list[Shard], uses: Uses) -> Access:
    """Access to these shards themselves."""
    places = uses.places
    # The number of places is a multiple of SHARDS.
    count = len(places)

    # Measured: closures save the attribute look-ups of a method on the path of every GET and SET.
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
    """Free shards that nobody uses any more, some entries a step: to free a million at once would stall the event loop.

    Their tables go at the end, and with them an entry of each step: the last one in memory first. Measured: the allocator
    gives back the end of its memory at once, as far as it is free. Had the last table gone last, that would be all of them:
    25 ms for those of 2,400,000 keys. Between two tables there may be 200 MB of values: 18 ms, without these entries.
    """
    # What goes at the end, by its place in memory. Where the place of a table is not known, it is the first of all.
    places: list[int] = []
    kept: list[object] = []

    def keep(place: int, thing: object) -> None:
        index = bisect_right(places, place)
        places.insert(index, place)
        kept.insert(index, thing)

    shard: Shard = {}
    while shards:
        shard = shards[-1]
        most = LAST_ENTRIES_A_STEP if len(shards) <= LAST_SHARDS else ENTRIES_A_STEP
        if shard:
            keep(table_place(shard), shard)
        while shard:
            count = min(most, len(shard))
            if count > 1:
                _, entry = shard.popitem()
                # Of an entry that expires it is the value that may be long.
                keep(id(getattr(entry, "value", entry)), entry)
                del entry
                count -= 1
            for _ in range(count):
                shard.popitem()
            bytes(_LARGE_BYTES)
            yield
        shards.pop()
    del shard
    while kept:
        kept.pop()
        places.pop()
        yield
