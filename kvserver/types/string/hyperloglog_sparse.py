"""Sparse HyperLogLogs: runs of equal registers behind the header, changed in place just as Redis changes them. Pure.

An opcode is a run, in one byte or two:

    00xxxxxx            ZERO: xxxxxx + 1 registers of 0
    01xxxxxx yyyyyyyy   XZERO: xxxxxxyyyyyyyy + 1 registers of 0
    1vvvvvxx            VAL: xx + 1 registers of vvvvv + 1

Anyone can write a string that looks like a HyperLogLog, so that nothing here relies on runs that fit, nor takes longer where
they don't. The format, and where runs are joined, are those of Redis 7.0's hyperloglog.c.
"""

from __future__ import annotations

import re
from typing import Final

from kvserver.errors import CommandError, DenseNeeded

CORRUPTED: Final = "INVALIDOBJ Corrupted HLL object detected"
HEADER_BYTES: Final = 16
REGISTERS: Final = 16_384
# Nothing longer can be right: no opcode stands for no register.
MAX_BYTES: Final = HEADER_BYTES + 2 * REGISTERS
# Redis tells the runs of any string; of a longer one nobody is told here, since that would take seconds.
_TOLD_MAX_BYTES: Final = 2 << 20

_VAL, _XZERO = 0x80, 0x40
_ZERO_MAX: Final = 64
_VAL_MAX: Final = 4
_MAX_RUN: Final = 32
# Behind a change, Redis looks at so many opcodes for two that can be joined.
_JOINED_AMONG: Final = 5

# The first byte of the next XZERO, if the search begins at an opcode: all opcodes before it have one byte.
_NEXT_XZERO = re.compile(rb"[\x40-\x7f]")
_OPCODE = re.compile(rb"[\x40-\x7f].?|.", re.DOTALL)
# By an opcode of one byte: the number of its registers, and these registers.
_SPANS: Final = bytes((byte & 3 if byte & _VAL else byte & 0x3F) + 1 for byte in range(256))
_RUNS: Final = [bytes(((byte >> 2 & 0x1F) + 1 if byte & _VAL else 0,)) * _SPANS[byte] for byte in range(256)]
# In a value of more bytes, the spans of so many opcodes are added at once on the way to a register.
_LONG_BYTES: Final = 800
_BLOCK_BYTES: Final = 64


def expand(value: bytes) -> bytes:
    """The registers of a sparse HyperLogLog, a byte each. CommandError unless its runs are those of all registers."""
    pieces: list[bytes] = []
    total, place, end = 0, HEADER_BYTES, len(value)
    if end > MAX_BYTES:
        raise CommandError(CORRUPTED)
    while place < end:
        xzero = _NEXT_XZERO.search(value, place)
        stop = xzero.start() if xzero else end
        plain = value[place:stop]
        total += sum(plain.translate(_SPANS))
        zeros = _xzero_span(value, stop) if xzero else 0
        total += zeros
        if total > REGISTERS:
            break
        pieces += map(_RUNS.__getitem__, plain)
        pieces.append(bytes(zeros))
        place = stop + 2
    if total != REGISTERS:
        raise CommandError(CORRUPTED)
    return b"".join(pieces)


def told(value: bytes) -> bytes:
    """The runs of a sparse HyperLogLog as PFDEBUG DECODE tells them. CommandError for far too long a string."""
    if len(value) > _TOLD_MAX_BYTES:
        raise CommandError(CORRUPTED)
    return b" ".join(map(_told, _OPCODE.findall(value, HEADER_BYTES)))


def _told(opcode: bytes) -> bytes:
    first = opcode[0]
    if first & _VAL:
        return b"v:%d,%d" % (_RUNS[first][0], _SPANS[first])
    if first & _XZERO:
        # A second byte that is missing is 0 for Redis, which has a NUL behind every string.
        return b"Z:%d" % (((first & 0x3F) << 8 | opcode.ljust(2, b"\0")[1]) + 1)
    return b"z:%d" % _SPANS[first]


