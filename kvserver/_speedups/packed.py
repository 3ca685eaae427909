"""Usual calls of the hot commands on small collections, which are packed strs (`containers.packed`).

A usual call takes the entry of a key, None if the key is missing; a request, whose second word is the key; the configuration;
and how many members a small collection has at most. It gives the reply, and the entry that the key has then: None where the
key goes, and where nothing has changed the very same one. It gives None where the case is not so usual: then nothing has
changed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final

from kvserver._speedups.choice import leaf

# A member of a small collection has so many bytes at most.
MOST_BYTES: Final = 64
# A text that Redis's string2ll takes for an integer, but for those of 19 digits that have more than 64 bits.
INTEGER: Final = rb"(?:0|-?[1-9][0-9]{0,18})"

Request = list[bytes]
# The reply, which is an int, bytes, None, or True for OK; and the entry.
Found = tuple[Any, Any] | None
Call = Callable[[Any, Request, Any, int], Found]

_BYTES: Final = "latin-1"
_END: Final = "\0"
_INTEGER: Final = re.compile(INTEGER)
_SHORTEST_TOO_LONG: Final = 19
# Scores in no more bytes are neither too big nor too small for a double.
_NUMBER: Final = re.compile(rb"-?[0-9]++(?:\.[0-9]++)?")
_NUMBER_BYTES: Final = 17


def can_pack(member: bytes) -> bool:
    """True if a member may stand in a packed collection."""
    # Measured: to ask for a number takes a tenth of what it takes to ask for bytes.
    return len(member) <= MOST_BYTES and 0 not in member and 1 not in member


# Measured: `partition` takes less time than `find` and slices do, and `decode` less than `str`.


@leaf
def value_of(packed: str, name: bytes) -> bytes | None:
    """Return the value of a name in packed pairs, or None if the name is missing."""
    # No longer name stands there, and a client may ask for one of megabytes.
    if len(name) > MOST_BYTES:
        return None
    _, found, rest = packed.partition(f"\0{name.decode(_BYTES)}\1")
    # A name that holds a NUL would find the end of one pair and the beginning of the next.
    return rest.partition("\0")[0].encode(_BYTES) if found and 0 not in name else None


@leaf
def has_member(packed: str, member: bytes) -> bool:
    """Return True if a member is among packed members."""
    # A member that holds a NUL would find two others.
    return len(member) <= MOST_BYTES and f"\0{member.decode(_BYTES)}\0" in packed and 0 not in member


# Calls


@leaf
def get_field(entry: Any, request: Request, config: Any, most: int) -> Found:
    """HGET."""
    if len(request) != 3 or (entry is not None and (type(entry) is not str or entry[0] != "h")):
        return None
    return None if entry is None else value_of(entry, request[2]), entry


@leaf
def find_member(entry: Any, request: Request, config: Any, most: int) -> Found:
    """SISMEMBER."""
    if len(request) != 3 or (entry is not None and (type(entry) is not str or entry[0] not in "is")):
        return None
    return 1 if entry is not None and has_member(entry, request[2]) else 0, entry


@leaf
def set_field(entry: Any, request: Request, config: Any, most: int) -> Found:
    """HSET of one field, in a hash that stays packed and that Redis would hold as a listpack with its present limits."""
    packed = "h\0" if entry is None else entry
    if len(request) != 4 or type(packed) is not str or packed[0] != "h":
        return None
    _, _, field, value = request
    longest = config.hash_max_listpack_value
    if (
        len(field) > longest
        or len(value) > longest
        or config.hash_max_listpack_entries < most
        or len(field) > MOST_BYTES
        or len(value) > MOST_BYTES
        or 0 in field
        or 1 in field
        or 0 in value
        or 1 in value
    ):
        return None
    front, found, rest = packed.partition(f"\0{field.decode(_BYTES)}\1")
    if found:
        return 0, f"{front}{found}{value.decode(_BYTES)}\0{rest.partition(_END)[2]}"
    if packed.count("\1") >= most:
        return None
    return 1, f"{packed}{field.decode(_BYTES)}\1{value.decode(_BYTES)}\0"


@leaf
def push_left(entry: Any, request: Request, config: Any, most: int) -> Found:
    """LPUSH of one element."""
    packed = "l\0" if entry is None else entry
    if len(request) != 3 or type(packed) is not str or packed[0] != "l":
        return None
    length, element = packed.count("\0"), request[2]
    if length > most or not can_pack(element):
        return None
    return length, f"l\0{element.decode(_BYTES)}{packed[1:]}"


@leaf
def push_right(entry: Any, request: Request, config: Any, most: int) -> Found:
    """RPUSH of one element."""
    packed = "l\0" if entry is None else entry
    if len(request) != 3 or type(packed) is not str or packed[0] != "l":
        return None
    length, element = packed.count("\0"), request[2]
    if length > most or not can_pack(element):
        return None
    return length, f"{packed}{element.decode(_BYTES)}\0"


@leaf
def pop_left(entry: Any, request: Request, config: Any, most: int) -> Found:
    """LPOP of one element."""
    if len(request) != 2 or (entry is not None and (type(entry) is not str or entry[0] != "l")):
        return None
    if entry is None:
        return None, None
    end = entry.index("\0", 2)
    return entry[2:end].encode(_BYTES), f"l{entry[end:]}" if end < len(entry) - 1 else None


@leaf
def pop_right(entry: Any, request: Request, config: Any, most: int) -> Found:
    """RPOP of one element."""
    if len(request) != 2 or (entry is not None and (type(entry) is not str or entry[0] != "l")):
        return None
    if entry is None:
        return None, None
    start = entry.rindex("\0", 0, -1) + 1
    return entry[start:-1].encode(_BYTES), entry[:start] if start > 2 else None


@leaf
def add_member(entry: Any, request: Request, config: Any, most: int) -> Found:
    """SADD of one member. What converts an intset is not usual."""
    if len(request) != 3 or (entry is not None and (type(entry) is not str or entry[0] not in "is")):
        return None
    member = request[2]
    if not can_pack(member):
        return None
    packed = entry if entry is not None else "i\0" if _is_integer(member) else "s\0"
    if has_member(packed, member):
        return 0, entry
    count = packed.count("\0") - 1
    if count >= most:
        return None
    if packed[0] == "i" and (count >= config.set_max_intset_entries or not _is_integer(member)):
        return None
    return 1, f"{packed}{member.decode(_BYTES)}\0"


@leaf
def remove_member(entry: Any, request: Request, config: Any, most: int) -> Found:
    """SREM of one member."""
    if len(request) != 3 or (entry is not None and (type(entry) is not str or entry[0] not in "is")):
        return None
    member = request[2]
    if entry is None or len(member) > MOST_BYTES:
        return 0, entry
    front, found, rest = entry.partition(f"\0{member.decode(_BYTES)}\0")
    if not found or 0 in member:
        return 0, entry
    return 1, f"{front}\0{rest}" if rest or len(front) > 1 else None


@leaf
def add_score(entry: Any, request: Request, config: Any, most: int) -> Found:
    """ZADD of one member without options, whose score is written in few digits."""
    packed = "z\0" if entry is None else entry
    if len(request) != 4 or type(packed) is not str or packed[0] != "z":
        return None
    _, _, text, member = request
    if len(text) > _NUMBER_BYTES or not (text.isdigit() or _NUMBER.fullmatch(text)):
        return None
    # Redis's listpacks hold no -0.0.
    score = float(text) + 0.0
    around = around_value(packed, member)
    if around is not None:
        return 0, entry if float(around[1]) == score else moved(around, member, score)
    if (
        len(member) > config.zset_max_listpack_value
        or not can_pack(member)
        or packed.count("\1") >= min(most, config.zset_max_listpack_entries)
    ):
        return None
    return 1, with_score(packed, member, score)


# The parts of calls


def around_value(packed: str, name: bytes) -> tuple[str, str, str] | None:
    """What stands before the value of a name, the value, and what stands behind it; None if the name is missing."""
    if len(name) > MOST_BYTES:
        return None
    front, found, rest = packed.partition(f"\0{name.decode(_BYTES)}\1")
    if not found or 0 in name:
        return None
    value, end, behind = rest.partition("\0")
    return front + found, value, end + behind


def with_score(packed: str, member: bytes, score: float) -> str:
    """The sorted set with one member more. It is not there yet, and the caller has asked `can_pack`."""
    return _inserted(packed, member.decode(_BYTES), score)


def moved(around: tuple[str, str, str], member: bytes, score: float) -> str:
    """The sorted set in which a member has another score. `around` is what `around_value` tells of the member."""
    front, _, behind = around
    previous = front.rpartition("\0")[0].rpartition("\1")[2]
    following = behind.partition("\1")[2].partition("\0")[0]
    # There are no scores beside those of the first member and the last one. Equal ones are in the order of their members.
    is_behind = "\1" not in front[:-1] or float(previous) < score
    if is_behind and (not following or score < float(following)):
        return f"{front}{_text_of(score)}{behind}"
    text = member.decode(_BYTES)
    return _inserted(f"{front[: -len(text) - 1]}{behind[1:]}", text, score)


def _inserted(packed: str, member: str, score: float) -> str:
    pairs = packed.split("\0")
    # In front of the pairs stands the mark, and behind them nothing.
    place = bisect_left(pairs, (score, member), 1, len(pairs) - 1, key=_key)
    pairs.insert(place, f"{member}\1{_text_of(score)}")
    return "\0".join(pairs)


def _text_of(score: float) -> str:
    return f"{score:.17g}"


def _key(pair: str) -> tuple[float, str]:
    member, _, score = pair.partition("\1")
    return float(score), member


def _is_integer(member: bytes) -> bool:
    if not _INTEGER.fullmatch(member):
        return False
    return len(member) < _SHORTEST_TOO_LONG or -(1 << 63) <= int(member) < 1 << 63
