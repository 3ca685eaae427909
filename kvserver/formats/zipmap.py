"""Zipmaps: a small hash in one block, as Redis kept and dumped it before 2.6. Pure.

    count     1 byte    of the fields; 254 where there are as many or more
    entries
    end       1 byte    0xFF

An entry is a field and its value. Each is a length and the bytes; between them for a value stands one byte that says how many
unused bytes are behind it. A length below 254 is one byte; a longer one has four, little-endian, behind 254. Source: zipmap.c
of redis 7.0.
"""

from __future__ import annotations

from typing import Final

_END: Final = 0xFF
_LONG: Final = 254


def read_zipmap(data: bytes) -> list[tuple[bytes, bytes]]:
    """The fields and values of a zipmap. ValueError if the data is not exactly one zipmap."""
    if len(data) < 2 or data[-1] != _END:
        raise ValueError("the data has no end")
    pairs: list[tuple[bytes, bytes]] = []
    position, end = 1, len(data) - 1
    try:
        while position < end:
            length, start = _read_length(data, position)
            field = data[start : start + length]
            length, start = _read_length(data, start + length)
            unused = data[start]
            value = data[start + 1 : start + 1 + length]
            pairs.append((field, value))
            position = start + 1 + length + unused
    except IndexError:
        raise ValueError("the data ends inside an entry") from None
    if position != end:
        raise ValueError("the last entry reaches into the end")
    if data[0] not in (len(pairs), _LONG):
        raise ValueError("the count is another one")
    return pairs


def _read_length(data: bytes, position: int) -> tuple[int, int]:
    """Read a length. Return it and the position behind it."""
    first = data[position]
    if first == _END:
        raise ValueError("the end stands where a length should")
    if first < _LONG:
        return first, position + 1
    return int.from_bytes(data[position + 1 : position + 5], "little"), position + 5
