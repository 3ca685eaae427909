"""BITFIELD and BITFIELD_RO: integers of up to 64 bits, anywhere in a string."""

from __future__ import annotations

import re
from typing import NamedTuple

from kvserver.dispatch.arguments import MAX_INTEGER, SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.string.bits import bit_offset
from kvserver.types.string.ranges import changeable
from kvserver.types.string.value import as_string, raw

# The number of arguments behind each word. SET and INCRBY have a number behind type and offset.
_WORDS = {b"GET": 2, b"SET": 3, b"INCRBY": 3, b"OVERFLOW": 1}
_OVERFLOWS = (b"WRAP", b"SAT", b"FAIL")
_TYPE = re.compile(rb"([iu])([1-9][0-9]?)")
_NO_TYPE = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."


class Field(NamedTuple):
    """The place of an integer in a string: its width and the offset of its first bit, in bits."""

    is_signed: bool
    width: int
    offset: int

    @property
    def least(self) -> int:
        return -(1 << self.width - 1) if self.is_signed else 0

    @property
    def greatest(self) -> int:
        return (1 << self.width - self.is_signed) - 1

    @property
    def end_byte(self) -> int:
        return (self.offset + self.width + 7) >> 3

    def read(self, string: bytes | bytearray) -> int:
        """The integer in a string, which is followed by zeros."""
        first = self.offset >> 3
        number = int.from_bytes(string[first : self.end_byte].ljust(self.end_byte - first, b"\0"), "big")
        number = number >> (-(self.offset + self.width) & 7) & ((1 << self.width) - 1)
        return number - (1 << self.width) if number > self.greatest else number

    def write(self, string: bytearray, number: int) -> None:
        """Store an integer that fits the field, in a string that is long enough."""
        first, shift = self.offset >> 3, -(self.offset + self.width) & 7
        mask = (1 << self.width) - 1
        present = int.from_bytes(string[first : self.end_byte], "big")
        changed = present & ~(mask << shift) | (number & mask) << shift
        string[first : self.end_byte] = changed.to_bytes(self.end_byte - first, "big")

    def fit(self, number: int, overflow: bytes) -> int | None:
        """The number that is stored for one that may be too big or too small for the field; None if FAIL forbids it."""
        if self.least <= number <= self.greatest:
            return number
        if overflow == b"FAIL":
            return None
        if overflow == b"SAT":
            return self.greatest if number > self.greatest else self.least
        number &= (1 << self.width) - 1
        return number - (1 << self.width) if number > self.greatest else number


class _Operation(NamedTuple):
    """GET, SET or INCRBY of a field. `number` is 0 for GET."""

    name: bytes
    field: Field
    number: int
    overflow: bytes


def _parse_field(session: Session, kind: bytes, offset: bytes) -> Field:
    match = _TYPE.fullmatch(kind)
    is_signed = kind[:1] == b"i"
    if not match or int(match[2]) > (64 if is_signed else 63):
        raise CommandError(_NO_TYPE)
    width = int(match[2])
    return Field(is_signed, width, bit_offset(session, offset, width))


def _parse(session: Session, words: list[bytes]) -> list[_Operation]:
    """The operations in their order, which the options that the notation finds don't have."""
    operations: list[_Operation] = []
    overflow = b"WRAP"
    position = 0
    while position < len(words):
        name = words[position].upper()
        arguments = words[position + 1 : position + 1 + _WORDS.get(name, 0)]
        if name not in _WORDS or len(arguments) < _WORDS[name]:
            raise CommandError(SYNTAX_ERROR)
        position += 1 + len(arguments)
        if name == b"OVERFLOW":
            overflow = arguments[0].upper()
            if overflow not in _OVERFLOWS:
                raise CommandError("ERR Invalid OVERFLOW type specified")
        else:
            field = _parse_field(session, *arguments[:2])
            operations.append(_Operation(name, field, 0 if name == b"GET" else integer(arguments[2]), overflow))
    return operations


def _access_of_bitfield(request: Request) -> str:
    writes = any(word.upper() in (b"SET", b"INCRBY") for word in request[2:])
    return "RW access update" if writes else "RO access"


@command("bitfield",
         "key:key operation<GET=encoding_offset{encoding offset:integer}|write{OVERFLOW=wrap_sat_fail<WRAP|SAT|FAIL>? "
         "write_operation<SET=encoding_offset_value{encoding offset:integer value:integer}|"
         "INCRBY=encoding_offset_increment{encoding offset:integer increment:integer}>}>?+",
         "write denyoom", access="RW access update variable_flags",
         key_notes=("This command allows both access and modification of the key",), access_of=_access_of_bitfield,
         events={"": "setbit", "SETRANGE": ""}, since="3.2.0", group="bitmap", complexity="O(1) for each subcommand specified",
         summary="Perform arbitrary bitfield integer operations on strings")  # fmt: skip
def bitfield(session: Session, request: Request) -> Reply:
    operations = _parse(session, request[2:])
    ends = [operation.field.end_byte for operation in operations if operation.name != b"GET"]
    if not ends:
        return _read(session, request[1], operations)
    before = changeable(session, request[1])
    string = bytearray(before or b"").ljust(max(ends), b"\0")
    replies: list[Reply] = []
    is_written = False
    for operation in operations:
        field = operation.field
        present = field.read(string)
        if operation.name == b"GET":
            replies.append(present)
            continue
        wanted = operation.number
        if operation.name == b"INCRBY":
            wanted += present
        elif not field.is_signed:
            # Redis takes the number for an unsigned integer of 64 bits.
            wanted %= 1 << 64
        elif field.width < 64 and wanted < field.greatest - MAX_INTEGER:
            # Redis's check of the upper end overflows for this number, so that it saturates to the greatest one.
            wanted += 1 << 64
        number = field.fit(wanted, operation.overflow)
        if number is not None:
            field.write(string, number)
            is_written = True
        replies.append(number if number is None or operation.name == b"INCRBY" else present)
    after = bytes(string)
    if after != before:
        # A string that has only become longer, since FAIL forbids all that was to be written, is no event in Redis.
        grown = [b"SETRANGE", request[1], b"%d" % (len(after) - 1), after[-1:]]
        session.keyspace.change(request[1], raw(after), [b"BITFIELD", *request[1:]] if is_written else grown)
    else:
        session.keyspace.put_equal(request[1], raw(after))
    return replies


def _read(session: Session, key: bytes, operations: list[_Operation]) -> Reply:
    string = bytes(as_string(session.keyspace.read(key)) or b"")
    return [operation.field.read(string) for operation in operations]


@command("bitfield_ro", "key:key GET=encoding_offset{encoding offset:integer}?++", "readonly fast", access="RO access",
         since="6.0.0", group="bitmap", complexity="O(1) for each subcommand specified",
         summary="Perform arbitrary bitfield integer operations on strings. Read-only variant of BITFIELD")  # fmt: skip
def bitfield_ro(session: Session, request: Request) -> Reply:
    operations = _parse(session, request[2:])
    if any(operation.name != b"GET" for operation in operations):
        raise CommandError("ERR BITFIELD_RO only supports the GET subcommand")
    return _read(session, request[1], operations)
