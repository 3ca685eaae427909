"""Listpacks: the strings of a small collection in one block, as Redis keeps and dumps them since 7.0. Pure.

    length    4 bytes   of all, little-endian
    count     2 bytes   of the entries, little-endian; 65535 where there are as many or more
    entries
    end       1 byte    0xFF

An entry is its encoding, its data, and the length of both once more, seven bits a byte, for reading backwards. The encoding
is in the first byte, whose low bits may be data:

    0xxxxxxx   an integer from 0 to 127        1111 0000   a string, behind its length in 4 bytes, little-endian
    10xxxxxx   a string of up to 63 bytes      1111 0001   an integer of 2 bytes, little-endian, as the next ones
    110xxxxx   an integer of 13 bits           1111 0010   an integer of 3 bytes
    1110xxxx   a string of up to 4,095 bytes   1111 0011   an integer of 4 bytes; 1111 0100 is one of 8 bytes

A string that is the decimal of such an integer is always written as one. Source: listpack.c of redis 7.0.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

# The length and the count stand before the entries, the end behind them.
OVERHEAD_BYTES: Final = 7
_HEAD_BYTES: Final = 6
_END: Final = 0xFF
# From so many entries on, the count says nothing.
_UNCOUNTED: Final = 0xFFFF
_SMALL_END: Final = 0x80
_SHORT_STRING, _SHORT_STRING_END = 0x80, 0xC0
_INTEGER_13, _INTEGER_13_END = 0xC0, 0xE0
_STRING_12, _STRING_12_END = 0xE0, 0xF0
_STRING_32: Final = 0xF0
# The bytes of an integer, by its encoding.
_INTEGER_BYTES: Final = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
# Where the entry's length is so many bytes or more, its copy behind the entry takes 3, 4 or 5 bytes.
_LONGER_COPIES: Final = (16_383, 2_097_151, 268_435_455)
# From these numbers on, an entry is so many bytes longer.
_LONGER_INTEGERS: Final = ((_SMALL_END, 1), (1 << 12, 1), (1 << 15, 1), (1 << 23, 1), (1 << 31, 4))
# The longest decimal of 64 bits.
_DECIMAL_BYTES: Final = 20
_SMALL: Final = [b"%d" % number for number in range(_SMALL_END)]
_SMALL_ENTRIES: Final = {text: bytes((number, 1)) for number, text in enumerate(_SMALL)}


def read_listpack(data: bytes) -> list[bytes]:
    """The strings of a listpack, integers as their decimals. ValueError if the data is not exactly one listpack."""
    if len(data) < OVERHEAD_BYTES or int.from_bytes(data[:4], "little") != len(data) or data[-1] != _END:
        raise ValueError("the data has another length than it says, or no end")
    strings: list[bytes] = []
    append = strings.append
    position, end = _HEAD_BYTES, len(data) - 1
    try:
        while position < end:
            first = data[position]
            if first < _SMALL_END:
                length = 1
                append(_SMALL[first])
            elif first < _SHORT_STRING_END:
                length = 1 + first - _SHORT_STRING
                append(data[position + 1 : position + length])
            elif first < _INTEGER_13_END:
                length = 2
                number = (first - _INTEGER_13) << 8 | data[position + 1]
                append(b"%d" % (number if number < 1 << 12 else number - (1 << 13)))
            else:
                string, length = _read_long(data, position, first)
                append(string)
            position += length
            if length < _SMALL_END:
                if data[position] != length:
                    raise ValueError("the copy of an entry's length is another one")
                position += 1
            else:
                copy = _length_copy(length)
                if not data.startswith(copy, position):
                    raise ValueError("the copy of an entry's length is another one")
                position += len(copy)
    except IndexError:
        raise ValueError("the data ends inside an entry") from None
    # The last byte of a length's copy can be like the end.
    if position != end:
        raise ValueError("the last entry reaches into the end")
    count = int.from_bytes(data[4:_HEAD_BYTES], "little")
    if count not in (len(strings), _UNCOUNTED):
        raise ValueError("the count is another one")
    return strings


def _read_long(data: bytes, position: int, first: int) -> tuple[bytes, int]:
    """Read an entry of one of the rarer encodings. Return the string, and the length of encoding and data.

    The string is shorter than that where the data ends inside of it.
    """
    if first < _STRING_12_END:
        length = 2 + ((first - _STRING_12) << 8 | data[position + 1])
        return data[position + 2 : position + length], length
    if first == _STRING_32:
        length = 5 + int.from_bytes(data[position + 1 : position + 5], "little")
        return data[position + 5 : position + length], length
    if first not in _INTEGER_BYTES:
        raise ValueError("an entry has an unknown encoding")
    length = 1 + _INTEGER_BYTES[first]
    return b"%d" % int.from_bytes(data[position + 1 : position + length], "little", signed=True), length


def write_listpack(strings: Iterable[bytes]) -> bytes:
    """The listpack of these strings. OverflowError if it has 4 GB or more."""
    return join_entries([write_entry(string) for string in strings])


def join_entries(entries: list[bytes]) -> bytes:
    """The listpack of these entries, made by `write_entry`. OverflowError if it has 4 GB or more."""
    length = OVERHEAD_BYTES + sum(map(len, entries))
    count = min(len(entries), _UNCOUNTED)
    return b"%b%b%b\xff" % (length.to_bytes(4, "little"), count.to_bytes(2, "little"), b"".join(entries))


def write_entry(string: bytes) -> bytes:
    """One entry, with the copy of its length."""
    entry = _SMALL_ENTRIES.get(string)
    if entry is not None:
        return entry
    length = len(string)
    if length <= _DECIMAL_BYTES and (string.isdigit() or string[:1] == b"-"):
        entry = _write_integer(string)
        if entry is not None:
            return entry
    if length <= _SHORT_STRING_END - _SHORT_STRING - 1:
        return b"%c%b%c" % (_SHORT_STRING + length, string, length + 1)
    if length < 1 << 12:
        head = bytes((_STRING_12 | length >> 8, length & 0xFF))
    else:
        head = bytes((_STRING_32,)) + length.to_bytes(4, "little")
    return head + string + _length_copy(len(head) + length)


def entry_size(string: bytes) -> int:
    """The length of the entry that `write_entry` gives."""
    length = len(string)
    if length <= _DECIMAL_BYTES and (string.isdigit() or string[:1] == b"-"):
        return len(write_entry(string))
    return string_size(length)


def entries_size(strings: Sequence[bytes]) -> int:
    """The length of the entries of some strings. Measured: this takes a fifth of what `entry_size` takes for each of them."""
    lengths = list(map(len, strings))
    if not lengths or max(lengths) >= len(_STRING_SIZES):
        return sum(map(entry_size, strings))
    size = sum(map(_STRING_SIZES.__getitem__, lengths))
    if min(lengths) > _DECIMAL_BYTES:
        return size
    for string in strings:
        if len(string) <= _DECIMAL_BYTES and (string.isdigit() or string[:1] == b"-"):
            size += len(write_entry(string)) - _STRING_SIZES[len(string)]
    return size


def integers_size(numbers: Sequence[int]) -> int:
    """The length of the entries of integers from 0 on that never get less. Measured: no step is one for each of them."""
    if numbers and numbers[-1] >= 1 << 63:
        return sum(map(integer_size, numbers))
    count = len(numbers)
    size = 2 * count
    for limit, more in _LONGER_INTEGERS:
        longer = count - bisect_left(numbers, limit)
        if not longer:
            break
        size += longer * more
    return size


def integer_size(number: int) -> int:
    """The length of the entry of an integer of 64 bits, signed, or of the one that has the same bits."""
    if 0 <= number < _SMALL_END:
        return 2
    if -(1 << 12) <= number < 1 << 12:
        return 3
    if not -(1 << 63) <= number < 1 << 63:
        return integer_size((number + (1 << 63)) % (1 << 64) - (1 << 63))
    # Measured: in a fifth of the time of a loop.
    if -(1 << 31) <= number < 1 << 31:
        return 4 if -(1 << 15) <= number < 1 << 15 else 5 if -(1 << 23) <= number < 1 << 23 else 6
    return 10


def string_size(length: int) -> int:
    """The length of the entry of a string of so many bytes, if it is no integer: no shorter string, or integer, takes more."""
    # The head of a short string has one byte, and so has the copy of its length.
    return length + 2 if length <= _SHORT_STRING_END - _SHORT_STRING - 1 else _long_size(length)


def _long_size(length: int) -> int:
    length += 2 if length < 1 << 12 else 5
    if length < _LONGER_COPIES[0]:
        return length + 1 + (length >= _SMALL_END)
    return length + 3 + sum(length >= limit for limit in _LONGER_COPIES[1:])


def _write_integer(string: bytes) -> bytes | None:
    """The entry of the decimal of an integer of up to 64 bits, or None where the string is none."""
    if not string.removeprefix(b"-").isdigit():
        return None
    number = int(string)
    if b"%d" % number != string:
        return None
    if -(1 << 12) <= number < 1 << 12:
        return bytes((_INTEGER_13 | number >> 8 & 0x1F, number & 0xFF, 2))
    for encoding, size in _INTEGER_BYTES.items():
        if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
            return b"%c%b%c" % (encoding, number.to_bytes(size, "little", signed=True), 1 + size)
    return None


def _length_copy(length: int) -> bytes:
    """The copy of an entry's length, for reading backwards: all bytes but the first have their highest bit set."""
    if length < _SMALL_END:
        return bytes((length,))
    if length < _LONGER_COPIES[0]:
        return bytes((length >> 7, length & 0x7F | 0x80))
    size = 3 + sum(length >= limit for limit in _LONGER_COPIES[1:])
    septets = [length >> 7 * index & 0x7F | 0x80 for index in reversed(range(size))]
    return bytes((septets[0] & 0x7F, *septets[1:]))


# The lengths of the entries of strings that are no integers, by the lengths of the strings.
_STRING_SIZES: Final = [string_size(length) for length in range(4096)]
