"""INCREX: a counter that stays within bounds, and gets a time with the increment that begins it.

It is Redis's (8.8) and Valkey's (9.2), as far as the documents of both agree. As the other counters do, it leaves a number of
JSON one.
"""

from __future__ import annotations

from typing import Final

from kvserver.data.entries import Value
from kvserver.dispatch.arguments import MAX_INTEGER, MIN_INTEGER, SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.dispatch.notation import Options
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText
from kvserver.resp.reply import Digits, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.string.commands import EXPIRY_OPTIONS, expires_at_ms, store_until
from kvserver.types.string.counters import NOT_A_FLOAT, NOT_FINITE, is_json_number, json_number
from kvserver.types.string.value import as_string, embedded

NO_EXPIRATION: Final = "ERR ENX flag requires an expiration"
CROSSED_BOUNDS: Final = "ERR LBOUND can't be greater than UBOUND"


@command("increx",
         "key:key increment<BYFLOAT=float:double|BYINT=integer:integer>? SATURATE? LBOUND=lowerbound? UBOUND=upperbound? "
         "expiration<EX=seconds:integer|PX=milliseconds:integer|EXAT=unix-time-seconds:unix-time|"
         "PXAT=unix-time-milliseconds:unix-time|PERSIST>? ENX?",
         "write denyoom fast", access="RW access update",
         events="incrby", since="8.8.0", group="string", complexity="O(1)",
         summary="Increments the numeric value of a key by a number and sets its expiration time. Uses 0 as initial value if "
         "the key doesn't exist.")  # fmt: skip
def increx(session: Session, request: Request) -> Reply:
    """What is out of bounds changes nothing, neither the value nor the time, unless it is to be saturated."""
    options = increx.options(request)
    expiration = options.chosen("expiration")
    if "ENX" in options and expiration not in EXPIRY_OPTIONS:
        raise CommandError(NO_EXPIRATION if expiration is None else SYNTAX_ERROR)
    now_ms = session.keyspace.now_ms()
    # A wrong time is an error even where nothing would be added.
    wanted_ms = expires_at_ms(expiration, options[expiration], now_ms, "increx") if expiration in EXPIRY_OPTIONS else None
    value, reply = (_add_float if "BYFLOAT" in options else _add_integer)(session, request[1], options)
    if value is not None:
        _store(session, request[1], value, options, wanted_ms, now_ms)
    return reply


def _add_integer(session: Session, key: bytes, options: Options) -> tuple[Value | None, list[Reply]]:
    """The value to store, None where there is nothing to change, and the reply."""
    increment = integer(options["BYINT"]) if "BYINT" in options else 1
    lower = integer(options["LBOUND"]) if "LBOUND" in options else MIN_INTEGER
    upper = integer(options["UBOUND"]) if "UBOUND" in options else MAX_INTEGER
    if lower > upper:
        raise CommandError(CROSSED_BOUNDS)
    present = as_string(session.keyspace.live(key))
    is_json = is_json_number(present)
    before = 0 if present is None else integer(present)
    after = min(max(before + increment, lower), upper)
    if after != before + increment and "SATURATE" not in options:
        return None, [before, 0]
    text = b"%d" % after
    return JSONText(text) if is_json else text, [after, after - before]


def _add_float(session: Session, key: bytes, options: Options) -> tuple[Value | None, list[Reply]]:
    """As `_add_integer` does it."""
    # A server starts sooner without.
    from kvserver.types.longdouble import LARGEST, LongDouble

    def number(text: bytes) -> LongDouble:
        found = LongDouble.parse(text)
        if found is None:
            raise CommandError(NOT_A_FLOAT)
        return found

    increment = number(options["BYFLOAT"])
    lower = number(options["LBOUND"]) if "LBOUND" in options else LARGEST.negated()
    upper = number(options["UBOUND"]) if "UBOUND" in options else LARGEST
    if lower.is_above(upper):
        raise CommandError(CROSSED_BOUNDS)
    present = as_string(session.keyspace.live(key))
    is_json = is_json_number(present)
    before = number(b"0" if present is None else present)
    if not (before.is_finite and increment.is_finite):
        raise CommandError(NOT_FINITE)
    total = before + increment
    after = upper if total.is_above(upper) else lower if lower.is_above(total) else total
    if after != total and "SATURATE" not in options:
        return None, [Digits(before.text()), Digits(b"0")]
    if not after.is_finite:
        raise CommandError(NOT_FINITE)
    text = after.text()
    applied = increment if after == total else after + before.negated()
    return JSONText(json_number(text)) if is_json else embedded(text), [Digits(text), Digits(applied.text())]


def _store(session: Session, key: bytes, value: Value, options: Options, wanted_ms: int | None, now_ms: int) -> None:
    """Store a value with the time that the options say. The journal gets the result: a replay must not add again."""
    keyspace = session.keyspace
    present_ms = keyspace.expires_at_ms(key)
    if wanted_ms is None or ("ENX" in options and present_ms is not None):
        keyspace.put(key, value, None if "PERSIST" in options else present_ms)
    else:
        store_until(session, key, value, wanted_ms, now_ms)
