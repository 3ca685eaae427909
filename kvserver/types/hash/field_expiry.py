"""HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT, HPERSIST, HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME: when fields expire.

The commands are those of Redis 7.4; replies and refusals are as in its t_hash.c. All times are counted by the keyspace's
clock, in Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kvserver.dispatch.arguments import at_least, integer
from kvserver.dispatch.command import MANY_WORDS, command
from kvserver.errors import CommandError
from kvserver.formats.members import LATEST_MS
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.hash.value import (
    Fields,
    Hash,
    changeable,
    deadline_of,
    expiry_request,
    read,
    store,
    without_due,
)

# What is told of a field.
MISSING: Final = -2
NEVER: Final = -1
NOT_MET: Final = 0
DONE: Final = 1
DELETED: Final = 2
# The latest time that a command takes (HFE_MAX_ABS_TIME_MSEC in t_hash.c). A hash can hold later ones.
LATEST_WANTED_MS: Final = LATEST_MS >> 2
_CONDITIONS: Final = (b"NX", b"XX", b"GT", b"LT")
_NOT_POSITIVE: Final = "ERR Number of fields must be a positive integer"


def _fields(words: list[bytes], not_positive: str = _NOT_POSITIVE) -> list[bytes]:
    """The fields behind `FIELDS numfields`. CommandError if the words are others, or the number is not that of the fields."""
    if words[0].upper() != b"FIELDS":
        raise CommandError("ERR Mandatory argument FIELDS is missing or not at the right position")
    number = at_least(1, words[1], not_positive)
    if number != len(words) - 2:
        raise CommandError("ERR The `numfields` parameter must match the number of arguments")
    return words[2:]


def _time_ms(text: bytes, name: str, *, unit_ms: int, base_ms: int, latest_ms: int) -> int:
    number = integer(text)
    if number < 0:
        raise CommandError("ERR invalid expire time, must be >= 0")
    if number * unit_ms + base_ms > latest_ms:
        raise CommandError(f"ERR invalid expire time in '{name}' command")
    return number * unit_ms + base_ms


def _is_met(condition: bytes, current_ms: int | None, wanted_ms: int) -> bool:
    # A field without a deadline counts as one that expires later than any other.
    if current_ms is None:
        return condition not in (b"XX", b"GT")
    if condition == b"GT":
        return wanted_ms > current_ms
    return condition != b"NX" and (condition != b"LT" or wanted_ms < current_ms)


def _expire(name: str, session: Session, request: Request, *, unit_ms: int, is_relative: bool) -> Reply:
    keyspace, key = session.keyspace, request[1]
    fields = changeable(session, key, [])
    now_ms = keyspace.now_ms()
    # A payload of RESTORE may bring later times, which the journal tells again.
    latest_ms = LATEST_MS if session.is_replay else LATEST_WANTED_MS
    base_ms = now_ms if is_relative else 0
    wanted_ms = _time_ms(request[2], name, unit_ms=unit_ms, base_ms=base_ms, latest_ms=latest_ms)
    condition = request[3].upper() if request[3].upper() in _CONDITIONS else b""
    named = _fields(request[4 if condition else 3 :], "ERR Parameter `numFields` should be greater than 0")
    fields = without_due(session, key, fields, named)
    if wanted_ms <= now_ms:
        return _delete(session, key, fields, condition, wanted_ms, named)
    # The packed form knows no deadlines.
    hash_ = fields if isinstance(fields, Hash) else Hash(fields.items(), is_listpack=True)
    codes = []
    for field in named:
        if field not in hash_:
            codes.append(MISSING)
        elif not _is_met(condition, deadline_of(hash_, field), wanted_ms):
            codes.append(NOT_MET)
        else:
            hash_.expire(field, wanted_ms)
            codes.append(DONE)
    if DONE in codes:
        changed = [field for field, code in zip(named, codes, strict=True) if code == DONE]
        store(session, key, hash_, expiry_request(key, wanted_ms, changed))
        keyspace.expect(key, hash_)
    return list(codes)


def _delete(session: Session, key: bytes, fields: Fields, condition: bytes, wanted_ms: int, named: list[bytes]) -> Reply:
    """Delete fields, since the time that they are to expire at has passed."""
    codes = []
    for field in named:
        if field not in fields:
            codes.append(MISSING)
        elif not _is_met(condition, deadline_of(fields, field), wanted_ms):
            codes.append(NOT_MET)
        else:
            fields.pop(field, None)
            codes.append(DELETED)
    if DELETED in codes:
        deleted = [field for field, code in zip(named, codes, strict=True) if code == DELETED]
        store(session, key, fields, [b"HDEL", key, *deleted])
    return list(codes)


@command("hexpire", "key:key seconds:integer condition<NX|XX|GT|LT>? FIELDS=fields{numfields:integer field+}",
         "write denyoom fast", access="RW update",
         events={"": "hexpire", "HDEL": "hdel"},
         since="7.4.0", group="hash", complexity="O(N) where N is the number of specified fields",
         summary="Set expiry for hash field using relative time to expire (seconds)",
         bounded_below=MANY_WORDS)  # fmt: skip
def hexpire(session: Session, request: Request) -> Reply:
    return _expire("hexpire", session, request, unit_ms=1000, is_relative=True)


@command("hpexpire", "key:key milliseconds:integer condition<NX|XX|GT|LT>? FIELDS=fields{numfields:integer field+}",
         "write denyoom fast", access="RW update",
         events={"": "hexpire", "HDEL": "hdel"},
         since="7.4.0", group="hash", complexity="O(N) where N is the number of specified fields",
         summary="Set expiry for hash field using relative time to expire (milliseconds)",
         bounded_below=MANY_WORDS)  # fmt: skip
def hpexpire(session: Session, request: Request) -> Reply:
    return _expire("hpexpire", session, request, unit_ms=1, is_relative=True)


@command("hexpireat",
         "key:key unix-time-seconds:unix-time condition<NX|XX|GT|LT>? FIELDS=fields{numfields:integer field+}",
         "write denyoom fast", access="RW update",
         events={"": "hexpire", "HDEL": "hdel"},
         since="7.4.0", group="hash", complexity="O(N) where N is the number of specified fields",
         summary="Set expiry for hash field using an absolute Unix timestamp (seconds)",
         bounded_below=MANY_WORDS)  # fmt: skip
def hexpireat(session: Session, request: Request) -> Reply:
    return _expire("hexpireat", session, request, unit_ms=1000, is_relative=False)


@command("hpexpireat",
         "key:key unix-time-milliseconds:unix-time condition<NX|XX|GT|LT>? FIELDS=fields{numfields:integer field+}",
         "write denyoom fast", access="RW update",
         events={"": "hexpire", "HDEL": "hdel"},
         since="7.4.0", group="hash", complexity="O(N) where N is the number of specified fields",
         summary="Set expiry for hash field using an absolute Unix timestamp (milliseconds)",
         bounded_below=MANY_WORDS)  # fmt: skip
def hpexpireat(session: Session, request: Request) -> Reply:
    return _expire("hpexpireat", session, request, unit_ms=1, is_relative=False)


@command("hpersist", "key:key FIELDS=fields{numfields:integer field+}", "write fast", access="RW update",
         since="7.4.0", group="hash", complexity="O(N) where N is the number of specified fields",
         summary="Removes the expiration time for each specified field",
         bounded_below=MANY_WORDS)  # fmt: skip
def hpersist(session: Session, request: Request) -> Reply:
    key = request[1]
    fields = changeable(session, key, [])
    named = _fields(request[2:])
    fields = without_due(session, key, fields, named)
    codes = []
    for field in named:
        if field not in fields:
            codes.append(MISSING)
        else:
            codes.append(DONE if isinstance(fields, Hash) and fields.persist(field) else NEVER)
    if DONE in codes:
        store(session, key, fields, request)
    return list(codes)


def _ask(session: Session, request: Request, show: Callable[[int, int], int]) -> Reply:
    """For each field the result of `show(deadline, present time)`, both in Unix milliseconds; or MISSING, or NEVER."""
    fields = read(session, request[1])
    named = _fields(request[2:])
    now_ms = session.keyspace.now_ms()
    found: list[Reply] = []
    for field in named:
        if fields is None or field not in fields:
            found.append(MISSING)
        else:
            expires_at_ms = deadline_of(fields, field)
            found.append(NEVER if expires_at_ms is None else show(expires_at_ms, now_ms))
    return found


def _seconds(milliseconds: int) -> int:
    return (milliseconds + 999) // 1000


@command("httl", "key:key FIELDS=fields{numfields:integer field+}", "readonly fast", access="RO access",
         since="7.4.0", group="hash", complexity="O(N) where N is the number of specified fields",
         tips="nondeterministic_output",
         summary="Returns the TTL in seconds of a hash field.",
         bounded_below=MANY_WORDS)  # fmt: skip
def httl(session: Session, request: Request) -> Reply:
    return _ask(session, request, lambda expires_at_ms, now_ms: _seconds(expires_at_ms - now_ms))


@command("hpttl", "key:key FIELDS=fields{numfields:integer field+}", "readonly fast", access="RO access",
         since="7.4.0", group="hash", complexity="O(N) where N is the number of specified fields",
         tips="nondeterministic_output",
         summary="Returns the TTL in milliseconds of a hash field.",
         bounded_below=MANY_WORDS)  # fmt: skip
def hpttl(session: Session, request: Request) -> Reply:
    return _ask(session, request, lambda expires_at_ms, now_ms: expires_at_ms - now_ms)


@command("hexpiretime", "key:key FIELDS=fields{numfields:integer field+}", "readonly fast", access="RO access",
         since="7.4.0", group="hash", complexity="O(N) where N is the number of specified fields",
         summary="Returns the expiration time of a hash field as a Unix timestamp, in seconds.",
         bounded_below=MANY_WORDS)  # fmt: skip
def hexpiretime(session: Session, request: Request) -> Reply:
    return _ask(session, request, lambda expires_at_ms, now_ms: _seconds(expires_at_ms))


@command("hpexpiretime", "key:key FIELDS=fields{numfields:integer field+}", "readonly fast", access="RO access",
         since="7.4.0", group="hash", complexity="O(N) where N is the number of specified fields",
         summary="Returns the expiration time of a hash field as a Unix timestamp, in msec.",
         bounded_below=MANY_WORDS)  # fmt: skip
def hpexpiretime(session: Session, request: Request) -> Reply:
    return _ask(session, request, lambda expires_at_ms, now_ms: expires_at_ms)
