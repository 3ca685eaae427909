"""Lengths and strings of RDB files and DUMP payloads, read many at a time.

A length is a number of 6, 14, 32 or 64 bits, as the first two bits of its first byte say; or that byte says how the string is
encoded that follows: as an integer of 1, 2 or 4 bytes, or compressed by LZF. A string is its length and its bytes.
Source: rdbLoadLenByRef and rdbGenericLoadStringObject in rdb.c of redis 7.0.

The data is bytes or a bytearray. A shape is made of `s` for a string, `n` for a length or a number, and digits for so many
bytes, and is passed in rounds (`formats.rdb_shape`).
"""

from __future__ import annotations

from typing import Final

from kvserver._speedups.choice import leaf
from kvserver._speedups.lzf import decompress

# The first two bits of a length say its kind; the other six of its first byte are its upper bits, or say more.
_SIX_BITS, _FOURTEEN_BITS, _WHOLE_BYTES, _ENCODED = range(4)
_LENGTH_32, _LENGTH_64 = 0x80, 0x81
_LONGER_LENGTHS: Final = {_LENGTH_32: 4, _LENGTH_64: 8}
_LZF: Final = 3
# The lengths of encoded integers, by the encoding's number.
_INTEGER_BYTES: Final = (1, 2, 4)
_STRING, _NUMBER = b"sn"
_ZERO: Final = ord("0")

Data = bytes | bytearray


def length_at(data: Data, position: int) -> tuple[int, bool, int] | None:
    """A length or number that begins at a position, or the number of an encoding: then the second item is True.

    The third is the position behind it. None if the data ends before that. ValueError if no length begins so.
    """
    if position >= len(data):
        return None
    first = data[position]
    kind = first >> 6
    if kind == _SIX_BITS:
        return first, False, position + 1
    if kind == _ENCODED:
        return first & 0x3F, True, position + 1
    if kind == _FOURTEEN_BITS:
        return None if position + 1 >= len(data) else ((first & 0x3F) << 8 | data[position + 1], False, position + 2)
    size = _LONGER_LENGTHS.get(first)
    if size is None:
        raise ValueError("no length begins so")
    following = position + 1 + size
    return None if following > len(data) else (int.from_bytes(data[position + 1 : following], "big"), False, following)


def number_at(data: Data, position: int) -> tuple[int, int] | None:
    """A length or number that begins at a position, and the position behind it. As `length_at`; ValueError for an encoding."""
    found = length_at(data, position)
    if found is not None and found[1]:
        raise ValueError("an encoding stands where a number should")
    return None if found is None else (found[0], found[2])


def string_head_at(data: Data, position: int) -> tuple[int, int, int] | None:
    """What stands before the bytes of a string: their position, how many they are, and how many the string has.

    The last one is 0 for an encoded integer. None if the data ends before these bytes. ValueError if no string begins so.
    """
    found = length_at(data, position)
    if found is None:
        return None
    length, is_encoded, following = found
    if not is_encoded:
        return following, length, length
    if length < len(_INTEGER_BYTES):
        return following, _INTEGER_BYTES[length], 0
    if length != _LZF:
        raise ValueError("a string has an unknown encoding")
    compressed = number_at(data, following)
    whole = compressed and number_at(data, compressed[1])
    return (whole[1], compressed[0], whole[0]) if compressed and whole else None


def string_at(data: Data, position: int, most_bytes: int) -> tuple[bytes, int] | None:
    """A string that begins at a position, and the position behind it. None if the data ends before that.

    ValueError if no string begins so, or it is compressed and has more than `most_bytes` bytes.
    """
    head = string_head_at(data, position)
    if head is None:
        return None
    start, stored_bytes, length = head
    end = start + stored_bytes
    first = data[position]
    if first == _ENCODED << 6 | _LZF and length > most_bytes:
        raise ValueError("a compressed string is too long")
    if end > len(data):
        return None
    stored = bytes(data[start:end])
    if first >> 6 != _ENCODED:
        return stored, end
    if first & 0x3F == _LZF:
        return decompress(stored, length), end
    return b"%d" % int.from_bytes(stored, "little", signed=True), end


@leaf
def items_at(data: Data, position: int, shape: bytes, rounds: int, most_bytes: int) -> tuple[list[bytes | int], int]:
    """Read a shape so many times. Return the items, and the position behind them. ValueError if the data is nothing like that.

    No compressed string may have more than `most_bytes` bytes.
    """
    items: list[bytes | int] = []
    for _ in range(rounds):
        for character in shape:
            found: tuple[bytes | int, int] | None
            if character == _STRING:
                found = string_at(data, position, most_bytes)
            elif character == _NUMBER:
                found = number_at(data, position)
            else:
                end = position + character - _ZERO
                found = (bytes(data[position:end]), end) if end <= len(data) else None
            if found is None:
                raise ValueError("the data ends early")
            item, position = found
            items.append(item)
    return items, position


@leaf
def pass_rounds(data: Data, position: int, shape: bytes, rounds: int, most_bytes: int) -> tuple[int, int]:
    """Pass a shape up to so many times. Return how many times are left, and the position behind what was passed.

    A round that is not whole, makes no sense, or has a string of more than `most_bytes` bytes is not passed.
    """
    while rounds:
        following = position
        for character in shape:
            try:
                if character == _STRING:
                    head = string_head_at(data, following)
                    if head is None or max(head[1:]) > most_bytes:
                        return rounds, position
                    following = head[0] + head[1]
                elif character == _NUMBER:
                    found = number_at(data, following)
                    if found is None:
                        return rounds, position
                    following = found[1]
                else:
                    following += character - _ZERO
            except ValueError:
                return rounds, position
        if following > len(data):
            return rounds, position
        position = following
        rounds -= 1
    return 0, position
