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

# A write to so many members takes some microseconds.
MOST_MEMBERS: Final = 64
MOST_BYTES: Final = 64
_BYTES: Final = "latin-1"
_END: Final = "\0"


def can_pack(member: bytes) -> bool:
    """True if a member may stand in a packed collection."""
    # Measured: to ask for a number takes a tenth of what it takes to ask for bytes.
    return len(member) <= MOST_BYTES and 0 not in member and 1 not in member


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


def has_member(packed: str, member: bytes) -> bool:
    """True if a member is there."""
    # A member that holds a NUL would find two others.
    return f"\0{member.decode(_BYTES)}\0" in packed and 0 not in member


# Measured: `partition` takes less time than `find` and slices do, and `decode` less than `str`.


def value_of(packed: str, name: bytes) -> bytes | None:
    """The value of a name, or None if it is missing."""
    _, found, rest = packed.partition(f"\0{name.decode(_BYTES)}\1")
    # A name that holds a NUL would find the end of one pair and the beginning of the next.
    return rest.partition("\0")[0].encode(_BYTES) if found and 0 not in name else None


def around_value(packed: str, name: bytes) -> tuple[str, str, str] | None:
    """What stands before the value of a name, the value, and what stands behind it; None if the name is missing."""
    front, found, rest = packed.partition(f"\0{name.decode(_BYTES)}\1")
    if not found or 0 in name:
        return None
    value, end, behind = rest.partition("\0")
    return front + found, value, end + behind


def with_value(packed: str, name: bytes, value: bytes) -> str | None:
    """The collection with this value in place of the one that the name has, or None if the name is missing.

    The caller has asked `can_pack` for the name and the value.
    """
    front, found, rest = packed.partition(f"\0{name.decode(_BYTES)}\1")
    return f"{front}{found}{value.decode(_BYTES)}\0{rest.partition(_END)[2]}" if found else None


def with_pair(packed: str, name: bytes, value: bytes) -> str:
    """The collection with one pair more, behind the others. The caller has asked `can_pack` for both, and the name is new."""
    return f"{packed}{name.decode(_BYTES)}\1{value.decode(_BYTES)}\0"


def without_pair(packed: str, name: bytes) -> str | None:
    """The collection without the pair of this name, or None if the name is missing."""
    front, found, rest = packed.partition(f"\0{name.decode(_BYTES)}\1")
    return f"{front}\0{rest.partition(_END)[2]}" if found and 0 not in name else None


def with_member(packed: str, member: bytes) -> str:
    """The collection with one member more, behind the others. The caller has asked `can_pack`."""
    return f"{packed}{member.decode(_BYTES)}\0"


def with_first_member(packed: str, member: bytes) -> str:
    """The collection with one member more, in front of the others. The caller has asked `can_pack`."""
    return f"{packed[0]}\0{member.decode(_BYTES)}{packed[1:]}"


def without_first_member(packed: str) -> tuple[bytes, str]:
    """The first member, and the collection without it. The caller has made sure that there is one."""
    end = packed.index("\0", 2)
    return packed[2:end].encode(_BYTES), f"{packed[0]}{packed[end:]}"


def without_last_member(packed: str) -> tuple[bytes, str]:
    """The last member, and the collection without it. The caller has made sure that there is one."""
    start = packed.rindex("\0", 0, -1) + 1
    return packed[start:-1].encode(_BYTES), packed[:start]


def without_member(packed: str, member: bytes) -> str | None:
    """The collection without the first of these members, or None if there is none."""
    head, found, rest = packed.partition(f"\0{member.decode(_BYTES)}\0")
    return f"{head}\0{rest}" if found and 0 not in member else None
