"""SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP: strings as bits, of which bit 0 is the highest one of the first byte."""

from __future__ import annotations

from collections.abc import Callable
from operator import and_, or_, xor

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.string.ranges import changeable, inclusive_range, is_backward
from kvserver.types.string.value import as_string, raw

_NOT_AN_OFFSET = "ERR bit offset is not an integer or out of range"
_NOT_A_BIT = "ERR bit is not an integer or out of range"
_COUNTED_AT_ONCE_BYTES = 1 << 20


def bit_offset(session: Session, text: bytes, width: int = 0) -> int:
    """The number of a bit; with a width in bits, `#3` is the first bit of the fourth field. CommandError if out of range."""
    by_width = bool(width) and text[:1] == b"#"
    offset = integer(text[by_width:], _NOT_AN_OFFSET) * (width if by_width else 1)
    if offset < 0 or (offset >> 3 >= session.server.config.proto_max_bulk_len and not session.is_replay):
        raise CommandError(_NOT_AN_OFFSET)
    return offset


@command("setbit", "key:key offset:integer value:integer", "write denyoom", access="RW access update",
         since="2.2.0", group="bitmap", complexity="O(N) where N is the length of the string",
         summary="Sets or clears the bit at offset in the string value stored at key")  # fmt: skip
def setbit(session: Session, request: Request) -> Reply:
    key = request[1]
    offset = bit_offset(session, request[2])
    bit = integer(request[3], _NOT_A_BIT)
    if bit not in (0, 1):
        raise CommandError(_NOT_A_BIT)
    value = changeable(session, key) or b""
    position, mask = offset >> 3, 0x80 >> (offset & 7)
    is_longer = position >= len(value)
    previous = 0 if is_longer else int(bool(value[position] & mask))
    if is_longer or previous != bit:
        changed = bytearray(value)
        if is_longer:
            changed = changed.ljust(position + 1, b"\0")
        changed[position] = changed[position] & ~mask | (mask if bit else 0)
        session.keyspace.change(key, raw(bytes(changed)), [b"SETBIT", *request[1:]])
    else:
        session.keyspace.put_equal(key, raw(value))
    return previous


@command("getbit", "key:key offset:integer", "readonly fast", access="RO access",
         since="2.2.0", group="bitmap", complexity="O(1)",
         summary="Returns the bit value at offset in the string value stored at key")  # fmt: skip
def getbit(session: Session, request: Request) -> Reply:
    offset = bit_offset(session, request[2])
    value = as_string(session.keyspace.read(request[1]))
    position = offset >> 3
    return 0 if value is None or position >= len(value) else value[position] >> (7 - (offset & 7)) & 1


def _counts_bits(word: bytes) -> bool:
    unit = word.upper()
    if unit not in (b"BIT", b"BYTE"):
        raise CommandError(SYNTAX_ERROR)
    return unit == b"BIT"


def _bits_in(start: int, end: int, value: bytes, by_bit: bool) -> range:
    """The bits of an inclusive range of bits or bytes."""
    if by_bit:
        return inclusive_range(start, end, 8 * len(value))
    positions = inclusive_range(start, end, len(value))
    return range(8 * positions.start, 8 * positions.stop)


@command("bitcount", "key:key index{start:integer end:integer index_unit<BYTE|BIT>?@7.0.0}?", "readonly", access="RO access",
         since="2.6.0", group="bitmap", complexity="O(N)",
         summary="Count set bits in a string")  # fmt: skip
def bitcount(session: Session, request: Request) -> Reply:
    # The arguments are read by hand: they have fixed places, and Redis looks at the unit late.
    value = as_string(session.keyspace.read(request[1]))
    if value is None:
        return 0
    bits = range(8 * len(value))
    if len(request) in (4, 5):
        start, end = integer(request[2]), integer(request[3])
        # Redis does not look at the unit here.
        if is_backward(start, end):
            return 0
        by_bit = len(request) == 5 and _counts_bits(request[4])
        bits = _bits_in(start, end, value, by_bit)
    elif len(request) != 2:
        raise CommandError(SYNTAX_ERROR)
    if not bits:
        return 0
    piece = memoryview(value)[bits.start >> 3 : (bits.stop + 7) >> 3]
    count = sum(
        int.from_bytes(piece[start : start + _COUNTED_AT_ONCE_BYTES], "big").bit_count()
        for start in range(0, len(piece), _COUNTED_AT_ONCE_BYTES)
    )
    before, behind = bits.start & 7, -bits.stop & 7
    return count - (piece[0] >> (8 - before)).bit_count() - (piece[-1] & ((1 << behind) - 1)).bit_count()


