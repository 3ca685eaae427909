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
# By the first bytes of instructions: 1 for those of a tail call.
_IS_TAIL_CALL: Final = bytes(byte & _OPCODE_BITS == OP_TAILCALL for byte in range(256))

_INT_BYTES: Final = 4
_SIZE_BYTES: Final = 8
_int_at = struct.Struct("<i").unpack_from
_size_at = struct.Struct("<Q").unpack_from

# The types of constants.
_STRING: Final = 4
# What constants of other types take: nil, false or true, a number.
_CONSTANT_BYTES: Final = {0: 0, 1: 1, 3: 8}


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
    # Measured: this is a third of what it takes to compile a script. Strings are passed over without a call for each.
    # The name of the source; the first line and the last; the numbers of upvalues, parameters, varargs and registers.
    at += _SIZE_BYTES + _size_at(code, at)[0] + 2 * _INT_BYTES + 4
    (count,) = _int_at(code, at)
    at += _INT_BYTES
    end = at + 4 * count
    marks = code[at:end:4].translate(_IS_TAIL_CALL)
    place = marks.find(1)
    while place >= 0:
        code[at + 4 * place] = (code[at + 4 * place] & ~_OPCODE_BITS) | OP_CALL
        place = marks.find(1, place + 1)
    (count,) = _int_at(code, end)
    at = end + _INT_BYTES
    for _ in range(count):
        kind = code[at]
        at += 1
        at += _SIZE_BYTES + _size_at(code, at)[0] if kind == _STRING else _CONSTANT_BYTES[kind]
    (count,) = _int_at(code, at)
    at += _INT_BYTES
    for _ in range(count):
        at = _pass_function(code, at)
    # The lines of the instructions.
    at += _INT_BYTES + 4 * _int_at(code, at)[0]
    # Local variables, each with where it begins and ends; upvalues.
    (count,) = _int_at(code, at)
    at += _INT_BYTES
    for _ in range(count):
        at += _SIZE_BYTES + _size_at(code, at)[0] + 2 * _INT_BYTES
    (count,) = _int_at(code, at)
    at += _INT_BYTES
    for _ in range(count):
        at += _SIZE_BYTES + _size_at(code, at)[0]
    return at
