"""INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT: strings that are numbers.

A JSON integer stays one. INCR refuses other JSON numbers; INCRBYFLOAT takes them, and its sum is a JSON number again. INCR is
on the hot path: nothing may be added to it that is not measured.
"""

from __future__ import annotations

from kvserver._speedups.choice import IS_COMPILED
from kvserver._speedups.strings import increment as usual_increment
from kvserver.data.entries import Value
from kvserver.dispatch.alike import integers
from kvserver.dispatch.arguments import MAX_INTEGER, MIN_INTEGER, WRONG_TYPE, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText, canonical
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.string.value import as_string, embedded

_ZERO = ord("0")
_SURELY_IN_RANGE_DIGITS = 18


def increment(session: Session, request: Request) -> int:
    keyspace = session.keyspace
    key = request[1]
    value = keyspace.get(key)
    # Redis reads these digits as a positive integer. int() alone takes other texts as well, and a regular expression takes
    # more time.
    if type(value) is bytes and value.isdigit() and value[0] != _ZERO and len(value) <= _SURELY_IN_RANGE_DIGITS:
        number = int(value) + 1
    elif value is None:
        number = 1
    else:
        return _add(session, key, 1)
    value = b"%d" % number
    keyspace.put_as(key, value, [b"SET", key, value])
    return number


# The decorator is not used as one: the runs call the function itself, which takes less time than by way of the command.
incr = command("incr", "key:key", "write denyoom fast", access="RW access update",
               events="incrby", since="1.0.0", group="string", complexity="O(1)",
               summary="Increment the integer value of a key by one",
               many=integers(2, increment), call=usual_increment if IS_COMPILED else None)(increment)  # fmt: skip


@command("decr", "key:key", "write denyoom fast", access="RW access update",
         events="incrby", since="1.0.0", group="string", complexity="O(1)",
         summary="Decrement the integer value of a key by one")  # fmt: skip
def decr(session: Session, request: Request) -> Reply:
    return _add(session, request[1], -1)


@command("incrby", "key:key increment:integer", "write denyoom fast", access="RW access update",
         since="1.0.0", group="string", complexity="O(1)",
         summary="Increment the integer value of a key by the given amount")  # fmt: skip
def incrby(session: Session, request: Request) -> Reply:
    return _add(session, request[1], integer(request[2]))


@command("decrby", "key:key decrement:integer", "write denyoom fast", access="RW access update",
         events="incrby", since="1.0.0", group="string", complexity="O(1)",
         summary="Decrement the integer value of a key by the given number")  # fmt: skip
def decrby(session: Session, request: Request) -> Reply:
    decrement = integer(request[2])
    if decrement == MIN_INTEGER:
        raise CommandError("ERR decrement would overflow")
    return _add(session, request[1], -decrement)


def _add(session: Session, key: bytes, amount: int) -> int:
    value = as_string(session.keyspace.live(key))
    is_json = is_json_number(value)
    number = amount + (0 if value is None else integer(value))
    if not MIN_INTEGER <= number <= MAX_INTEGER:
        raise CommandError("ERR increment or decrement would overflow")
    text = b"%d" % number
    _store(session, key, JSONText(text) if is_json else text)
    return number


def is_json_number(value: Value | None) -> bool:
    """True for a JSON number, False for a string or None. CommandError for any other document."""
    if not isinstance(value, JSONText):
        return False
    # NaN and Infinity, from a frame written elsewhere, are numbers.
    if value[:1] not in b"-0123456789NI":
        raise CommandError(WRONG_TYPE)
    return True


def _store(session: Session, key: bytes, value: Value) -> None:
    """Store a result, with the expiry that the key has. The journal gets the result: a replay must not add again."""
    session.keyspace.put(key, value, session.keyspace.expires_at_ms(key))


NOT_A_FLOAT = "ERR value is not a valid float"
NOT_FINITE = "ERR increment would produce NaN or Infinity"


@command("incrbyfloat", "key:key increment:double", "write denyoom fast", access="RW access update",
         since="2.6.0", group="string", complexity="O(1)",
         summary="Increment the float value of a key by the given amount")  # fmt: skip
def incrbyfloat(session: Session, request: Request) -> Reply:
    from kvserver.types.longdouble import LongDouble

    key = request[1]
    value = as_string(session.keyspace.live(key))
    is_json = is_json_number(value)
    number = LongDouble.parse(b"0" if value is None else value)
    increment = LongDouble.parse(request[2])
    if number is None or increment is None:
        raise CommandError(NOT_A_FLOAT)
    total = number + increment
    if not total.is_finite:
        raise CommandError(NOT_FINITE)
    text = total.text()
    if is_json:
        text = json_number(text)
    _store(session, key, JSONText(text) if is_json else embedded(text))
    return text


def json_number(text: bytes) -> bytes:
    """The canonical JSON of a number: an integer if it is one of 64 bits, else the double that JSON readers take it for."""
    # The length is looked at first: Python reads no integer of more than 4,300 digits.
    if b"." not in text and len(text) <= len(str(MIN_INTEGER)) and abs(int(text)) <= MAX_INTEGER:
        return text
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise CommandError(NOT_FINITE)
    return canonical(number)
