"""HSET, HGET, HGETALL, HDEL, HINCRBY, HSCAN and their kin: hashes."""

from __future__ import annotations

from functools import partial
from typing import Any

from kvserver._speedups.packed import around_value, get_field, set_field
from kvserver._speedups.packed import value_of as value_in
from kvserver.containers.packed import MOST_MEMBERS, can_pack_pair, count_pairs
from kvserver.data.entries import Value
from kvserver.dispatch.alike import found, integers
from kvserver.dispatch.arguments import MAX_INTEGER, MIN_INTEGER, SYNTAX_ERROR, integer
from kvserver.dispatch.command import MANY_WORDS, command, wrong_arity
from kvserver.errors import CommandError
from kvserver.options.config import Config
from kvserver.resp.reply import BULK_HEADERS, CACHED_BULK_HEADERS, NULL, OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.hash.value import (
    MARK,
    Fields,
    Hash,
    Living,
    changeable,
    deadline_of,
    expiry_request,
    living,
    read,
    revise,
    store,
)
from kvserver.types.sampling import one_of, some_of, wanted_of
from kvserver.types.scanning import count_of, scan_reply


def _set_one(session: Session, request: Request) -> int:
    """HSET of one field: 1 if it is new, else 0."""
    keyspace = session.keyspace
    get = keyspace.get
    entry = get(request[1])
    if type(entry) is Hash and entry.deadlines is None:
        return _set_large(session, request, entry, request[2], request[3])
    found = set_field(entry, request, session.server.config, MOST_MEMBERS)
    if found is None:
        return _set(session, request, "hset")
    new: int
    new, changed = found
    keyspace.put_as(request[1], changed, request)
    return new


@command("hset", "key:key field_value{field value}+", "write denyoom fast", access="RW update",
         since="2.0.0", group="hash",
         complexity="O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called "
         "with multiple field/value pairs.",
         summary="Set the string value of a hash field",
         many=integers(4, _set_one), call=set_field)  # fmt: skip
def hset(session: Session, request: Request) -> Reply:
    return _set_one(session, request) if len(request) == 4 else _set(session, request, "hset")


def _set(session: Session, request: Request, name: str) -> int:
    """Set fields, and return the number of those that are new."""
    if len(request) % 2:
        raise wrong_arity(name)
    fields = changeable(session, request[1], request[2::2])
    before = len(fields)
    longest = max(map(len, request[2:]))
    for field, value in zip(request[2::2], request[3::2], strict=True):
        fields[field] = value
    store(session, request[1], fields, request, longest)
    return len(fields) - before


# The functions that follow are for the usual cases of hot commands. A packed hash without an expiry is an entry by itself, for
# which there is `put_as`.


def _fits(config: Config, field: bytes, value: bytes) -> bool:
    """True if a packed hash stays one with this field and value, and so would a listpack of Redis with its present limits."""
    longest = config.hash_max_listpack_value
    return (
        len(field) <= longest
        and len(value) <= longest
        and config.hash_max_listpack_entries >= MOST_MEMBERS
        and can_pack_pair(field, value)
    )


def _set_large(session: Session, request: Request, fields: Value, field: bytes, value: bytes) -> int:
    """Set one field of a large hash without an expiry and without deadlines, and return 1 if it is new, else 0."""
    key, keyspace = request[1], session.keyspace
    fields = keyspace.own_plain(key, fields)
    assert type(fields) is Hash
    is_new = fields.set(field, value)
    if fields.is_listpack:
        store(session, key, fields, request, max(len(field), len(value)))
    else:
        keyspace.put_as(key, fields, request)
    return 1 if is_new else 0


@command("hsetnx", "key:key field value", "write denyoom fast", access="RW insert",
         events="hset", since="2.0.0", group="hash", complexity="O(1)",
         summary="Set the value of a hash field, only if the field does not exist")  # fmt: skip
def hsetnx(session: Session, request: Request) -> Reply:
    key, field, value = request[1:]
    fields = changeable(session, key, [field])
    if field in fields:
        return 0
    fields[field] = value
    store(session, key, fields, request, max(len(field), len(value)))
    return 1


def _found(entry: Any, request: Request, protocol: int) -> bytes | None:
    if type(entry) is str and entry[0] == MARK:
        value = value_in(entry, request[2])
    elif type(entry) is Hash and entry.deadlines is None:
        value = entry.get(request[2])
    else:
        return None
    if value is None:
        return NULL[protocol]
    return b"%b%b\r\n" % (BULK_HEADERS[len(value)], value) if len(value) < CACHED_BULK_HEADERS else None


