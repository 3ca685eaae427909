"""What stands at some places of the order of a dict. In C, those before them are counted without a look at the objects."""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

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
