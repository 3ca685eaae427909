"""The first of many in order, where Redis sorts only these: equal ones come in the order that its sorting leaves. Pure.

Source: pqsort.c of redis 7.0, which is the quicksort of Bentley and McIlroy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

# So few are sorted by insertion.
_FEW: Final = 7
# Of more than so many, the pivot is chosen among nine.
_MANY: Final = 40
# Partitions inside each other, for each doubling of the keys. Random keys need a third of it.
_DEPTH: Final = 4


def order_of(keys: Sequence[float], count: int) -> list[int]:
    """The positions of the least keys, at most so many, from the least key on. No key is NaN.

    Equal keys stay in their order if all are asked for, as in a stable sort; else they come as Redis has them.
    """
    order = sorted(range(len(keys)), key=keys.__getitem__)
    if count >= len(order) or all(keys[one] < keys[other] for one, other in pairwise(order[: count + 1])):
        return order[:count]
    places = list(range(len(keys)))
    # Keys may come in an order that was made to be slow, which the stable sort does not mind.
    is_sorted = _sort(keys, places, 0, len(places), count, _DEPTH * len(places).bit_length())
    return (places if is_sorted else order)[:count]


def _sort(keys: Sequence[float], places: list[int], start: int, end: int, count: int, depth: int) -> bool:
    """Sort a part of the places by their keys, so far as it lies before `count`.

    Return False if that takes more than so many partitions inside each other: then the places are in no order.
    """
    while end - start >= _FEW:
        if not depth:
            return False
        depth -= 1
        _swap(places, start, _pivot(keys, places, start, end))
        pivot = keys[places[start]]
        # What equals the pivot is gathered at both ends, and comes to the middle when all is parted.
        equal_low = low = start + 1
        equal_high = high = end - 1
        while True:
            while low <= high and (key := keys[places[low]]) <= pivot:
                if key == pivot:
                    _swap(places, equal_low, low)
                    equal_low += 1
                low += 1
            while low <= high and (key := keys[places[high]]) >= pivot:
                if key == pivot:
                    _swap(places, high, equal_high)
                    equal_high -= 1
                high -= 1
            if low > high:
                break
            _swap(places, low, high)
            low += 1
            high -= 1
        _swap_runs(places, start, low, min(equal_low - start, low - equal_low))
        _swap_runs(places, low, end, min(equal_high - high, end - equal_high - 1))
        less, greater = low - equal_low, equal_high - high
        if less > 1 and start < count and not _sort(keys, places, start, start + less, count, depth):
            return False
        start = end - greater
        if greater <= 1 or start >= count:
            return True
    for place in range(start + 1, end):
        at = place
        while at > start and keys[places[at - 1]] > keys[places[at]]:
            _swap(places, at - 1, at)
            at -= 1
    return True


def _pivot(keys: Sequence[float], places: list[int], start: int, end: int) -> int:
    count = end - start
    middle = start + count // 2
    if count == _FEW:
        return middle
    low, high = start, end - 1
    if count > _MANY:
        eighth = count // 8
        low = _median(keys, places, low, low + eighth, low + 2 * eighth)
        middle = _median(keys, places, middle - eighth, middle, middle + eighth)
        high = _median(keys, places, high - 2 * eighth, high - eighth, high)
    return _median(keys, places, low, middle, high)


def _median(keys: Sequence[float], places: list[int], one: int, two: int, three: int) -> int:
    a, b, c = keys[places[one]], keys[places[two]], keys[places[three]]
    if a < b:
        return two if b < c else three if a < c else one
    return two if b > c else one if a < c else three


def _swap(places: list[int], one: int, other: int) -> None:
    places[one], places[other] = places[other], places[one]


def _swap_runs(places: list[int], start: int, end: int, length: int) -> None:
    """Exchange so many places from `start` on with the last ones before `end`."""
    low, high = places[start : start + length], places[end - length : end]
    places[start : start + length], places[end - length : end] = high, low
