"""What stands at some places of the order of a dict, or behind those that were taken before.

In C, places are counted without a look at the objects, and those that are wanted come into the cache together.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, TypeVar

from kvserver._speedups.choice import leaf

Key = TypeVar("Key")
Value = TypeVar("Value")


@leaf
def keys_between(shard: dict[Key, Value], start: int, stop: int) -> list[Key]:
    """The keys at the places from `start` up to `stop`, which is not among them. Neither is negative."""
    return list(islice(shard, start, stop))


@leaf
def items_between(shard: dict[Key, Value], start: int, stop: int) -> list[tuple[Key, Value]]:
    """The keys and values at the places from `start` up to `stop`, which is not among them. Neither is negative."""
    return list(islice(shard.items(), start, stop))


@leaf
def take_items(
    shards: list[dict[Key, Value]], places: list[Any], counts: list[list[int]], number: int, first: int, most: int
) -> tuple[list[Key], list[Value], int]:
    """Take keys and values of shards in turn, up to `most`, from the shard of the index `first` on.

    Of a shard come `counts[index][number]`, which is lowered by those that are taken, behind those that were taken before.
    What these are is kept in `places`, at first None for each shard. Returned is also the index of the shard to go on with,
    which is the number of shards at the end. Nobody may write to the shards from the first call on.
    """
    keys: list[Key] = []
    values: list[Value] = []
    for index in range(first, len(shards)):
        taken = min(counts[index][number], most - len(keys))
        if taken:
            if places[index] is None:
                places[index] = iter(shards[index]), iter(shards[index].values())
            some_keys, some_values = places[index]
            keys += islice(some_keys, taken)
            values += islice(some_values, taken)
            counts[index][number] -= taken
        if len(keys) == most:
            return keys, values, index
    return keys, values, len(shards)
