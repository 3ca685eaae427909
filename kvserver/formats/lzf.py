"""Decompression of LZF, by which Redis compresses strings in RDB files and DUMP payloads. Pure.

Format: http://oldhome.schmorp.de/marc/liblzf.html, lzf_d.c. Each item begins with a control byte: below 32, so many and one
more bytes follow as they are; else its upper three bits are a length less 2, where 7 says that the next byte is to be
added to it, and its lower five with the byte behind are a distance back into the output, less 1.
"""

from __future__ import annotations

_LITERAL_LIMIT = 32
_LONG_MATCH = 7


def decompress(data: bytes, length: int) -> bytes:
    """The `length` bytes that data holds. ValueError where it holds others; never makes more than it declares."""
    output = bytearray()
    position, end = 0, len(data)
    while position < end:
        control = data[position]
        position += 1
        if control < _LITERAL_LIMIT:
            literal = data[position : position + control + 1]
            position += control + 1
            if position > end:
                raise ValueError("the data ends inside a literal")
            output += literal
        else:
            count = control >> 5
            if count == _LONG_MATCH:
                count += data[position] if position < end else 0
                position += 1
            if position >= end:
                raise ValueError("the data ends inside a reference")
            distance = ((control & 0x1F) << 8 | data[position]) + 1
            position += 1
            count += 2
            if distance > len(output):
                raise ValueError("a reference points before the start")
            # A reference may reach into what it makes itself, which then repeats.
            start = len(output) - distance
            piece = output[start : start + count]
            while len(piece) < count:
                piece += piece[: count - len(piece)]
            output += piece
        if len(output) > length:
            break
    if len(output) != length or not data:
        raise ValueError("the data has another length than it says")
    return bytes(output)
