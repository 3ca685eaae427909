"""The values of a KVStore: Python objects to what a keyspace holds, and back. Pure, but for the time of an expiry.

Scalars, and documents without floats, have ways of their own, since most values are such: measured, Python's JSON takes 2 µs
to begin with.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from json import JSONDecoder
from math import isfinite
from typing import Any, Final

import orjson

from kvserver.data.entries import Value
from kvserver.data.kinds import kind_of
from kvserver.dispatch.arguments import MAX_INTEGER, MIN_INTEGER, integer
from kvserver.errors import CommandError
from kvserver.formats.codec import JSON, JSONText, canonical_strict

_CONSTANTS: Final = {None: JSONText(b"null"), True: JSONText(b"true"), False: JSONText(b"false")}
# What is deeper goes the long way, which finds cycles.
_USUAL_DEPTH: Final = 16
_USUAL: Final = frozenset((str, bool, type(None)))
_TEXT: Final = frozenset((str,))
_MS: Final = 1000
# Canonical JSON has no white space around it. Measured: `json.loads` takes a microsecond more to find the encoding, and such.
_parse: Final = JSONDecoder().raw_decode


class Decoded:
    """A value that is a Python object already, among those that are not."""

    __slots__ = ("value",)

    def __init__(self, value: JSON) -> None:
        self.value = value


def encode_value(value: Any, takes_bytes: bool) -> bytes:
    """What a keyspace holds for a value. TypeError or ValueError if it is no JSON, nor bytes where those are taken."""
    kind = type(value)
    if kind is str:
        return value.encode()  # type: ignore[no-any-return]
    if kind is int and MIN_INTEGER <= value <= MAX_INTEGER:
        return JSONText(b"%d" % value)
    if value is None or kind is bool:
        return _CONSTANTS[value]
    if takes_bytes and isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, str):
        return str.encode(value)
    if _is_usual(value, _USUAL_DEPTH):
        # A lone surrogate is the one thing that is wrong then, which the long way tells.
        with suppress(orjson.JSONEncodeError):
            return JSONText(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    return JSONText(canonical_strict(value))


def _is_usual(value: object, depth: int) -> bool:
    """True for a dict or a list of which orjson gives the canonical JSON: floats and long integers are not in it."""
    if type(value) is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        items: Iterable[Any] = value.values()
    elif type(value) is list:
        items = value
    else:
        return False
    for item in items:
        kind = type(item)
        if kind is int:
            if not MIN_INTEGER <= item <= MAX_INTEGER:
                return False
        elif kind not in _USUAL and not (depth and _is_usual(item, depth - 1)):
            return False
    return True


def decode_value(value: Any) -> JSON:
    """A new Python object for what a keyspace holds."""
    kind = type(value)
    if kind is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if kind is JSONText:
        return _parse(value.decode())[0]
    return value.value if kind is Decoded else kind_of(value).python(value)


def add(value: Value | None, by: Any) -> tuple[int | float, bytes]:
    """The sum of a number that a keyspace holds (None: 0) and another one, and what a keyspace holds for the sum.

    A str of digits stays a str, and only integers are added to it. TypeError if one of the two is no number, ValueError if
    JSON has no such sum.
    """
    if type(by) is not int and type(by) is not float:
        raise TypeError(f"by must be an int or a float, not {type(by).__name__}")
    if isinstance(value, bytes) and not isinstance(value, JSONText):
        return _add_to_digits(value, by)
    number = 0 if value is None else decode_value(value)
    if type(number) is not int and type(number) is not float:
        raise TypeError(f"the value is no number, but a {type(number).__name__}")
    try:
        total = number + by
    except OverflowError:
        raise ValueError("the sum is too large for a float") from None
    return total, encode_value(total, takes_bytes=False)


def _add_to_digits(value: bytes, by: int | float) -> tuple[int, bytes]:
    try:
        number = integer(bytes(value))
    except CommandError:
        raise TypeError("the value is no number, but a str that is no integer of 64 bits") from None
    if type(by) is not int:
        raise TypeError("the value is a str of digits, to which only an int can be added")
    total = number + by
    if not MIN_INTEGER <= total <= MAX_INTEGER:
        raise ValueError("the value is a str of digits, and the sum has more than 64 bits")
    return total, b"%d" % total


def expires_at_ms(ttl: float, now_ms: int) -> int:
    """The time (Unix milliseconds) that is `ttl` seconds from now. TypeError or ValueError if that is no time to come."""
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"a ttl must be a number of seconds, not {type(ttl).__name__}")
    if not ttl > 0 or not isfinite(ttl):
        raise ValueError(f"a ttl must be a positive number of seconds, not {ttl!r}")
    at_ms = now_ms + max(1, round(ttl * _MS))
    if at_ms > MAX_INTEGER:
        raise ValueError(f"a ttl of {ttl!r} seconds is longer than any that can be kept")
    return at_ms
