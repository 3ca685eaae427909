"""Arguments of commands as Redis reads them: numbers, times, databases. Pure.

Each function takes one word of a call (bytes), and the session if it asks that, too, and raises CommandError, with Redis's
text, where the word is none. Options and their order are the business of `notation`.
"""

from __future__ import annotations

import re

from kvserver.data.keyspace import Keyspace
from kvserver.errors import CommandError
from kvserver.options.table import MOST_DATABASES
from kvserver.state.session import Session

SYNTAX_ERROR = "ERR syntax error"
SAME_OBJECT = "ERR source and destination objects are the same"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
INT_MAX = 2**31 - 1
MAX_CURSOR = 2**64 - 1
MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)

_ZERO = ord("0")
_SURELY_IN_RANGE_DIGITS = 18

# The numbers that most words are, as indices and counts.
_USUAL = {b"%d" % number: number for number in range(-64, 1024)}

# As Redis's string2ll reads it: int() would take b"+1", b" 1 " and b"1_0", too.
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
# The texts that strtoul takes, but without white space in front. A minus sign negates, modulo 2**64.
_CURSOR = re.compile(rb"([+-]?)([0-9]+)|")


def integer(text: bytes, error: str = NOT_AN_INTEGER) -> int:
    """The signed 64-bit integer that a word is. CommandError with the text `error` if it is none."""
    # Measured: these are found in a tenth of what the regular expression takes, by which 0 and -1 would have to go.
    number = _USUAL.get(text)
    if number is not None:
        return number
    # For other positive numbers this takes a third of it.
    if len(text) <= _SURELY_IN_RANGE_DIGITS and text.isdigit() and text[0] != _ZERO:
        return int(text)
    if _INTEGER.fullmatch(text):
        number = int(text)
        if MIN_INTEGER <= number <= MAX_INTEGER:
            return number
    raise CommandError(error)


def at_least(least: int, text: bytes, error: str) -> int:
    """The number in a text. CommandError with the text `error` if it is none, or less than `least`."""
    number = integer(text, error)
    if number < least:
        raise CommandError(error)
    return number


def expiry_ms(text: bytes, *, unit_ms: int, base_ms: int, command: str) -> int:
    """The time of an expiry (Unix milliseconds), from a number of units of `unit_ms` after `base_ms` (0 for absolute times).

    CommandError, which names the command, unless the number is positive and the time has 64 bits.
    """
    number = integer(text)
    if not 0 < number <= (MAX_INTEGER - base_ms) // unit_ms:
        raise CommandError(f"ERR invalid expire time in '{command}' command")
    return number * unit_ms + base_ms


def database(session: Session, text: bytes) -> Keyspace:
    """The keyspace of the database whose number is in the text. CommandError if there is no such database."""
    number = integer(text)
    if not -INT_MAX - 1 <= number <= INT_MAX:
        raise CommandError(f"ERR value is out of range, value must between {-INT_MAX - 1} and {INT_MAX}")
    return numbered_database(session, number)


def numbered_database(session: Session, number: int) -> Keyspace:
    """The keyspace of the database with this number. CommandError if there is no such database."""
    # There may have been more when the journal was written.
    count = MOST_DATABASES if session.is_replay else session.server.config.databases
    if not 0 <= number < count:
        raise CommandError("ERR DB index is out of range")
    return session.server.databases[number]


def cursor_of(text: bytes) -> int:
    """The cursor that Redis reads in a text, from 0 to MAX_CURSOR. CommandError if the text is no cursor."""
    # Redis reads the text as a C string, which ends at a NUL.
    match = _CURSOR.fullmatch(text.partition(b"\0")[0])
    number = int(match[2] or 0) if match and len(text) <= 4096 else MAX_CURSOR + 1
    if match is None or number > MAX_CURSOR:
        raise CommandError("ERR invalid cursor")
    return -number % (MAX_CURSOR + 1) if match[1] == b"-" else number
