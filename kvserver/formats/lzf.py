"""Decompression of LZF, by which Redis compresses strings in RDB files and DUMP payloads. Pure.

The format is that of lzf_d.c in http://oldhome.schmorp.de/marc/liblzf.html. Each item begins with a control byte. If it is
below 32, so many bytes and one more follow as they are. Else its upper three bits are a length less 2, to which the next byte
is added if they are 7; its lower five bits and the byte behind are a distance back into the output, less 1.
"""

from __future__ import annotations

_LITERAL_LIMIT = 32
_LONG_MATCH = 7


def decompress(data: bytes, length: int) -> bytes:
    """Return the `length` bytes that the data holds. ValueError if it holds more or fewer, or is no LZF.

    What is allocated never exceeds that length by more than one item of some hundred bytes.
    """
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
