"""Bytecode of Lua 5.1 in which tail calls are calls, so that the line that called stays on the stack for error texts. Pure.

`return redis.call(…)` is a tail call. Where `redis.call` is a Lua function, the frame of the script would be gone before the
error is raised, and with it the line that Redis names. The price: a tail recursion ends at 20,000 calls, as any recursion.

The format is that of Lua 5.1's ldump.c on 64-bit machines with little endian words. This is for what the interpreter itself
has compiled: bytecode from elsewhere could crash the process.
"""

from __future__ import annotations

import struct
from typing import Final

# The signature, version 5.1, format 0, little endian, and the sizes of int, size_t, instructions and numbers.
HEADER: Final = b"\x1bLua\x51\x00\x01\x04\x08\x04\x08\x00"
OP_CALL: Final = 28
OP_TAILCALL: Final = 29
_OPCODE_BITS: Final = 63

_INT: Final = struct.Struct("<i")
_SIZE: Final = struct.Struct("<Q")

# The types of constants.
_BOOLEAN: Final = 1
_NUMBER: Final = 3
_STRING: Final = 4


def without_tail_calls(dump: bytes) -> bytes:
    """The bytecode with a call for each tail call. ValueError for what is no bytecode of this machine's Lua 5.1."""
    if not dump.startswith(HEADER):
        raise ValueError("no bytecode of Lua 5.1 for a 64-bit machine with little endian words")
    code = bytearray(dump)
    if _pass_function(code, len(HEADER)) != len(code):
        raise ValueError("there is something behind the bytecode")
    return bytes(code)


def _pass_function(code: bytearray, at: int) -> int:
    """Change the function that begins there, and those in it. Return the place behind it."""
    # The name of the source; the first line and the last; the numbers of upvalues, parameters, varargs and registers.
    at = _pass_string(code, at) + 2 * _INT.size + 4
    count, at = _count(code, at)
    for place in range(at, at + 4 * count, 4):
        if code[place] & _OPCODE_BITS == OP_TAILCALL:
            code[place] = (code[place] & ~_OPCODE_BITS) | OP_CALL
    at += 4 * count
    count, at = _count(code, at)
    for _ in range(count):
        kind = code[at]
        at += 1
        if kind == _STRING:
            at = _pass_string(code, at)
        else:
            at += {_BOOLEAN: 1, _NUMBER: 8}.get(kind, 0)
    count, at = _count(code, at)
    for _ in range(count):
        at = _pass_function(code, at)
    # The lines of the instructions.
    count, at = _count(code, at)
    at += 4 * count
    # Local variables, each with where it begins and ends; upvalues.
    for beside in (2 * _INT.size, 0):
        count, at = _count(code, at)
        for _ in range(count):
            at = _pass_string(code, at) + beside
    return at


def _count(code: bytearray, at: int) -> tuple[int, int]:
    return _INT.unpack_from(code, at)[0], at + _INT.size


def _pass_string(code: bytearray, at: int) -> int:
    return at + _SIZE.size + int(_SIZE.unpack_from(code, at)[0])
