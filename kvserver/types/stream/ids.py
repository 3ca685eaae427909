"""Ids of a stream's entries: milliseconds and a sequence number, each of 64 bits, as in `1526919030474-55`. Pure.

Redis reads an id as a C string, so that it ends at a NUL. Source: streamGenericParseIDOrReply and string2ull of redis 7.0.
"""

from __future__ import annotations

import re
from typing import Final

from kvserver.errors import CommandError

# Milliseconds and a sequence number. Ids are in the order of tuples.
Id = tuple[int, int]

MOST: Final = 2**64 - 1
FIRST: Final[Id] = (0, 0)
LAST: Final[Id] = (MOST, MOST)
INVALID: Final = "ERR Invalid stream ID specified as stream command argument"
_SURELY_IN_RANGE_DIGITS: Final = 20
# The longest text that Redis reads.
_MOST_BYTES: Final = 127
# The texts that strtoull takes. A minus sign negates, modulo 2**64.
_NUMBER: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?)([0-9]+)")
# The negative numbers that are none: Redis reads numbers of a long's spelling in another way.
_NEGATIVE: Final = re.compile(rb"-[1-9][0-9]*")


def text_of(identity: Id) -> bytes:
    """The text of an id."""
    return b"%d-%d" % identity


def parse(text: bytes, missing_sequence: int = 0) -> Id:
    """The id that a text is; where it has milliseconds alone, with this sequence number. CommandError if it is none."""
    milliseconds, dash, sequence = text.partition(b"-")
    # Measured: the usual texts are read in a quarter of the time.
    if (
        dash
        and milliseconds.isdigit()
        and sequence.isdigit()
        and len(milliseconds) < _SURELY_IN_RANGE_DIGITS
        and len(sequence) < _SURELY_IN_RANGE_DIGITS
    ):
        return int(milliseconds), int(sequence)
    return _parse(text, missing_sequence)


def parse_open(text: bytes) -> tuple[Id, bool]:
    """The id that a text is, and True if its sequence number is left open, as in `5-*`: it is 0 then."""
    text = _as_c_string(text)
    if text.endswith(b"-*") and text.index(b"-") == len(text) - 2:
        return (_number(text[:-2]), 0), True
    return parse(text), False


def parse_bound(text: bytes, missing_sequence: int = 0) -> Id:
    """`parse` that takes `-` for the least id and `+` for the greatest one, too."""
    if text == b"-":
        return FIRST
    if text == b"+":
        return LAST
    if text.isdigit() and len(text) < _SURELY_IN_RANGE_DIGITS:
        return int(text), missing_sequence
    name = _as_c_string(text)
    if name == b"-":
        return FIRST
    if name == b"+":
        return LAST
    return parse(text, missing_sequence)


def parse_interval(start: bytes, end: bytes) -> tuple[Id, Id]:
    """The first id and the last one of an interval, of which each may be exclusive, as in `(5-1`. CommandError as in Redis."""
    return parse_start(start), parse_end(end)


def parse_start(text: bytes) -> Id:
    """The first id of an interval that begins there, which may be exclusive. CommandError as in Redis."""
    if not _is_exclusive(text):
        return parse_bound(text)
    identity = after(parse(text[1:]))
    if identity is None:
        raise CommandError("ERR invalid start ID for the interval")
    return identity


def parse_end(text: bytes) -> Id:
    """The last id of an interval that ends there, which may be exclusive. CommandError as in Redis."""
    if not _is_exclusive(text):
        return parse_bound(text, MOST)
    identity = before(parse(text[1:], MOST))
    if identity is None:
        raise CommandError("ERR invalid end ID for the interval")
    return identity


def after(identity: Id) -> Id | None:
    """The next id, or None behind the last one."""
    milliseconds, sequence = identity
    if sequence < MOST:
        return milliseconds, sequence + 1
    return (milliseconds + 1, 0) if milliseconds < MOST else None


def before(identity: Id) -> Id | None:
    """The id before this one, or None before the first one."""
    milliseconds, sequence = identity
    if sequence:
        return milliseconds, sequence - 1
    return (milliseconds - 1, MOST) if milliseconds else None


def following(last: Id, now_ms: int) -> Id:
    """The id that an entry is given at this Unix time, in a stream whose last one was this. It wraps behind LAST."""
    if now_ms > last[0]:
        return now_ms, 0
    return after(last) or FIRST


def _is_exclusive(text: bytes) -> bool:
    return len(text) > 1 and text.startswith(b"(")


def _as_c_string(text: bytes) -> bytes:
    if len(text) > _MOST_BYTES:
        raise CommandError(INVALID)
    return text.partition(b"\0")[0]


def _parse(text: bytes, missing_sequence: int) -> Id:
    milliseconds, dash, sequence = _as_c_string(text).partition(b"-")
    first = _number(milliseconds)
    return first, _number(sequence) if dash else missing_sequence


def _number(text: bytes) -> int:
    match = _NUMBER.fullmatch(text)
    number = int(match[2]) if match else MOST + 1
    if match is None or number > MOST or _is_long(text):
        raise CommandError(INVALID)
    return -number % (MOST + 1) if match[1] == b"-" else number


def _is_long(text: bytes) -> bool:
    """True for the usual spelling of a negative number of 64 bits."""
    return _NEGATIVE.fullmatch(text) is not None and int(text) >= -(2**63)
