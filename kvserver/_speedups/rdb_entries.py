"""Keys of RDB files with their values, many at a time, as far as they are there and short.

A value is passed by its shape, as `formats.rdb_shape` has it, and becomes a packed collection where it can (`rdb_packed`).
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from kvserver._speedups.choice import leaf
from kvserver._speedups.rdb_packed import packed_of
from kvserver._speedups.rdb_parts import Data, number_at, string_at, string_head_at

# What may stand before a key: how often it was used, for how long it was not, and when it expires, in either unit.
IDLE, FREQUENCY, EXPIRES_MS, EXPIRES_S = 248, 249, 252, 253
# A call ends behind so many bytes: to make collections of them takes some hundred microseconds.
_CALL_BYTES: Final = 1 << 15
# Redis has this for none.
_NO_EXPIRY: Final = -1
_STRING_TYPE: Final = 0
# From this length on, a score's text is a code instead.
_CODED_SCORES: Final = 253
# What stands behind each kind of a module's items.
_ITEMS: Final = {1: "n", 2: "n", 3: "4", 4: "8", 5: "s"}

# How the values of a type are read: their shape, and a packing or nothing. None for what is no type.
Way = tuple[bytes, bytes] | None
# Of a key whose value is a body, its place among the keys, its type, and the position of the body.
Body = tuple[int, int, int]
Entry = TypeVar("Entry", bound=tuple[Any, ...])


@leaf
def entries_at(
    data: Data, position: int, ways: tuple[Way, ...], most: int, most_bytes: int, kind: type[Entry], database: int
) -> tuple[list[Entry], list[Body], int]:
    """Read up to `most` keys with their values, and what stands before them. Return them, and the position behind them.

    Each is a tuple of this kind: the database, the key, the value, when it expires, for how long it was not used, how often.
    A string is a value as it is, and a collection that can be packed is packed. In place of others are their bodies, which
    the second list tells. What is not whole, makes no sense, has more than `most_bytes` bytes or is no type ends it.
    """
    entries: list[Entry] = []
    bodies: list[Body] = []
    end = position + _CALL_BYTES
    while len(entries) < most and position < end:
        try:
            found = _entry_at(data, position, ways, most_bytes)
        except ValueError:
            found = None
        if found is None:
            break
        dump_type, start, (key, value, *usage), position = found
        if dump_type != _STRING_TYPE and isinstance(value, bytes):
            bodies.append((len(entries), dump_type, start))
        entries.append(tuple.__new__(kind, (database, key, value, *usage)))
    return entries, bodies, position


# The type, the position of the body, the items of the entry behind the database, and the position behind it.
_Found = tuple[int, int, tuple[bytes, bytes | str, int | None, int | None, int | None], int] | None


def _entry_at(data: Data, position: int, ways: tuple[Way, ...], most_bytes: int) -> _Found:
    expires_at_ms = idle_s = frequency = None
    while position < len(data) and data[position] in (IDLE, FREQUENCY, EXPIRES_MS, EXPIRES_S):
        opcode, position = data[position], position + 1
        if opcode == IDLE:
            number = number_at(data, position)
            if number is None:
                return None
            idle_s, position = number
        elif opcode == FREQUENCY:
            frequency = data[position] if position < len(data) else None
            position += 1
        else:
            end = position + (8 if opcode == EXPIRES_MS else 4)
            expires_at_ms = int.from_bytes(data[position:end], "little", signed=True) * (1 if opcode == EXPIRES_MS else 1000)
            position = end
    way = ways[data[position]] if position < len(data) else None
    if way is None:
        return None
    dump_type, (shape, packing) = data[position], way
    start = _pass(data, position + 1, len(data), "s", most_bytes)
    end = _pass(data, start, min(len(data), start + most_bytes), shape.decode(), most_bytes)
    key = string_at(data, position + 1, most_bytes)
    if key is None:
        return None
    value: bytes | str = bytes(data[start:end])
    if dump_type == _STRING_TYPE:
        string = string_at(data, start, most_bytes)
        if string is None:
            return None
        value, _ = string
    elif packing:
        value = packed_of(bytes(data[start:end]), packing, most_bytes) or value
    if expires_at_ms == _NO_EXPIRY:
        expires_at_ms = None
    return dump_type, start, (key[0], value, expires_at_ms, idle_s, frequency), end


def _pass(data: Data, position: int, end: int, shape: str, most_bytes: int) -> int:
    """Pass what has this shape. ValueError if it is not whole, makes no sense, or has a string that is too long."""
    place = 0
    while place < len(shape):
        character = shape[place]
        if character == "[":
            count, position = _number(data, position)
            closing = _closing(shape, place)
            for _ in range(count):
                position = _pass(data, position, end, shape[place + 1 : closing], most_bytes)
            place = closing
        elif character == "s":
            head = string_head_at(data, position)
            if head is None or max(head[1:]) > most_bytes:
                raise ValueError("a string is too long, or not whole")
            position = head[0] + head[1]
        elif character == "n":
            _, position = _number(data, position)
        elif character == "t":
            length = data[position] if position < len(data) else 0
            position += 1 + (length if length < _CODED_SCORES else 0)
        elif character == "m":
            kind, position = _number(data, position)
            while kind:
                if kind not in _ITEMS:
                    raise ValueError("an item of a module has no kind")
                position = _pass(data, position, end, _ITEMS[kind], most_bytes)
                kind, position = _number(data, position)
        else:
            position += int(character)
        if position > end:
            raise ValueError("the data ends early")
        place += 1
    return position


def _number(data: Data, position: int) -> tuple[int, int]:
    found = number_at(data, position)
    if found is None:
        raise ValueError("the data ends early")
    return found


def _closing(shape: str, place: int) -> int:
    """The place of the bracket that closes the one at this place."""
    depth = 0
    for index in range(place, len(shape)):
        depth += (shape[index] == "[") - (shape[index] == "]")
        if not depth:
            return index
    raise ValueError(f"{shape!r} has a bracket that is not closed")
