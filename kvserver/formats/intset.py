"""Intsets: a set of integers in one block, as Redis keeps and dumps it. Pure.

    size      4 bytes   of each integer in bytes: 2, 4 or 8; little-endian, as all that follows
    count     4 bytes   of the integers
    integers            signed, ascending

Source: intset.c of redis 7.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from operator import ge
from typing import Final

_HEAD: Final = struct.Struct("<II")
# The formats of integers of each size, from the smallest on.
_FORMATS: Final = {2: "h", 4: "i", 8: "q"}


def read_intset(data: bytes) -> list[int]:
    """The integers, ascending. ValueError if the data is not exactly one intset, or they are in another order."""
    if len(data) < _HEAD.size:
        raise ValueError("the data ends inside the head")
    size, count = _HEAD.unpack_from(data)
    if size not in _FORMATS or len(data) != _HEAD.size + size * count:
        raise ValueError("the data has another length than it says")
    numbers = list(struct.unpack_from(f"<{count}{_FORMATS[size]}", data, _HEAD.size))
    if any(map(ge, numbers, numbers[1:])):
        raise ValueError("the integers are not in order")
    return numbers


def write_intset(numbers: Iterable[int]) -> bytes:
    """The intset of different integers of up to 64 bits, in any order. OverflowError if one has more bits."""
    ordered = sorted(numbers)
    for size, letter in _FORMATS.items():
        limit = 1 << 8 * size - 1
        if not ordered or -limit <= ordered[0] <= ordered[-1] < limit:
            return _HEAD.pack(size, len(ordered)) + struct.pack(f"<{len(ordered)}{letter}", *ordered)
    raise OverflowError("an integer has more than 64 bits")
