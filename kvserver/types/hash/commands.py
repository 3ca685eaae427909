"""HSET, HGET, HGETALL, HDEL, HINCRBY, HSCAN and their kin: hashes."""

from __future__ import annotations

from kvserver.containers.packed import MOST_MEMBERS, can_pack, count_pairs, with_pair, with_value
from kvserver.containers.packed import value_of as value_in
from kvserver.dispatch.arguments import MAX_INTEGER, MIN_INTEGER, SYNTAX_ERROR, integer
from kvserver.dispatch.command import command, wrong_arity
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.hash.value import MARK, changeable, fields_of, store
from kvserver.types.sampling import one_of, some_of, wanted_of
from kvserver.types.scanning import count_of, scan_reply


@command("hset", "key:key field_value{field value}+", "write denyoom fast", access="RW update",
         since="2.0.0", group="hash",
         complexity="O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called "
         "with multiple field/value pairs.",
         summary="Set the string value of a hash field")  # fmt: skip
def hset(session: Session, request: Request) -> Reply:
    return _set(session, request, "hset")


def _set(session: Session, request: Request, name: str) -> int:
    """Set fields, and return the number of those that are new."""
    if len(request) % 2:
        raise wrong_arity(name)
    if len(request) == 4 and (is_new := _set_packed(session, request)) is not None:
        return is_new
    fields = changeable(session, request[1])
    before = len(fields)
    longest = max(map(len, request[2:]))
    for field, value in zip(request[2::2], request[3::2], strict=True):
        fields[field] = value
    store(session, request[1], fields, request, longest)
    return len(fields) - before


def _set_packed(session: Session, request: Request) -> int | None:
    """Set one field of a small hash, and return 1 if it is new, else 0. None if it can't be done without opening the hash."""
    keyspace, (_, key, field, value) = session.keyspace, request
    hash_ = keyspace.live(key)
    if type(hash_) is not str or hash_[0] != MARK or not (can_pack(field) and can_pack(value)):
        return None
    config = session.server.config
    if max(len(field), len(value)) > config.hash_max_listpack_value:
        return None
    changed = with_value(hash_, field, value)
    if changed is not None:
        keyspace.change(key, changed, request)
        return 0
    if count_pairs(hash_) >= min(MOST_MEMBERS, config.hash_max_listpack_entries):
        return None
    keyspace.change(key, with_pair(hash_, field, value), request)
    return 1


@command("hsetnx", "key:key field value", "write denyoom fast", access="RW insert",
         since="2.0.0", group="hash", complexity="O(1)",
         summary="Set the value of a hash field, only if the field does not exist")  # fmt: skip
def hsetnx(session: Session, request: Request) -> Reply:
    key, field, value = request[1:]
    fields = changeable(session, key)
    if field in fields:
        return 0
    fields[field] = value
    store(session, key, fields, request, max(len(field), len(value)))
    return 1


@command("hget", "key:key field", "readonly fast", access="RO access",
         since="2.0.0", group="hash", complexity="O(1)",
         summary="Get the value of a hash field")  # fmt: skip
def hget(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] == MARK:
        return value_in(value, request[2])
    fields = fields_of(value)
    return None if fields is None else fields.get(request[2])


@command("hmget", "key:key field+", "readonly fast", access="RO access",
         since="2.0.0", group="hash", complexity="O(N) where N is the number of fields being requested.",
         summary="Get the values of all the given hash fields")  # fmt: skip
def hmget(session: Session, request: Request) -> Reply:
    fields = fields_of(session.keyspace.read(request[1])) or {}
    return [fields.get(field) for field in request[2:]]


@command("hmset", "key:key field_value{field value}+", "write denyoom fast", access="RW update",
         since="2.0.0", group="hash", complexity="O(N) where N is the number of fields being set.",
         deprecated=("4.0.0", "`HSET` with multiple field-value pairs"),
         summary="Set multiple hash fields to multiple values")  # fmt: skip
def hmset(session: Session, request: Request) -> Reply:
    _set(session, request, "hmset")
    return OK


@command("hgetall", "key:key", "readonly", access="RO access",
         since="2.0.0", group="hash", complexity="O(N) where N is the size of the hash.",
         tips="nondeterministic_output_order",
         summary="Get all the fields and values in a hash")  # fmt: skip
def hgetall(session: Session, request: Request) -> Reply:
    fields = fields_of(session.keyspace.read(request[1])) or {}
    return dict(fields.items())


@command("hkeys", "key:key", "readonly", access="RO access",
         since="2.0.0", group="hash", complexity="O(N) where N is the size of the hash.",
         tips="nondeterministic_output_order",
         summary="Get all the fields in a hash")  # fmt: skip
def hkeys(session: Session, request: Request) -> Reply:
    return list(fields_of(session.keyspace.read(request[1])) or ())


