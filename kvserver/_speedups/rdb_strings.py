"""Strings and lengths as they are written in RDB files and DUMP payloads, many at a time.

`rdb_parts` reads them, and says what they look like. Strings are written uncompressed.
"""

from __future__ import annotations

import re
from typing import Final

from kvserver._speedups.choice import leaf

_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,9}")
# The first byte of an integer of so many bytes.
_INTEGERS: Final = {1: 0xC0, 2: 0xC1, 4: 0xC2}
_LENGTH_14, _LENGTH_32, _LENGTH_64 = 0x4000, 0x80, 0x81


@leaf
def write_strings(head: bytes, size: int, strings: list[bytes]) -> bytes:
    """Write strings, with the head before each group of so many of them."""
    parts = [write_string(string) for string in strings]
    parts[::size] = [head + part for part in parts[::size]]
    return b"".join(parts)


def write_string(string: bytes) -> bytes:
    """A string as it stands in a payload, also inside of other values."""
    if _INTEGER.fullmatch(string):
        number = int(string)
        for size, first in _INTEGERS.items():
            if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
                return bytes((first,)) + number.to_bytes(size, "little", signed=True)
    return write_length(len(string)) + string


def write_length(length: int) -> bytes:
    """A length or a count of up to 64 bits as it stands in a payload."""
    if length < 1 << 6:
        return bytes((length,))
    if length < 1 << 14:
        return (_LENGTH_14 | length).to_bytes(2, "big")
    if length < 1 << 32:
        return bytes((_LENGTH_32,)) + length.to_bytes(4, "big")
    return bytes((_LENGTH_64,)) + length.to_bytes(8, "big")
