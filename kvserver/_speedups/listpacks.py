"""Listpacks, read and written: the strings of a small collection in one block. `formats.listpack` says what they look like."""

from __future__ import annotations

from typing import Final

from kvserver._speedups.choice import leaf

# The length and the count stand before the entries, the end behind them.
OVERHEAD_BYTES: Final = 7
_HEAD_BYTES: Final = 6
_END: Final = 0xFF
# From so many entries on, the count says nothing.
UNCOUNTED: Final = 0xFFFF
SMALL_END: Final = 0x80
SHORT_STRING, SHORT_STRING_END = 0x80, 0xC0
INTEGER_13, INTEGER_13_END = 0xC0, 0xE0
STRING_12, STRING_12_END = 0xE0, 0xF0
STRING_32: Final = 0xF0
# The bytes of an integer, by its encoding.
INTEGER_BYTES: Final = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
# Where the entry's length is so many bytes or more, its copy behind the entry takes 3, 4 or 5 bytes.
LONGER_COPIES: Final = (16_383, 2_097_151, 268_435_455)
# The longest decimal of 64 bits.
DECIMAL_BYTES: Final = 20
_SMALL: Final = [b"%d" % number for number in range(SMALL_END)]
_SMALL_ENTRIES: Final = {text: bytes((number, 1)) for number, text in enumerate(_SMALL)}


@leaf
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
            if first < SMALL_END:
                length = 1
                append(_SMALL[first])
            elif first < SHORT_STRING_END:
                length = 1 + first - SHORT_STRING
                append(data[position + 1 : position + length])
            elif first < INTEGER_13_END:
                length = 2
                number = (first - INTEGER_13) << 8 | data[position + 1]
                append(b"%d" % (number if number < 1 << 12 else number - (1 << 13)))
            else:
                string, length = _read_long(data, position, first)
                append(string)
            position += length
            if length < SMALL_END:
                if data[position] != length:
                    raise ValueError("the copy of an entry's length is another one")
                position += 1
            else:
                copy = length_copy(length)
                if not data.startswith(copy, position):
                    raise ValueError("the copy of an entry's length is another one")
                position += len(copy)
    except IndexError:
        raise ValueError("the data ends inside an entry") from None
    # The last byte of a length's copy can be like the end.
    if position != end:
        raise ValueError("the last entry reaches into the end")
    count = int.from_bytes(data[4:_HEAD_BYTES], "little")
    if count not in (len(strings), UNCOUNTED):
        raise ValueError("the count is another one")
    return strings


def _read_long(data: bytes, position: int, first: int) -> tuple[bytes, int]:
    """Read an entry of one of the rarer encodings. Return the string, and the length of encoding and data.

    The string is shorter than that where the data ends inside of it.
    """
    if first < STRING_12_END:
        length = 2 + ((first - STRING_12) << 8 | data[position + 1])
        return data[position + 2 : position + length], length
    if first == STRING_32:
        length = 5 + int.from_bytes(data[position + 1 : position + 5], "little")
        return data[position + 5 : position + length], length
    if first not in INTEGER_BYTES:
        raise ValueError("an entry has an unknown encoding")
    length = 1 + INTEGER_BYTES[first]
    return b"%d" % int.from_bytes(data[position + 1 : position + length], "little", signed=True), length


def length_copy(length: int) -> bytes:
    """The copy of an entry's length, for reading backwards: all bytes but the first have their highest bit set."""
    if length < SMALL_END:
        return bytes((length,))
    if length < LONGER_COPIES[0]:
        return bytes((length >> 7, length & 0x7F | 0x80))
    size = 3 + sum(length >= limit for limit in LONGER_COPIES[1:])
    septets = [length >> 7 * index & 0x7F | 0x80 for index in reversed(range(size))]
    return bytes((septets[0] & 0x7F, *septets[1:]))


@leaf
def write_entries(strings: list[bytes]) -> bytes:
    """The entries of strings."""
    return b"".join(map(write_entry, strings))


def write_entry(string: bytes) -> bytes:
    """One entry, with the copy of its length."""
    entry = _SMALL_ENTRIES.get(string)
    if entry is not None:
        return entry
    length = len(string)
    if length <= DECIMAL_BYTES and (string.isdigit() or string[:1] == b"-"):
        entry = _write_integer(string)
        if entry is not None:
            return entry
    if length <= SHORT_STRING_END - SHORT_STRING - 1:
        return b"%c%b%c" % (SHORT_STRING + length, string, length + 1)
    if length < 1 << 12:
        head = bytes((STRING_12 | length >> 8, length & 0xFF))
    else:
        head = bytes((STRING_32,)) + length.to_bytes(4, "little")
    return head + string + length_copy(len(head) + length)


def _write_integer(string: bytes) -> bytes | None:
    """The entry of the decimal of an integer of up to 64 bits, or None where the string is none."""
    if not string.removeprefix(b"-").isdigit():
        return None
    number = int(string)
    if b"%d" % number != string:
        return None
    if -(1 << 12) <= number < 1 << 12:
        return bytes((INTEGER_13 | number >> 8 & 0x1F, number & 0xFF, 2))
    for encoding, size in INTEGER_BYTES.items():
        if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
            return b"%c%b%c" % (encoding, number.to_bytes(size, "little", signed=True), 1 + size)
    return None
