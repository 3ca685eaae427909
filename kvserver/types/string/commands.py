"""GET, SET, SETEX, GETSET, GETDEL, GETEX, MGET, MSET, MSETEX, STRLEN and their kin: strings as wholes.

GET and SET are the hot path: nothing may be added to them that is not measured. Measured: where the leaves are not compiled,
runs of them take less time by their `Many` than by their usual calls.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvserver._speedups.choice import IS_COMPILED
from kvserver._speedups.strings import get_string, set_string
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.dispatch.arguments import at_least, expiry_ms
from kvserver.dispatch.command import Many, command, wrong_arity
from kvserver.errors import CommandError
from kvserver.resp.reply import BULK_HEADERS, CACHED_BULK_HEADERS, CRLF, NULL, OK, Reply
from kvserver.resp.request import Request
from kvserver.state.description import ANY_NUMBER
from kvserver.state.session import Session
from kvserver.types.string.value import as_string


def get_many(session: Session, commands: list[Request], output: list[bytes]) -> int:
    keyspace, null = session.keyspace, NULL[session.protocol]
    done = missed = 0
    for value in keyspace.get_many([request[1] for request in commands]):
        if type(value) is bytes and len(value) < CACHED_BULK_HEADERS:
            output += (BULK_HEADERS[len(value)], value, CRLF)
        elif value is None:
            output.append(null)
            missed += 1
        else:
            break
        done += 1
    keyspace.missed_gets += missed
    return done


@command("get", "key:key", "readonly fast", access="RO access",
         since="1.0.0", group="string", complexity="O(1)",
         summary="Get the value of a key",
         many=Many(2, get_many), call=get_string if IS_COMPILED else None)  # fmt: skip
def get(session: Session, request: Request) -> Reply:
    value = session.keyspace.get(request[1])
    if type(value) is bytes:
        return value
    return _get_other(session, request[1], value)


def _get_other(session: Session, key: bytes, entry: Entry | None) -> Reply:
    """The reply to GET for anything but a plain string: a value that expires, a document, or nothing."""
    value = session.keyspace.expire_if_due(key, entry) if isinstance(entry, Expiring) else entry
    if value is None:
        session.keyspace.missed_gets += 1
        if session.keyspace.notes:
            session.keyspace.note_miss(key)
    return as_string(value)


def set_many(session: Session, commands: list[Request], output: list[bytes]) -> int:
    session.keyspace.put_sets(commands)
    output.append(OK.wire * len(commands))
    return len(commands)


def _option_words(request: Request) -> list[bytes]:
    """The words of the options of a SET in capitals, without what IFEQ and IFNE compare with, which may be any word."""
    words = [word.upper() for word in request[3:]]
    return [word for before, word in zip([b"", *words], words, strict=False) if before not in (b"IFEQ", b"IFNE")]


def _events(options: list[bytes]) -> Mapping[str, str]:
    """The events of a call with these words for options, in capitals.

    A DEL is recorded for a time that has passed: in Redis, such a key is there until it is met.
    """
    is_timed = not EXPIRY_OPTIONS.keys().isdisjoint(word.decode("latin-1") for word in options)
    return {"": "set g:expire" if is_timed else "set", "DEL": "set g:expire x:expired"}


def _events_of_set(request: Request) -> Mapping[str, str]:
    return _events(_option_words(request))


def _access_of_set(request: Request) -> str:
    gets = not {b"GET", b"IFEQ", b"IFNE"}.isdisjoint(_option_words(request))
    return "RW access update" if gets else "OW update"


@command("set",
         "key:key value condition<NX|XX|IFEQ=ifeq-value|IFNE=ifne-value>?@2.6.12 GET?@6.2.0 "
         "expiration<EX=seconds:integer@2.6.12|PX=milliseconds:integer@2.6.12|EXAT=unix-time-seconds:unix-time@6.2.0|"
         "PXAT=unix-time-milliseconds:unix-time@6.2.0|KEEPTTL@6.0.0>?",
         "write denyoom", access="RW access update variable_flags",
         key_notes=("RW and ACCESS due to the optional `GET` argument",), access_of=_access_of_set,
         events=_events_of_set, since="1.0.0", group="string", complexity="O(1)",
         summary="Set the string value of a key",
         many=Many(3, set_many), call=set_string if IS_COMPILED else None, bounded_below=ANY_NUMBER)  # fmt: skip
def set_(session: Session, request: Request) -> Reply:
    if len(request) > 3:
        return _set_with_options(session, request)
    session.keyspace.put_as(request[1], request[2], request)
    return OK


# Each option's milliseconds per unit, and True if its number counts from now.
EXPIRY_OPTIONS = {"EX": (1000, True), "PX": (1, True), "EXAT": (1000, False), "PXAT": (1, False)}


def expires_at_ms(option: str, number: bytes, now_ms: int, name: str) -> int:
    """The time (Unix milliseconds) that one of EXPIRY_OPTIONS says. CommandError, which names the command, for a wrong one."""
    unit_ms, is_relative = EXPIRY_OPTIONS[option]
    return expiry_ms(number, unit_ms=unit_ms, base_ms=now_ms if is_relative else 0, command=name)


def _set_with_options(session: Session, request: Request) -> Reply:
    keyspace = session.keyspace
    key, value = request[1], request[2]
    now_ms = keyspace.now_ms()
    options = set_.options(request)
    gets, expiry = "GET" in options, options.chosen("expiration")
    # A wrong time is an error even where nothing would be set.
    wanted_ms = expires_at_ms(expiry, options[expiry], now_ms, "set") if expiry in EXPIRY_OPTIONS else None
    previous = keyspace.read(key) if gets else keyspace.live(key)
    reply: Reply = as_string(previous) if gets else OK
    condition = options.chosen("condition")
    if condition and not is_met(condition, previous, options.get(condition)):
        return reply if gets else None
    until_ms = keyspace.expires_at_ms(key) if expiry == "KEEPTTL" else wanted_ms
    if until_ms:
        store_until(session, key, value, until_ms, now_ms)
    else:
        keyspace.put(key, value)
    return reply


def is_met(condition: str, present: Value | None, wanted: bytes | None) -> bool:
    """True if a value, or None for a missing key, meets NX, XX, IFEQ or IFNE; the latter compare it with the wanted one.

    CommandError where they meet a value that is no string.
    """
    match condition:
        case "NX":
            return present is None
        case "XX":
            return present is not None
    return (as_string(present) == wanted) == (condition == "IFEQ")


def store_until(session: Session, key: bytes, value: Value, until_ms: int, now_ms: int) -> None:
    """Store a value with its expiry. `now_ms` is the time from which a relative one was counted: by now it may have passed."""
    keyspace = session.keyspace
    # A key with an EXAT in the past is gone at once.
    if until_ms <= now_ms:
        keyspace.remove(key)
    else:
        keyspace.put(key, value, until_ms)


@command("setex", "key:key seconds:integer value", "write denyoom", access="OW update",
         events="set g:expire", since="2.0.0", group="string", complexity="O(1)",
         summary="Set the value and expiration of a key")  # fmt: skip
def setex(session: Session, request: Request) -> Reply:
    now_ms = session.keyspace.now_ms()
    store_until(session, request[1], request[3], expires_at_ms("EX", request[2], now_ms, "setex"), now_ms)
    return OK


@command("psetex", "key:key milliseconds:integer value", "write denyoom", access="OW update",
         events="set g:expire", since="2.6.0", group="string", complexity="O(1)",
         summary="Set the value and expiration in milliseconds of a key")  # fmt: skip
def psetex(session: Session, request: Request) -> Reply:
    now_ms = session.keyspace.now_ms()
    store_until(session, request[1], request[3], expires_at_ms("PX", request[2], now_ms, "psetex"), now_ms)
    return OK


@command("setnx", "key:key value", "write denyoom fast", access="OW insert",
         events="set", since="1.0.0", group="string", complexity="O(1)",
         summary="Set the value of a key, only if the key does not exist")  # fmt: skip
def setnx(session: Session, request: Request) -> Reply:
    keyspace = session.keyspace
    if keyspace.live(request[1]) is not None:
        return 0
    keyspace.put(request[1], request[2])
    return 1


@command("getset", "key:key value", "write denyoom fast", access="RW access update",
         events="set",
         since="1.0.0", group="string", complexity="O(1)", deprecated=("6.2.0", "`SET` with the `!GET` argument"),
         summary="Set the string value of a key and return its old value")  # fmt: skip
def getset(session: Session, request: Request) -> Reply:
    keyspace = session.keyspace
    previous = as_string(keyspace.read(request[1]))
    keyspace.put(request[1], request[2])
    return previous


@command("getdel", "key:key", "write fast", access="RW access delete",
         since="6.2.0", group="string", complexity="O(1)",
         summary="Get the value of a key and delete the key")  # fmt: skip
def getdel(session: Session, request: Request) -> Reply:
    keyspace = session.keyspace
    value = as_string(keyspace.read(request[1]))
    if value is not None:
        keyspace.remove(request[1])
    return value


@command("getex",
         "key:key expiration<EX=seconds:integer|PX=milliseconds:integer|EXAT=unix-time-seconds:unix-time|"
         "PXAT=unix-time-milliseconds:unix-time|PERSIST>?",
         "write fast", access="RW access update", key_notes=("RW and UPDATE because it changes the TTL",),
         since="6.2.0", group="string", complexity="O(1)",
         summary="Get the value of a key and optionally set its expiration")  # fmt: skip
def getex(session: Session, request: Request) -> Reply:
    """As in Redis, a wrong time is an error only if the key is there."""
    expiry = (options := getex.options(request)).chosen("expiration")
    keyspace, key = session.keyspace, request[1]
    value = as_string(keyspace.read(key))
    if value is None or expiry is None:
        return value
    if expiry == "PERSIST":
        if keyspace.expires_at_ms(key) is not None:
            keyspace.expire(key, None)
        return value
    now_ms = keyspace.now_ms()
    until_ms = expires_at_ms(expiry, options[expiry], now_ms, "getex")
    if until_ms <= now_ms:
        keyspace.remove(key)
    else:
        keyspace.expire(key, until_ms)
    return value


@command("mget", "key:key+", "readonly fast", access="RO access",
         since="1.0.0", group="string", complexity="O(N) where N is the number of keys to retrieve.",
         tips="request_policy:multi_shard",
         summary="Get the values of all the given keys")  # fmt: skip
def mget(session: Session, request: Request) -> Reply:
    """As in Redis, a value that is no string counts as missing."""
    values = session.keyspace.values_for(request)
    if values is not None:
        return values
    return [value if isinstance(value, bytes) else None for value in map(session.keyspace.read, request[1:])]


def _set_many(session: Session, request: Request) -> None:
    session.keyspace.put_all([b"MSET", *request[1:]])


@command("mset", "key_value{key:key value}+", "write denyoom", access="OW update",
         events="set", since="1.0.1", group="string", complexity="O(N) where N is the number of keys to set.",
         tips="request_policy:multi_shard response_policy:all_succeeded",
         summary="Set multiple keys to multiple values")  # fmt: skip
def mset(session: Session, request: Request) -> Reply:
    if not len(request) % 2:
        raise wrong_arity("mset")
    _set_many(session, request)
    return OK


@command("msetnx", "key_value{key:key value}+", "write denyoom", access="OW insert",
         events="set", since="1.0.1", group="string", complexity="O(N) where N is the number of keys to set.",
         tips="request_policy:multi_shard response_policy:agg_min",
         summary="Set multiple keys to multiple values, only if none of the keys exist")  # fmt: skip
def msetnx(session: Session, request: Request) -> Reply:
    if not len(request) % 2:
        raise wrong_arity("msetnx")
    if any(session.keyspace.live(key) is not None for key in request[1::2]):
        return 0
    _set_many(session, request)
    return 1


def _events_of_msetex(request: Request) -> Mapping[str, str]:
    return _events([word.upper() for word in request[2 + 2 * int(request[1]) :]])


@command("msetex",
         "numkeys:integer data{key:key value}+ condition<NX|XX>? expiration<EX=seconds:integer|PX=milliseconds:integer|"
         "EXAT=unix-time-seconds:unix-time|PXAT=unix-time-milliseconds:unix-time|KEEPTTL>?",
         "write denyoom", access="OW update",
         events=_events_of_msetex,
         since="8.4.0", group="string", complexity="O(N) where N is the number of keys to set.",
         summary="Atomically sets multiple string keys with a shared expiration in a single operation.")  # fmt: skip
def msetex(session: Session, request: Request) -> Reply:
    """As Redis 8.4 and Valkey 9.1 have it: 1, or 0 where one of the keys does not meet the condition."""
    keyspace = session.keyspace
    end = 2 + 2 * at_least(1, request[1], "ERR invalid numkeys value")
    if end > len(request):
        raise CommandError("ERR wrong number of key-value pairs")
    options = msetex.options(request, end)
    expiry, condition, now_ms = options.chosen("expiration"), options.chosen("condition"), keyspace.now_ms()
    wanted_ms = expires_at_ms(expiry, options[expiry], now_ms, "msetex") if expiry in EXPIRY_OPTIONS else None
    keys = request[2:end:2]
    if condition and not all(is_met(condition, keyspace.live(key), None) for key in keys):
        return 0
    for key, value in zip(keys, request[3:end:2], strict=True):
        until_ms = keyspace.expires_at_ms(key) if expiry == "KEEPTTL" else wanted_ms
        if until_ms:
            store_until(session, key, value, until_ms, now_ms)
        else:
            keyspace.put(key, value)
    return 1


@command("strlen", "key:key", "readonly fast", access="RO",
         since="2.2.0", group="string", complexity="O(1)",
         summary="Get the length of the value stored in a key")  # fmt: skip
def strlen(session: Session, request: Request) -> Reply:
    value = as_string(session.keyspace.read(request[1]))
    return 0 if value is None else len(value)
