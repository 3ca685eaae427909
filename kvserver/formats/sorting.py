"""The members of a cut in the order of their names, in slices: the sorting of a snapshot. Pure; never encodes a value.

Three levels, each of steps that take some hundred microseconds at most:

1. Every shard is put in order, in place: a dict keeps the order of its keys. So what is sorted takes no memory of its
   own, and the next snapshot finds its shards nearly sorted, which `list.sort` does in one pass.
2. A sample of the names gives the borders of buckets. A bucket takes the next few members of each shard, behind those that
   the bucket before has taken. Only the members of one bucket are in memory twice.
3. A bucket's members are sorted in groups, and the groups are cut into batches along borders again.

A member is sorted as one byte string, name, NUL, value, so that values need no look-up (which missed the cache in a
third of a flush's time). If a name holds a NUL, or a value is no short string, `encode` looks the entry up instead.
Measured, other ways took longer: heapq.merge of sorted runs (six times), a border search per name (twice), sorting names
alone and looking up entries in their order (1.5 times, and 8 bytes of memory a key).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator
from itertools import islice
from typing import Final, NamedTuple

from kvserver._speedups.ordering import sort_strings, sorted_members
from kvserver._speedups.places import take_items
from kvserver.containers import fresh
from kvserver.data.freeze import Cut
from kvserver.data.shards import Shard
from kvserver.formats.tags import Mapping

BATCH_KEYS: Final = 512
# A longer value is not copied into a member.
LONG_VALUE_BYTES: Final = 1024
BATCH_BYTES: Final = 1 << 15
_STEP_KEYS: Final = 512
_LOOKED_UP_KEYS: Final = 128
# A name that is not the key itself takes some microseconds, and the key of such a name as many.
_NAMED_KEYS: Final = 64
_BUCKET_KEYS: Final = 1 << 14
_SAMPLES_PER_BUCKET: Final = 32
# A merge takes one member in so many for its sample, or fewer where they would be too many to be sorted in one step.
_SAMPLE_STRIDE: Final = 8
_MOST_SAMPLES: Final = 1 << 11
SEPARATOR: Final = b"\0"
# Stands in a member for a value that is no short string.
LOOK_UP: Final = SEPARATOR


class Batch(NamedTuple):
    """At most BATCH_KEYS members, in order, of at most BATCH_BYTES together unless the batch is one member.

    With `has_values` each member is name, SEPARATOR, value or LOOK_UP; else it is a name.
    """

    members: list[bytes]
    has_values: bool


class _Naming:
    """The names of keys in the payload: UTF-8 whose order is that of the code points."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        # So far, every key is its own name, and some name holds a separator.
        self.is_identity = True
        self.has_separator = False

    def look_at(self, keys: list[bytes]) -> None:
        """Look at many keys at once: in most stores each is its own name."""
        joined = b"".join(keys)
        if not joined.isascii() or self._mapping.reserved in joined:
            self.is_identity = self.is_identity and all(map(self._mapping.is_plain_key, keys))
        self.has_separator = self.has_separator or SEPARATOR in joined

    def name(self, key: bytes) -> bytes:
        # Measured: to look for UTF-8 where there is none takes a microsecond, so that only `encode_key` does it.
        if key.isascii() and self._mapping.reserved not in key:
            return key
        return self._mapping.encode_key(key).encode("utf-8", "surrogatepass")

    def names(self, keys: list[bytes]) -> Generator[None, None, list[bytes]]:
        """The names of keys, in short steps."""
        if self.is_identity:
            return keys
        names: list[bytes] = []
        for start in range(0, len(keys), _NAMED_KEYS):
            names += map(self.name, keys[start : start + _NAMED_KEYS])
            yield None
        return names

    def key(self, name: bytes) -> bytes:
        if not name.startswith(self._mapping.reserved):
            return name
        return self._mapping.decode_key(name.decode("utf-8", "surrogatepass"))[1]

    def keys(self, names: list[bytes]) -> list[bytes]:
        return names if self.is_identity else list(map(self.key, names))


def in_order(cut: Cut, mapping: Mapping) -> Iterator[Batch | None]:
    """Yield all members, in batches. None is a step that sorted."""
    naming = _Naming(mapping)
    borders = yield from _borders_of(cut, naming)
    # For each shard, the numbers of its members that fall into each bucket.
    counts: list[list[int]] = []
    for index in range(len(cut.shards)):
        counts.append((yield from _sort_shard(cut, index, naming, borders)))
        fresh.note(len(counts[-1]))
        yield None
    places: list[object] = [None] * len(cut.shards)
    for bucket in range(len(borders) + 1):
        groups: list[list[bytes]] = []
        index = 0
        while index < len(cut.shards):
            keys, values, index = take_items(cut.shards, places, counts, bucket, index, _STEP_KEYS)
            yield None
            if keys:
                names = yield from naming.names(keys)
                groups.append(_sorted(names) if naming.has_separator else sorted_members(names, values, LONG_VALUE_BYTES))
                fresh.note(3 * len(keys))
                yield None
        for members in merge(groups):
            yield None if members is None else Batch(members, not naming.has_separator)


