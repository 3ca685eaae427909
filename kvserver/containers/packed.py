"""Small collections, each in one immutable str: a write makes a new one. Pure functions on such texts.

The characters are bytes (Latin-1), the first is the mark of the collection's kind, and NUL and SOH separate:

    members   "s\\0member\\0member\\0"
    pairs     "h\\0name\\1value\\0name\\1value\\0"

A str takes a third of the memory of a dict or list of the same, and the garbage collector never looks at it, whereas it
tracks every object of a class derived from bytes. What has a separator in it can't be packed, nor should what is long: each
write copies all. The limits are those of Redis's listpacks, or lower.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kvserver._speedups.packed import MOST_BYTES as MOST_BYTES
from kvserver._speedups.packed import can_pack as can_pack

# A write to so many members takes some microseconds.
MOST_MEMBERS: Final = 64
_BYTES: Final = "latin-1"


def can_pack_pair(name: bytes, value: bytes) -> bool:
    """True if a name and its value may stand in a packed collection: `can_pack` of both, in one call."""
    return (
        len(name) <= MOST_BYTES
        and len(value) <= MOST_BYTES
        and 0 not in name
        and 1 not in name
        and 0 not in value
        and 1 not in value
    )


def count_members(packed: str) -> int:
    """The number of members."""
    return packed.count("\0") - 1


def count_pairs(packed: str) -> int:
    """The number of pairs."""
    return packed.count("\1")


def members_of(packed: str) -> list[bytes]:
    """The members, in their order."""
    return packed.encode(_BYTES).split(b"\0")[1:-1]


def pairs_of(packed: str) -> dict[bytes, bytes]:
    """The values by name, in their order."""
    parts = packed.encode(_BYTES).replace(b"\1", b"\0").split(b"\0")
    return dict(zip(parts[1:-1:2], parts[2:-1:2], strict=True))


def pack_members(mark: str, members: Iterable[bytes]) -> str | None:
    """The packed collection of these members, or None if they can't be packed. They are at most MOST_MEMBERS."""
    some = list(members)
    # The joined text tells of all members at once if they hold a separator.
    text = b"\0".join([mark.encode(), *some, b""])
    if max(map(len, some), default=0) > MOST_BYTES or text.count(b"\0") != len(some) + 1 or b"\1" in text:
        return None
    return text.decode(_BYTES)


def pack_pairs(mark: str, pairs: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The packed collection of these pairs of a name and a value, or None if they can't be packed."""
    some = list(pairs)
    text = b"\0".join([mark.encode(), *map(b"\1".join, some), b""])
    if text.count(b"\0") != len(some) + 1 or text.count(b"\1") != len(some):
        return None
    if any(len(name) > MOST_BYTES or len(value) > MOST_BYTES for name, value in some):
        return None
    return text.decode(_BYTES)