def _xzero_span(value: bytes | bytearray, place: int) -> int:
    if place + 1 == len(value):
        raise CommandError(CORRUPTED)
    return ((value[place] & 0x3F) << 8 | value[place + 1]) + 1


def _zeros(length: int) -> bytes:
    if not length:
        return b""
    last = length - 1
    return bytes((last,)) if length <= _ZERO_MAX else bytes((_XZERO | last >> 8, last & 0xFF))


def _val(run: int, length: int) -> bytes:
    return bytes((_VAL | run - 1 << 2 | length - 1,)) if length else b""


# A place where an opcode begins: its position, the first register of its run, and the position of the opcode before it.
_Mark = tuple[int, int, int | None]
_START: Final[_Mark] = (HEADER_BYTES, 0, None)


class SparseRegisters:
    """The registers of a sparse HyperLogLog, which is changed in place, up to a length in bytes."""

    def __init__(self, value: bytearray, max_bytes: int) -> None:
        self._value = value
        self._max_bytes = max_bytes
        # Where the search for a register goes on, if it is behind the one that was last looked for.
        self._mark = _START
        self._last = -1

    def lift(self, index: int, run: int) -> bool:
        """Let a register be no lower than `run`. Return False if it was not lower.

        DenseNeeded if it can't be held, CommandError if there is no run for the register.
        """
        if run > _MAX_RUN:
            raise DenseNeeded
        value = self._value
        place, first, span, before = self._find(index)
        opcode = value[place]
        is_val, is_xzero = opcode & _VAL, not opcode & _VAL and opcode & _XZERO
        if is_val and _RUNS[opcode][0] >= run:
            return False
        if span == 1 and not is_xzero:
            value[place : place + 1] = _val(run, 1)
        else:
            in_front, behind = index - first, first + span - 1 - index
            if is_val:
                held = _RUNS[opcode][0]
                parts = _val(held, in_front) + _val(run, 1) + _val(held, behind)
            else:
                parts = _zeros(in_front) + _val(run, 1) + _zeros(behind)
            width = 2 if is_xzero else 1
            growth = len(parts) - width
            if growth > 0 and len(value) + growth > self._max_bytes:
                raise DenseNeeded
            value[place : place + width] = parts
        self._join(HEADER_BYTES if before is None else before)
        return True

    def _find(self, index: int) -> tuple[int, int, int, int | None]:
        """The opcode of a register: its position, its first register, its span, and the position of the one before it."""
        value = self._value
        end = len(value)
        mark = self._mark if index > self._last else _START
        place, first, before = mark
        # Measured: blocks take less time than opcodes one by one where there are many opcodes, and few of them are an XZERO.
        by_blocks = mark is _START and end > _LONG_BYTES
        while place < end:
            opcode, width, last = value[place], 1, place
            if opcode & _VAL == 0 and opcode & _XZERO:
                span, width = _xzero_span(value, place), 2
            elif by_blocks:
                block = value[place : place + _BLOCK_BYTES]
                xzero = _NEXT_XZERO.search(block)
                spans = (block[: xzero.start()] if xzero else block).translate(_SPANS)
                span, width = sum(spans), len(spans)
                last = place + width - 1
                if first + span > index:
                    by_blocks = False
                    continue
            else:
                span = _SPANS[opcode]
            if first + span > index:
                # The opcode before this one may change, but none before that.
                self._mark = mark if before is not None and before >= mark[0] else _START
                self._last = index
                return place, first, span, before
            mark = place, first, before
            place, first, before = place + width, first + span, last
        raise CommandError(CORRUPTED)

    def _join(self, place: int) -> None:
        """Join runs of the same value that are one behind the other, from this position on."""
        value = self._value
        for _ in range(_JOINED_AMONG):
            if place >= len(value):
                break
            opcode = value[place]
            if not opcode & _VAL:
                place += 2 if opcode & _XZERO else 1
                continue
            following = value[place + 1] if place + 1 < len(value) else 0
            length = _SPANS[opcode] + _SPANS[following]
            if opcode & ~3 == following & ~3 and length <= _VAL_MAX:
                value[place : place + 2] = _val(_RUNS[opcode][0], length)
            else:
                place += 1
