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
# A reference reaches so many bytes back at the most.
MOST_DISTANCE = 1 << 13


@leaf
def decompress(data: bytes, length: int) -> bytes:
    """Return the `length` bytes that the data holds. ValueError if it holds more or fewer, or is no LZF.

    What is allocated never exceeds that length, nor what so much data can stand for, by more than some hundred bytes.
    """
    output, position = bytearray(), 0
    while position < len(data) and len(output) <= length:
        position = _take_item(data, position, output)
    if len(output) != length or not data:
        raise ValueError("the data has another length than it says")
    return bytes(output)


@leaf
def decompress_part(data: bytes, position: int, last: bytes, most: int) -> tuple[bytes, int]:
    """Decompress the items from a position on, until these give `most` bytes, or a few hundred more, or the data ends.

    `last` is what came before it, or its last MOST_DISTANCE bytes. Return what they give, and the position behind them.
    ValueError if the data ends inside an item, or one points before the start.
    """
    output = bytearray(last)
    while position < len(data) and len(output) - len(last) < most:
        position = _take_item(data, position, output)
    return bytes(output[len(last) :]), position


def _take_item(data: bytes, position: int, output: bytearray) -> int:
    """Append what the item at a position stands for to the output. Return the position behind it."""
    control = data[position]
    if control < _LITERAL_LIMIT:
        end = position + control + 2
        if end > len(data):
            raise ValueError("the data ends inside a literal")
        output += data[position + 1 : end]
        return end
    count = (control >> 5) + 2
    try:
        if count == _LONG_MATCH:
            position += 1
            count += data[position]
        distance = ((control & 0x1F) << 8 | data[position + 1]) + 1
    except IndexError:
        raise ValueError("the data ends inside a reference") from None
    if distance > len(output):
        raise ValueError("a reference points before the start")
    start = len(output) - distance
    if distance >= count:
        output += output[start : start + count]
    # It reaches into what it makes itself, which then repeats.
    else:
        output += (output[start:] * (count // distance + 1))[:count]
    return position + 2