@command("hget", "key:key field", "readonly fast", access="RO access",
         since="2.0.0", group="hash", complexity="O(1)",
         summary="Get the value of a hash field",
         many=found(3, _found), call=get_field)  # fmt: skip
def hget(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] == MARK:
        return value_in(value, request[2])
    if type(value) is Hash and value.deadlines is None:
        # Any, as the values of all tables.
        found: bytes | None = value.get(request[2])
        return found
    fields = living(session, value)
    return None if fields is None else fields.get(request[2])


@command("hmget", "key:key field+", "readonly fast", access="RO access",
         since="2.0.0", group="hash", complexity="O(N) where N is the number of fields being requested.",
         summary="Get the values of all the given hash fields",
         bounded_below=MANY_WORDS)  # fmt: skip
def hmget(session: Session, request: Request) -> Reply:
    fields = read(session, request[1]) or {}
    return [fields.get(field) for field in request[2:]]


@command("hmset", "key:key field_value{field value}+", "write denyoom fast", access="RW update",
         events="hset", since="2.0.0", group="hash", complexity="O(N) where N is the number of fields being set.",
         deprecated=("4.0.0", "`HSET` with multiple field-value pairs"),
         summary="Set multiple hash fields to multiple values",
         bounded_below=MANY_WORDS)  # fmt: skip
def hmset(session: Session, request: Request) -> Reply:
    _set(session, request, "hmset")
    return OK


@command("hgetall", "key:key", "readonly", access="RO access",
         since="2.0.0", group="hash", complexity="O(N) where N is the size of the hash.",
         tips="nondeterministic_output_order",
         summary="Get all the fields and values in a hash")  # fmt: skip
def hgetall(session: Session, request: Request) -> Reply:
    fields = read(session, request[1]) or {}
    return dict(fields.items())


@command("hkeys", "key:key", "readonly", access="RO access",
         since="2.0.0", group="hash", complexity="O(N) where N is the size of the hash.",
         tips="nondeterministic_output_order",
         summary="Get all the fields in a hash")  # fmt: skip
def hkeys(session: Session, request: Request) -> Reply:
    return list(read(session, request[1]) or ())


@command("hvals", "key:key", "readonly", access="RO access",
         since="2.0.0", group="hash", complexity="O(N) where N is the size of the hash.",
         tips="nondeterministic_output_order",
         summary="Get all the values in a hash")  # fmt: skip
def hvals(session: Session, request: Request) -> Reply:
    fields = read(session, request[1]) or {}
    return [value for _, value in fields.items()]


@command("hdel", "key:key field+", "write fast", access="RW delete",
         events={"": "hdel", "hdel": "hexpired"},
         since="2.0.0", group="hash", complexity="O(N) where N is the number of fields to be removed.",
         summary="Delete one or more hash fields",
         bounded_below=MANY_WORDS)  # fmt: skip
def hdel(session: Session, request: Request) -> Reply:
    fields = changeable(session, request[1], request[2:])
    removed = sum(fields.pop(field, None) is not None for field in request[2:])
    if removed:
        store(session, request[1], fields, request)
    return removed


@command("hexists", "key:key field", "readonly fast", access="RO",
         since="2.0.0", group="hash", complexity="O(1)",
         summary="Determine if a hash field exists")  # fmt: skip
def hexists(session: Session, request: Request) -> Reply:
    fields = read(session, request[1])
    return int(fields is not None and request[2] in fields)


@command("hlen", "key:key", "readonly fast", access="RO",
         since="2.0.0", group="hash", complexity="O(1)",
         summary="Get the number of fields in a hash")  # fmt: skip
def hlen(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] == MARK:
        return count_pairs(value)
    return len(living(session, value) or ())


@command("hstrlen", "key:key field", "readonly fast", access="RO",
         since="3.2.0", group="hash", complexity="O(1)",
         summary="Get the length of the value of a hash field")  # fmt: skip
def hstrlen(session: Session, request: Request) -> Reply:
    fields = read(session, request[1]) or {}
    return len(fields.get(request[2]) or b"")


def _increment(session: Session, request: Request) -> int:
    _, key, field, text = request
    increment = integer(text)
    keyspace = session.keyspace
    get = keyspace.get
    entry = get(key)
    if type(entry) is str and entry[0] == MARK:
        around = around_value(entry, field)
        if around:
            front, digits, behind = around
            number = _sum(digits.encode("latin-1"), increment)
            if _fits(session.server.config, field, b"%d" % number):
                keyspace.put_as(key, f"{front}{number}{behind}", request)
                return number
    elif type(entry) is Hash and entry.deadlines is None:
        number = _sum(entry.get(field), increment)
        _set_large(session, request, entry, field, b"%d" % number)
        return number
    fields = changeable(session, key, [field])
    number = _sum(fields.get(field), increment)
    value = b"%d" % number
    revise(fields, field, value)
    store(session, key, fields, request, max(len(field), len(value)))
    return number


