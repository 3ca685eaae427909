"""Decompression of LZF, by which Redis compresses strings in RDB files and DUMP payloads.

The format is that of lzf_d.c in http://oldhome.schmorp.de/marc/liblzf.html. Each item begins with a control byte. If it is
below 32, so many bytes and one more follow as they are. Else its upper three bits are a length less 2, to which the next byte
is added if they are 7; its lower five bits and the byte behind are a distance back into the output, less 1.
"""

from __future__ import annotations

from kvserver._speedups.choice import leaf

_LITERAL_LIMIT = 32
# The length of a reference that has a byte more.
_LONG_MATCH = 7 + 2


@leaf
def decompress(data: bytes, length: int) -> bytes:
    """Return the `length` bytes that the data holds. ValueError if it holds more or fewer, or is no LZF.

    What is allocated never exceeds that length, nor what so much data can stand for, by more than some hundred bytes.
    """
    output = bytearray()
    size, position, end = 0, 0, len(data)
    while position < end:
        control = data[position]
        if control < _LITERAL_LIMIT:
            literal_end = position + control + 2
            output += data[position + 1 : literal_end]
            size += control + 1
            position = literal_end
        else:
            count = (control >> 5) + 2
            try:
                if count == _LONG_MATCH:
                    position += 1
                    count += data[position]
                distance = ((control & 0x1F) << 8 | data[position + 1]) + 1
            except IndexError:
                raise ValueError("the data ends inside a reference") from None
            position += 2
            if distance > size:
                raise ValueError("a reference points before the start")
            start = size - distance
            if distance >= count:
                output += output[start : start + count]
            # It reaches into what it makes itself, which then repeats.
            else:
                output += (output[start:] * (count // distance + 1))[:count]
            size += count
        if size > length:
            break
    if position > end:
        raise ValueError("the data ends inside a literal")
    if size != length or not data:
        raise ValueError("the data has another length than it says")
    return bytes(output)
