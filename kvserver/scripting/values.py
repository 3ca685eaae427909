"""Replies to Lua values: what `redis.call` gives a script. Pure but for the tables, which the caller's function makes.

Python's side hands over a value alone, or a tuple of it and its kind, of which the sandbox makes the rest (redis.lua): to make
a short table there takes less time than from here. lupa takes a tuple for several values. A dict, a list or a str would come
to Lua as a userdata of the Python object, which no script may get.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kvserver.resp.reply import OK, BigNumber, Digits, Error, NullArray, Pairs, Reply, SetOf, Simple, Verbatim

# The kinds, by which redis.lua finds what to make.
STATUS: Final = 1
ARRAY: Final = 2
ERROR: Final = 3
# An error that redis.call itself has found, not a command.
MISUSE: Final = 4
EMPTY: Final = 5
FIELD: Final = 6
VERBATIM: Final = 7
DEAD: Final = 8

# An array of no more items goes over as several values.
FLAT_ITEMS: Final = 200
# The most bytes that Lua takes for a value besides those of its text.
VALUE_BYTES: Final = 64

_OK: Final = (b"OK", STATUS)

# Makes a Lua table of a list, or of a dict.
MakeTable = Callable[[Any], Any]


def size_of(reply: Reply) -> int:
    """The bytes that a reply takes in Lua, at most."""
    kind = type(reply)
    if isinstance(reply, bytes):
        return len(reply) + VALUE_BYTES
    if kind is Simple or kind is Error:
        return 2 * VALUE_BYTES + len(reply.text)  # type: ignore[union-attr]
    if isinstance(reply, dict):
        return 2 * VALUE_BYTES + sum(size_of(key) + size_of(item) for key, item in reply.items())
    if isinstance(reply, list | tuple):
        return 2 * VALUE_BYTES + sum(map(size_of, reply))
    return 2 * VALUE_BYTES


def to_lua(reply: Reply, protocol: int, make_table: MakeTable) -> Any:
    """A reply as Python hands it over: a value, or a tuple of a value, its kind and perhaps more."""
    if reply is OK:
        return _OK
    kind = type(reply)
    if kind is Simple:
        return reply.text.encode("utf-8", "surrogateescape"), STATUS  # type: ignore[union-attr]
    if kind is Error:
        return _text_of(reply), ERROR  # type: ignore[arg-type]
    if kind is list or kind is tuple or (protocol == 2 and isinstance(reply, list | tuple)):
        items = [_nested(item, protocol, make_table) for item in reply]  # type: ignore[union-attr]
        if not items:
            return None, EMPTY
        # A table that is filled one by one has another length than one that is made whole, where there are holes in it.
        if len(items) < FLAT_ITEMS and (protocol == 2 or not any(item is None for item in items)):
            return (items[0], ARRAY, *items[1:])
        return make_table(items)
    return _nested(reply, protocol, make_table)


def _nested(reply: Reply, protocol: int, make_table: MakeTable) -> Any:
    """The Lua value of a reply, as it stands in a table."""
    kind = type(reply)
    if kind is bytes or kind is int:
        return reply
    match reply:
        case None | NullArray():
            return False if protocol == 2 else None
        case bool():
            return int(reply) if protocol == 2 else reply
        case Simple():
            return make_table({b"ok": reply.text.encode("utf-8", "surrogateescape")})
        case Error():
            return make_table({b"err": _text_of(reply), b"ignore_error_stats_update": True})
        case float():
            return b"%.17g" % reply if protocol == 2 else make_table({b"double": reply})
        case bytes():
            return bytes(reply) if protocol == 2 else _named(reply, make_table)
        case Pairs() if protocol == 3:
            return _nested(dict(reply), 3, make_table)  # type: ignore[arg-type]
        case SetOf() if protocol == 3:
            return make_table({b"set": make_table({_nested(item, 3, make_table): True for item in reply})})
        case dict() if protocol == 3:
            pairs = {_nested(key, 3, make_table): _nested(item, 3, make_table) for key, item in reply.items()}
            return make_table({b"map": make_table(pairs)})
        case dict():
            return make_table([_nested(each, 2, make_table) for pair in reply.items() for each in pair])
        case list() | tuple():
            return make_table([_nested(item, protocol, make_table) for item in reply])
    raise TypeError(f"{type(reply).__name__} is no reply")


def _named(text: bytes, make_table: MakeTable) -> Any:
    """The table that stands in RESP3 for a string that is more than a string."""
    match text:
        case Verbatim():
            return make_table({b"verbatim_string": make_table({b"format": b"txt", b"string": bytes(text)})})
        case BigNumber():
            return make_table({b"big_number": bytes(text)})
        case Digits():
            return make_table({b"double": float(text)})
    return bytes(text)


def _text_of(error: Error) -> bytes:
    return error.wire[1:-2]