def _borders_of(cut: Cut, naming: _Naming) -> Generator[None, None, list[bytes]]:
    """The names that divide all members into buckets of about the same size. A shard is a random sample, chosen by hashes."""
    buckets = max(1, len(cut) // _BUCKET_KEYS)
    sampled = 0
    groups: list[list[bytes]] = []
    # Measured: with few keys, to look at all empty shards takes a millisecond.
    for shard in filter(None, cut.shards):
        if sampled >= _SAMPLES_PER_BUCKET * buckets:
            break
        for keys in (yield from _groups_of(shard, naming)):
            groups.append(_sorted((yield from naming.names(keys))))
            yield None
        sampled += len(shard)
    sample: list[bytes] = []
    for some in merge(groups):
        sample += some or ()
        yield None
    return divide(sample, buckets)


def _groups_of(shard: Shard, naming: _Naming) -> Generator[None, None, list[list[bytes]]]:
    """The keys of a shard as they stand there, in groups, each of which was looked at."""
    keys = iter(shard)
    groups: list[list[bytes]] = []
    while some := list(islice(keys, _STEP_KEYS)):
        naming.look_at(some)
        groups.append(some)
        fresh.note(len(some))
        yield None
    return groups


def _sort_shard(cut: Cut, index: int, naming: _Naming, borders: list[bytes]) -> Generator[None, None, list[int]]:
    """Put a shard in the order of its names. Return the numbers of its members between the borders.

    A shard may have any number of keys, so each step looks at some of them.
    """
    shard = cut.shards[index]
    groups = yield from _groups_of(shard, naming)
    is_ordered = True
    for number, keys in enumerate(groups):
        names = yield from naming.names(keys)
        groups[number] = _sorted(names)
        is_ordered = is_ordered and groups[number] == names and (not number or groups[number - 1][-1] < names[0])
        yield None
    counts = [0] * (len(borders) + 1)
    bucket = 0
    ordered: Shard = {}
    for some in _using_up(groups) if is_ordered else merge(groups):
        if some:
            if not is_ordered:
                # Each look-up waits for memory.
                stride = _LOOKED_UP_KEYS if naming.is_identity else _NAMED_KEYS
                for start in range(0, len(some), stride):
                    found = naming.keys(some[start : start + stride])
                    ordered.update(zip(found, map(shard.__getitem__, found), strict=True))
                    yield None
            bucket = _count(some, borders, bucket, counts)
        yield None
    if not is_ordered:
        cut.reorder(index, ordered)
        # What refers to the entries is let go in steps, too.
        while shard:
            for _ in range(min(_STEP_KEYS, len(shard))):
                shard.popitem()
            yield None
    return counts


def _count(names: list[bytes], borders: list[bytes], bucket: int, counts: list[int]) -> int:
    """Count names, which are in order, by the buckets from this one on. Return the bucket of the last one."""
    start = 0
    while True:
        end = bisect_left(names, borders[bucket], start) if bucket < len(borders) else len(names)
        counts[bucket] += end - start
        if end == len(names):
            return bucket
        start = end
        bucket += 1


def _using_up(groups: list[list[bytes]]) -> Iterator[list[bytes]]:
    """The groups of a list in turn, which lets go of each: all at once, many members would take their time."""
    groups.reverse()
    while groups:
        yield groups.pop()


def divide(sample: list[bytes], parts: int) -> list[bytes]:
    """The borders between so many parts of about the same size, by a sample in order."""
    return [sample[len(sample) * number // parts] for number in range(1, parts)]


def _sorted(names: list[bytes]) -> list[bytes]:
    copy = names.copy()
    sort_strings(copy)
    return copy


def merge(groups: list[list[bytes]]) -> Iterator[list[bytes] | None]:
    """Yield the members of sorted groups, which are used up, in batches, in order. None is a step that sorted.

    A batch is at most BATCH_KEYS members, of at most BATCH_BYTES together unless it is one member. A group has some hundred
    members.
    """
    count = sum(map(len, groups))
    stride = max(_SAMPLE_STRIDE, count // _MOST_SAMPLES)
    sample = [member for group in groups for member in group[::stride]]
    sort_strings(sample)
    sample_bytes = sum(map(len, sample))
    # Where members are long, each of the sample is a border.
    parts = max(1, count // BATCH_KEYS, min(sample_bytes * stride // BATCH_BYTES, len(sample)))
    borders = divide(sample, parts)
    batches: list[list[bytes]] = [[] for _ in range(parts)]
    yield None
    for group in _using_up(groups):
        start = 0
        for batch, border in zip(batches, borders, strict=False):
            end = bisect_left(group, border, start)
            batch += group[start:end]
            start = end
        batches[-1] += group[start:]
        yield None
    for batch in _using_up(batches):
        sort_strings(batch)
        yield None
        for start in range(0, len(batch), BATCH_KEYS):
            yield from _divide_long(batch[start : start + BATCH_KEYS])


def _divide_long(members: list[bytes]) -> Iterator[list[bytes]]:
    """Yield members in batches that keep the limit in bytes: a sample told only about how many bytes its borders enclose."""
    if sum(map(len, members)) > BATCH_BYTES and len(members) > 1:
        middle = len(members) // 2
        yield from _divide_long(members[:middle])
        yield from _divide_long(members[middle:])
    else:
        yield members
