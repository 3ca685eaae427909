"""Intsets, written: a set of integers in one block, as Redis keeps and dumps it. Pure.

    size      4 bytes   of each integer in bytes: 2, 4 or 8; little-endian, as all that follows
    count     4 bytes   of the integers
    integers            signed, ascending

Source: intset.c of redis 7.0. They are read in `_speedups.blocks`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

_HEAD: Final = struct.Struct("<II")
# The formats of integers of each size, from the smallest on.
_FORMATS: Final = {2: "h", 4: "i", 8: "q"}


def write_intset(numbers: Iterable[int]) -> bytes:
    """The intset of different integers of up to 64 bits, in any order. OverflowError if one has more bits."""
    ordered = sorted(numbers)
    for size, letter in _FORMATS.items():
        limit = 1 << 8 * size - 1
        if not ordered or -limit <= ordered[0] <= ordered[-1] < limit:
            return _HEAD.pack(size, len(ordered)) + struct.pack(f"<{len(ordered)}{letter}", *ordered)
    raise OverflowError("an integer has more than 64 bits")
