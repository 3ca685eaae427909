"""Ziplists, zipmaps and intsets, read: small collections in one block, as Redis keeps them, or did before 7.0.

A ziplist holds a list, a hash or a sorted set, before 7.0:

    length    4 bytes   of all, little-endian
    tail      4 bytes   the position of the last entry, little-endian
    count     2 bytes   of the entries, little-endian; 65535 where there are as many or more
    entries
    end       1 byte    0xFF

An entry is the length of the entry before it (0 for the first) in one byte, or in four, little-endian, behind 0xFE; then its
encoding and its data. The encoding is in the first byte, whose low bits may be data:

    00xxxxxx   a string of up to 63 bytes            1100 0000   an integer of 2 bytes, little-endian, as the next ones
    01xxxxxx   a string of up to 16,383 bytes        1101 0000   an integer of 4 bytes; 1110 0000 is one of 8 bytes
    10xxxxxx   a string, behind its length in        1111 0000   an integer of 3 bytes; 1111 1110 is one of 1 byte
               4 bytes, big-endian                   1111 xxxx   an integer from 0 to 12, less 1, for 1 to 13

A zipmap holds a hash, before 2.6:

    count     1 byte    of the fields; 254 where there are as many or more
    entries
    end       1 byte    0xFF

An entry is a field and its value. Each is a length and the bytes; between them for a value stands one byte that says how many
unused bytes are behind it. A length below 254 is one byte; a longer one has four, little-endian, behind 254. What an intset
looks like, `formats.intset` says. Source: ziplist.c, zipmap.c and intset.c of redis 7.0.
"""

from __future__ import annotations

import struct
from operator import ge
from typing import Final

from kvserver._speedups.choice import leaf

_END: Final = 0xFF

_ZIPLIST_HEAD_BYTES: Final = 10
# The count says nothing.
_UNCOUNTED: Final = 0xFFFF
_LONG_PREVIOUS: Final = 0xFE
_STRING_6_END, _STRING_14_END, _STRING_32_END = 0x40, 0x80, 0xC0
# The bytes of an integer, by its encoding.
_INTEGER_BYTES: Final = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}
_SMALL, _SMALL_END = 0xF1, 0xFE

_LONG_LENGTH: Final = 254

_INTSET_HEAD: Final = struct.Struct("<II")
# The formats of integers of each size.
_FORMATS: Final = {2: "h", 4: "i", 8: "q"}


@leaf
def read_ziplist(data: bytes) -> list[bytes]:
    """The strings of a ziplist, integers as their decimals. ValueError if the data is not exactly one ziplist."""
    if len(data) <= _ZIPLIST_HEAD_BYTES or int.from_bytes(data[:4], "little") != len(data) or data[-1] != _END:
        raise ValueError("the data has another length than it says, or no end")
    strings: list[bytes] = []
    position = last = _ZIPLIST_HEAD_BYTES
    end = len(data) - 1
    length = 0
    try:
        while position < end:
            previous, start = data[position], position + 1
            if previous == _LONG_PREVIOUS:
                previous, start = int.from_bytes(data[start : start + 4], "little"), start + 4
            if previous != length:
                raise ValueError("an entry tells another length of the one before it")
            string, following = _read_entry(data, start)
            strings.append(string)
            length, last, position = following - position, position, following
    except IndexError:
        raise ValueError("the data ends inside an entry") from None
    if position != end:
        raise ValueError("the last entry reaches into the end")
    if int.from_bytes(data[4:8], "little") != last:
        raise ValueError("the last entry is at another position")
    count = int.from_bytes(data[8:_ZIPLIST_HEAD_BYTES], "little")
    if count not in (len(strings), _UNCOUNTED):
        raise ValueError("the count is another one")
    return strings


def _read_entry(data: bytes, position: int) -> tuple[bytes, int]:
    """Read an encoding and its data. Return the string and the position behind it, which may be behind the data."""
    first = data[position]
    if first < _STRING_32_END:
        if first < _STRING_6_END:
            start, length = position + 1, first
        elif first < _STRING_14_END:
            start, length = position + 2, (first & 0x3F) << 8 | data[position + 1]
        else:
            start, length = position + 5, int.from_bytes(data[position + 1 : position + 5], "big")
        return data[start : start + length], start + length
    if _SMALL <= first < _SMALL_END:
        return b"%d" % (first - _SMALL), position + 1
    if first not in _INTEGER_BYTES:
        raise ValueError("an entry has an unknown encoding")
    following = position + 1 + _INTEGER_BYTES[first]
    return b"%d" % int.from_bytes(data[position + 1 : following], "little", signed=True), following


@leaf
def read_zipmap(data: bytes) -> list[bytes]:
    """The fields and values of a zipmap, in turn. ValueError if the data is not exactly one zipmap."""
    if len(data) < 2 or data[-1] != _END:
        raise ValueError("the data has no end")
    strings: list[bytes] = []
    position, end = 1, len(data) - 1
    try:
        while position < end:
            length, start = _read_length(data, position)
            field = data[start : start + length]
            length, start = _read_length(data, start + length)
            unused = data[start]
            value = data[start + 1 : start + 1 + length]
            strings += field, value
            position = start + 1 + length + unused
    except IndexError:
        raise ValueError("the data ends inside an entry") from None
    if position != end:
        raise ValueError("the last entry reaches into the end")
    if data[0] not in (len(strings) // 2, _LONG_LENGTH):
        raise ValueError("the count is another one")
    return strings


def _read_length(data: bytes, position: int) -> tuple[int, int]:
    """Read a length. Return it and the position behind it."""
    first = data[position]
    if first == _END:
        raise ValueError("the end stands where a length should")
    if first < _LONG_LENGTH:
        return first, position + 1
    return int.from_bytes(data[position + 1 : position + 5], "little"), position + 5


@leaf
def read_intset(data: bytes) -> list[bytes]:
    """The decimals of an intset, ascending. ValueError if the data is not exactly one intset, or they are in another order."""
    if len(data) < _INTSET_HEAD.size:
        raise ValueError("the data ends inside the head")
    size, count = _INTSET_HEAD.unpack_from(data)
    if size not in _FORMATS or len(data) != _INTSET_HEAD.size + size * count:
        raise ValueError("the data has another length than it says")
    numbers = struct.unpack_from(f"<{count}{_FORMATS[size]}", data, _INTSET_HEAD.size)
    if any(map(ge, numbers, numbers[1:])):
        raise ValueError("the integers are not in order")
    return list(map(b"%d".__mod__, numbers))