def first_bit(value: bytes, bit: int, bits: range) -> int | None:
    """The position of the first bit that is `bit`, or None if the range has none."""
    if not bits:
        return None
    skipped = bits.start >> 3
    piece = bytearray(value[skipped : (bits.stop + 7) >> 3])
    # The bits of the first and last byte that lie outside of the range must not match.
    outside_first, outside_last = 0xFF ^ (0xFF >> (bits.start & 7)), (1 << (-bits.stop & 7)) - 1
    if bit:
        piece[0] &= ~outside_first & 0xFF
        piece[-1] &= ~outside_last & 0xFF
    else:
        piece[0] |= outside_first
        piece[-1] |= outside_last
    rest = piece.lstrip(b"\0" if bit else b"\xff")
    if not rest:
        return None
    byte = rest[0] if bit else ~rest[0] & 0xFF
    return 8 * (skipped + len(piece) - len(rest)) + 8 - byte.bit_length()


@command("bitpos", "key:key bit:integer index{start:integer end_index{end:integer index_unit<BYTE|BIT>?@7.0.0}?}?", "readonly",
         access="RO access",
         since="2.8.7", group="bitmap", complexity="O(N)",
         summary="Find first bit set or clear in a string")  # fmt: skip
def bitpos(session: Session, request: Request) -> Reply:
    bit = integer(request[2])
    if bit not in (0, 1):
        raise CommandError("ERR The bit argument must be 1 or 0.")
    value = as_string(session.keyspace.read(request[1]))
    if value is None:
        return -1 if bit else 0
    bits = range(8 * len(value))
    if len(request) > 6:
        raise CommandError(SYNTAX_ERROR)
    if len(request) > 3:
        start, end = integer(request[3]), -1
        by_bit = len(request) == 6 and _counts_bits(request[5])
        if len(request) > 4:
            end = integer(request[4])
        bits = _bits_in(start, end, value, by_bit)
    found = first_bit(value, bit, bits)
    if found is not None:
        return found
    # For a client that gives no end, zeros follow the string.
    return bits.stop if bits and not bit and len(request) < 5 else -1


_OPERATIONS: dict[bytes, Callable[[int, int], int]] = {b"AND": and_, b"OR": or_, b"XOR": xor}
_INVERTED = bytes(range(256))[::-1]


def combined(operation: bytes, values: list[bytes]) -> bytes:
    """The result of AND, OR or XOR of strings, filled up with zeros to the longest one, or of NOT of a single string."""
    if operation == b"NOT":
        return values[0].translate(_INVERTED)
    # The first byte is the lowest, so that zeros behind a string change nothing.
    result = int.from_bytes(values[0], "little")
    for value in values[1:]:
        result = _OPERATIONS[operation](result, int.from_bytes(value, "little"))
    return result.to_bytes(max(map(len, values)), "little")


@command("bitop", "operation destkey:key key:key#1+", "write denyoom", access="OW update; RO access",
         events="set", since="2.6.0", group="bitmap", complexity="O(N)",
         summary="Perform bitwise operations between strings")  # fmt: skip
def bitop(session: Session, request: Request) -> Reply:
    operation, target, sources = request[1].upper(), request[2], request[3:]
    if operation not in (*_OPERATIONS, b"NOT"):
        raise CommandError(SYNTAX_ERROR)
    if operation == b"NOT" and len(sources) != 1:
        raise CommandError("ERR BITOP NOT must be called with a single source key.")
    keyspace = session.keyspace
    result = combined(operation, [as_string(keyspace.read(key)) or b"" for key in sources])
    if result:
        keyspace.put_as(target, raw(result), [b"BITOP", *request[1:]])
    elif keyspace.live(target) is not None:
        keyspace.remove(target)
    return len(result)