@command("hincrby", "key:key field increment:integer", "write denyoom fast", access="RW access update",
         since="2.0.0", group="hash", complexity="O(1)",
         summary="Increment the integer value of a hash field by the given number",
         many=integers(4, _increment))  # fmt: skip
def hincrby(session: Session, request: Request) -> Reply:
    return _increment(session, request)


def _sum(present: bytes | None, increment: int) -> int:
    """The number that a field has after an increment. CommandError if it is no number, or gets too large for 64 bits."""
    number = increment + (0 if present is None else integer(present, "ERR hash value is not an integer"))
    if not MIN_INTEGER <= number <= MAX_INTEGER:
        raise CommandError("ERR increment or decrement would overflow")
    return number


@command("hincrbyfloat", "key:key field increment:double", "write denyoom fast", access="RW access update",
         since="2.6.0", group="hash", complexity="O(1)",
         summary="Increment the float value of a hash field by the given amount")  # fmt: skip
def hincrbyfloat(session: Session, request: Request) -> Reply:
    from kvserver.types.longdouble import LongDouble

    key, field = request[1:3]
    increment = LongDouble.parse(request[3])
    if increment is None:
        raise CommandError("ERR value is not a valid float")
    if not increment.is_finite:
        raise CommandError("ERR value is NaN or Infinity")
    fields = changeable(session, key, [field])
    text = fields.get(field)
    present = LongDouble.parse(b"0" if text is None else text)
    if present is None:
        raise CommandError("ERR hash value is not a float")
    total = increment + present
    if not total.is_finite:
        raise CommandError("ERR increment would produce NaN or Infinity")
    value = total.text()
    revise(fields, field, value)
    # The journal gets the sum: a replay must not add again.
    store(session, key, fields, [b"HSET", key, field, value], max(len(field), len(value)))
    expires_at_ms = deadline_of(fields, field)
    if expires_at_ms is not None:
        # That HSET takes the deadline away.
        store(session, key, fields, expiry_request(key, expires_at_ms, [field]))
    return value


@command("hrandfield", "key:key options{count:integer WITHVALUES?}?", "readonly", access="RO access",
         since="6.2.0", group="hash", complexity="O(N) where N is the number of fields returned",
         tips="nondeterministic_output",
         summary="Get one or multiple random fields from a hash")  # fmt: skip
def hrandfield(session: Session, request: Request) -> Reply:
    below = session.server.random_below
    if len(request) == 2:
        fields = _to_choose_from(session, request[1])
        return one_of(fields, below) if fields else None
    count = wanted_of(request[2])
    has_values = len(request) > 3
    if has_values:
        if len(request) > 4 or request[3].lower() != b"withvalues":
            raise CommandError(SYNTAX_ERROR)
        if not -MAX_INTEGER // 2 <= count <= MAX_INTEGER // 2:
            raise CommandError("ERR value is out of range")
    fields = _to_choose_from(session, request[1])
    if not fields or not count:
        return []
    chosen = some_of(fields, count, below)
    if not has_values:
        return list(chosen)
    if session.protocol == 3:
        return [[field, fields.get(field)] for field in chosen]
    return [each for field in chosen for each in (field, fields.get(field))]


def _to_choose_from(session: Session, key: bytes) -> Fields | Living | None:
    fields = read(session, key)
    # Where most fields are due, chance would be long in finding another.
    return dict(fields.items()) if isinstance(fields, Living) and fields.due_count > len(fields) else fields


@command("hscan",
         "key:key cursor:integer MATCH=pattern:pattern? COUNT=count:integer?",
         "readonly", access="RO access", numbers={"COUNT": count_of},
         since="2.8.0", group="hash",
         complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to "
         "return back to 0. N is the number of elements inside the collection..",
         tips="nondeterministic_output",
         summary="Incrementally iterate hash fields and associated values")  # fmt: skip
def hscan(session: Session, request: Request) -> Reply:
    return scan_reply(hscan, session, request, partial(living, session), _scanned)


def _scanned(field: bytes, value: bytes | None) -> tuple[bytes, ...]:
    # A field without a value is one that is due.
    return () if value is None else (field, value)
