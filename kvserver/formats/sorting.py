"""The members of a cut in the order of their names, in slices: the sorting of a snapshot. Pure; never encodes a value.

Three levels, each of steps that take some hundred microseconds at most:

1. Every shard is put in order, in place: a dict keeps the order of its keys. So what is sorted takes no memory of its
   own, and the next snapshot finds its shards nearly sorted, which `list.sort` does in one pass.
2. A sample of the names gives the borders of buckets. A bucket takes the next few members of each shard, by an iterator
   that stays where it is. Only the members of one bucket are in memory twice.
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
from operator import sub
from typing import Final, NamedTuple

from kvserver.containers import fresh
from kvserver.data.freeze import Cut
from kvserver.data.shards import Shard
from kvserver.formats.tags import Mapping

BATCH_KEYS: Final = 512
# A longer value is not copied into a member.
LONG_VALUE_BYTES: Final = 1024
BATCH_BYTES: Final = 1 << 15
_STEP_KEYS: Final = 512
_BUCKET_KEYS: Final = 1 << 14
_SAMPLES_PER_BUCKET: Final = 32
_SAMPLE_STRIDE: Final = 8
SEPARATOR: Final = b"\0"
# Stands in a member for a value that is no short string.
LOOK_UP: Final = SEPARATOR
_STRINGS_ONLY: Final = {bytes}


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
        if self._mapping.is_plain_key(key):
            return key
        return self._mapping.encode_key(key).encode("utf-8", "surrogatepass")

    def names(self, keys: list[bytes]) -> list[bytes]:
        return keys if self.is_identity else list(map(self.name, keys))


def in_order(cut: Cut, mapping: Mapping) -> Iterator[Batch | None]:
    """Yield all members, in batches. None is a step that sorted."""
    naming = _Naming(mapping)
    borders = _borders_of(cut, naming)
    # For each shard, the numbers of its members that fall into each bucket.
    counts: list[list[int]] = []
    for index in range(len(cut.shards)):
        names = yield from _sort_shard(cut, index, naming)
        ends = [0]
        for border in borders:
            ends.append(bisect_left(names, border, ends[-1]))
        ends.append(len(names))
        counts.append(list(map(sub, ends[1:], ends)))
        fresh.note(len(names) + len(borders))
        yield None
    keys = [iter(shard) for shard in cut.shards]
    values = [iter(shard.values()) for shard in cut.shards]
    for bucket in range(len(borders) + 1):
        groups: list[list[bytes]] = []
        group_keys: list[bytes] = []
        group_values: list[object] = []
        for shard_counts, some_keys, some_values in zip(counts, keys, values, strict=True):
            count = shard_counts[bucket]
            while count:
                taken = min(count, _STEP_KEYS)
                group_keys += islice(some_keys, taken)
                group_values += islice(some_values, taken)
                count -= taken
                if len(group_keys) >= _STEP_KEYS:
                    yield None
                    groups.append(_join(naming, group_keys, group_values))
                    fresh.note(3 * len(group_keys))
                    group_keys, group_values = [], []
                    yield None
                    groups[-1].sort()
                    yield None
        if group_keys:
            groups.append(_join(naming, group_keys, group_values))
            groups[-1].sort()
            yield None
        for members in merge(groups):
            yield None if members is None else Batch(members, not naming.has_separator)


def _borders_of(cut: Cut, naming: _Naming) -> list[bytes]:
    """The names that divide all members into buckets of about the same size. A shard is a random sample, chosen by hashes."""
    buckets = max(1, len(cut) // _BUCKET_KEYS)
    sample: list[bytes] = []
    # Measured: with few keys, to look at all empty shards takes a millisecond.
    for shard in filter(None, cut.shards):
        if len(sample) >= _SAMPLES_PER_BUCKET * buckets:
            break
        keys = list(shard)
        naming.look_at(keys)
        sample += naming.names(keys)
    return divide(sorted(sample), buckets)


def _sort_shard(cut: Cut, index: int, naming: _Naming) -> Generator[None, None, list[bytes]]:
    """Put a shard in the order of its names. Return the names."""
    shard = cut.shards[index]
    present = list(shard)
    naming.look_at(present)
    key = None if naming.is_identity else naming.name
    keys: list[bytes] = []
    for start in range(0, len(present), _STEP_KEYS):
        keys += sorted(present[start : start + _STEP_KEYS], key=key)
        yield None
    keys.sort(key=key)
    if keys != present:
        ordered: Shard = {}
        for start in range(0, len(keys), _STEP_KEYS):
            some = keys[start : start + _STEP_KEYS]
            ordered.update(zip(some, map(shard.__getitem__, some), strict=True))
            yield None
        cut.reorder(index, ordered)
    return naming.names(keys)


def divide(sample: list[bytes], parts: int) -> list[bytes]:
    """The borders between so many parts of about the same size, by a sample in order."""
    return [sample[len(sample) * number // parts] for number in range(1, parts)]


def _join(naming: _Naming, keys: list[bytes], values: list[object]) -> list[bytes]:
    names = naming.names(keys)
    if naming.has_separator:
        return names
    if set(map(type, values)) == _STRINGS_ONLY and max(map(len, values)) <= LONG_VALUE_BYTES:  # type: ignore[arg-type]
        return list(map(SEPARATOR.join, zip(names, values, strict=True)))  # type: ignore[arg-type]
    return [
        name + SEPARATOR + (value if type(value) is bytes and len(value) <= LONG_VALUE_BYTES else LOOK_UP)
        for name, value in zip(names, values, strict=True)
    ]


def merge(groups: list[list[bytes]]) -> Iterator[list[bytes] | None]:
    """Yield the members of sorted groups in batches, in order. None is a step that sorted.

    A batch is at most BATCH_KEYS members, of at most BATCH_BYTES together unless it is one member. There are some thousand
    members in some dozen groups.
    """
    sample = sorted(member for group in groups for member in group[::_SAMPLE_STRIDE])
    sample_bytes = sum(map(len, sample))
    # Where members are long, each of the sample is a border.
    parts = max(1, sum(map(len, groups)) // BATCH_KEYS, min(sample_bytes * _SAMPLE_STRIDE // BATCH_BYTES, len(sample)))
    borders = divide(sample, parts)
    batches: list[list[bytes]] = [[] for _ in range(parts)]
    yield None
    for group in groups:
        start = 0
        for batch, border in zip(batches, borders, strict=False):
            end = bisect_left(group, border, start)
            batch += group[start:end]
            start = end
        batches[-1] += group[start:]
        yield None
    for batch in batches:
        batch.sort()
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
