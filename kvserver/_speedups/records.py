"""The records of the journal as they are written now, many at a time: those of nearly every segment.

Such a record has the header of 24 bytes, whose layout `formats/frame` tells, and a payload that begins with its time in a line
of its own, `#EXACT:` and digits. Both leaves stop before the first frame that is another one, or damaged, or not whole.
"""

from __future__ import annotations

import re
import sys
from typing import Final
from zlib import crc32

from kvserver._speedups.choice import leaf
from kvserver._speedups.requests import Request, decode

_HEAD: Final = re.compile(rb"KVJ2([0-9]{12})([0-9a-f]{8})(?=(#EXACT:[0-9]{1,20}\r\n))")
_HEADER_BYTES: Final = 24
# A link of the journal is no record.
_LINK: Final = b"KVSERVER.LINK"


@leaf
def check_records(window: bytes, start: int) -> tuple[int, int]:
    """Return the number of records from `start` on whose checksums are right, and the place behind them."""
    count = 0
    while head := _HEAD.match(window, start):
        first = start + _HEADER_BYTES
        behind = first + int(head[1])
        if behind > len(window) or behind < head.end(3) or crc32(window[first:behind]) != int(head[2], 16):
            break
        count += 1
        start = behind
    return count, start


@leaf
def split_records(window: bytes, start: int, most: int) -> tuple[list[int], list[int], list[Request], int]:
    """Return the requests of the records from `start` on, whose checksums were right, up to one that makes `most` of them.

    These are the places where the records begin, how many requests end with each, all requests, and the place behind them.
    """
    starts: list[int] = []
    ends: list[int] = []
    requests: list[Request] = []
    while len(requests) < most and (head := _HEAD.match(window, start)):
        behind = start + _HEADER_BYTES + int(head[1])
        if behind > len(window) or behind <= head.end(3):
            break
        found, rest = decode(window[head.end(3) : behind], sys.maxsize)
        if rest or found[0][0] == _LINK:
            break
        requests += found
        starts.append(start)
        ends.append(len(requests))
        start = behind
    return starts, ends, requests, start