@command("hvals", "key:key", "readonly", access="RO access",
         since="2.0.0", group="hash", complexity="O(N) where N is the size of the hash.",
         tips="nondeterministic_output_order",
         summary="Get all the values in a hash")  # fmt: skip
def hvals(session: Session, request: Request) -> Reply:
    fields = fields_of(session.keyspace.read(request[1])) or {}
    return [value for _, value in fields.items()]


@command("hdel", "key:key field+", "write fast", access="RW delete",
         since="2.0.0", group="hash", complexity="O(N) where N is the number of fields to be removed.",
         summary="Delete one or more hash fields")  # fmt: skip
def hdel(session: Session, request: Request) -> Reply:
    fields = changeable(session, request[1])
    removed = sum(fields.pop(field, None) is not None for field in request[2:])
    if removed:
        store(session, request[1], fields, request)
    return removed


@command("hexists", "key:key field", "readonly fast", access="RO",
         since="2.0.0", group="hash", complexity="O(1)",
         summary="Determine if a hash field exists")  # fmt: skip
def hexists(session: Session, request: Request) -> Reply:
    fields = fields_of(session.keyspace.read(request[1]))
    return int(fields is not None and request[2] in fields)


@command("hlen", "key:key", "readonly fast", access="RO",
         since="2.0.0", group="hash", complexity="O(1)",
         summary="Get the number of fields in a hash")  # fmt: skip
def hlen(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] == MARK:
        return count_pairs(value)
    return len(fields_of(value) or ())


@command("hstrlen", "key:key field", "readonly fast", access="RO",
         since="3.2.0", group="hash", complexity="O(1)",
         summary="Get the length of the value of a hash field")  # fmt: skip
def hstrlen(session: Session, request: Request) -> Reply:
    fields = fields_of(session.keyspace.read(request[1])) or {}
    return len(fields.get(request[2]) or b"")


@command("hincrby", "key:key field increment:integer", "write denyoom fast", access="RW access update",
         since="2.0.0", group="hash", complexity="O(1)",
         summary="Increment the integer value of a hash field by the given number")  # fmt: skip
def hincrby(session: Session, request: Request) -> Reply:
    key, field = request[1:3]
    increment = integer(request[3])
    fields = changeable(session, key)
    present = fields.get(field)
    number = increment + (0 if present is None else integer(present, "ERR hash value is not an integer"))
    if not MIN_INTEGER <= number <= MAX_INTEGER:
        raise CommandError("ERR increment or decrement would overflow")
    fields[field] = value = b"%d" % number
    store(session, key, fields, request, max(len(field), len(value)))
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
    fields = changeable(session, key)
    text = fields.get(field)
    present = LongDouble.parse(b"0" if text is None else text)
    if present is None:
        raise CommandError("ERR hash value is not a float")
    total = increment + present
    if not total.is_finite:
        raise CommandError("ERR increment would produce NaN or Infinity")
    fields[field] = value = total.text()
    # The journal gets the sum: a replay must not add again.
    store(session, key, fields, [b"HSET", key, field, value], max(len(field), len(value)))
    return value


@command("hrandfield", "key:key options{count:integer WITHVALUES?}?", "readonly", access="RO access",
         since="6.2.0", group="hash", complexity="O(N) where N is the number of fields returned",
         tips="nondeterministic_output",
         summary="Get one or multiple random fields from a hash")  # fmt: skip
def hrandfield(session: Session, request: Request) -> Reply:
    below = session.server.random_below
    if len(request) == 2:
        fields = fields_of(session.keyspace.read(request[1]))
        return one_of(fields, below) if fields else None
    count = wanted_of(request[2])
    has_values = len(request) > 3
    if has_values:
        if len(request) > 4 or request[3].lower() != b"withvalues":
            raise CommandError(SYNTAX_ERROR)
        if not -MAX_INTEGER // 2 <= count <= MAX_INTEGER // 2:
            raise CommandError("ERR value is out of range")
    fields = fields_of(session.keyspace.read(request[1]))
    if not fields or not count:
        return []
    chosen = some_of(fields, count, below)
    if not has_values:
        return list(chosen)
    if session.protocol == 3:
        return [[field, fields.get(field)] for field in chosen]
    return [each for field in chosen for each in (field, fields.get(field))]


@command("hscan",
         "key:key cursor:integer MATCH=pattern:pattern? COUNT=count:integer?",
         "readonly", access="RO access", numbers={"COUNT": count_of},
         since="2.8.0", group="hash",
         complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to "
         "return back to 0. N is the number of elements inside the collection..",
         tips="nondeterministic_output",
         summary="Incrementally iterate hash fields and associated values")  # fmt: skip
def hscan(session: Session, request: Request) -> Reply:
    return scan_reply(hscan, session, request, fields_of, lambda field, value: (field, value))
