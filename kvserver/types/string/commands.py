"""Whole strings: GET, SET and their kin. GET and SET are the hot path: nothing may be added to them that is not measured."""

from __future__ import annotations

from dataclasses import dataclass

from kvserver.data.entries import Entry, Expiring
from kvserver.dispatch.arguments import SYNTAX_ERROR, expiry_ms
from kvserver.dispatch.row import ALL_KEYS, FIRST_KEY, Command, Many, wrong_arity
from kvserver.errors import CommandError
from kvserver.resp.reply import BULK_HEADERS, CACHED_BULK_HEADERS, CRLF, NULL, OK, Reply
from kvserver.state.session import Session


def get(session: Session, args: list[bytes]) -> Reply:
    value = session.keyspace.get(args[1])
    if type(value) is bytes:
        return value
    return _get_other(session, args[1], value)


def get_many(session: Session, commands: list[list[bytes]], output: list[bytes]) -> int:
    keyspace = session.keyspace
    done = 0
    for value in keyspace.get_many([key for _, key in commands]):
        if type(value) is bytes and len(value) < CACHED_BULK_HEADERS:
            output += (BULK_HEADERS[len(value)], value, CRLF)
        elif value is None:
            output.append(NULL[session.protocol])
            keyspace.missed_gets += 1
        else:
            break
        done += 1
    return done


def _get_other(session: Session, key: bytes, entry: Entry | None) -> Reply:
    """What is no plain string: JSON, something that expires, nothing."""
    value = session.keyspace.expire_if_due(key, entry) if isinstance(entry, Expiring) else entry
    if value is None:
        session.keyspace.missed_gets += 1
    return value


def set_(session: Session, args: list[bytes]) -> Reply:
    if len(args) > 3:
        return _set_with_options(session, args)
    session.keyspace.put_as(args[1], args[2], args)
    return OK


def set_many(session: Session, commands: list[list[bytes]], output: list[bytes]) -> int:
    session.keyspace.put_many([(key, value) for _, key, value in commands], commands)
    output.append(OK.wire * len(commands))
    return len(commands)


@dataclass
class SetOptions:
    """The options of SET, parsed. `expires_at_ms` is Unix time; 0: none."""

    only_if_missing: bool = False  # NX
    only_if_there: bool = False  # XX
    get: bool = False
    keep_ttl: bool = False
    expires_at_ms: int = 0


# Option -> milliseconds per unit, and whether the number counts from now.
_EXPIRY_OPTIONS = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}


def _expires_at_ms(option: bytes, number: bytes, now_ms: int, command: str) -> int:
    unit_ms, is_relative = _EXPIRY_OPTIONS[option]
    return expiry_ms(number, unit_ms=unit_ms, base_ms=now_ms if is_relative else 0, command=command)


def parse_set_options(words: list[bytes], now_ms: int) -> SetOptions:
    """The options behind key and value. CommandError for a syntax error or a wrong time, in this order, as in Redis."""
    options = SetOptions()
    expiry: tuple[bytes, bytes] | None = None
    rest = list(reversed(words))
    while rest:
        word = rest.pop().upper()
        if word == b"NX" and not options.only_if_there:
            options.only_if_missing = True
        elif word == b"XX" and not options.only_if_missing:
            options.only_if_there = True
        elif word == b"GET":
            options.get = True
        elif word == b"KEEPTTL" and not expiry:
            options.keep_ttl = True
        elif word in _EXPIRY_OPTIONS and rest and not options.keep_ttl and (not expiry or expiry[0] == word):
            expiry = (word, rest.pop())
        else:
            raise CommandError(SYNTAX_ERROR)
    if expiry:
        options.expires_at_ms = _expires_at_ms(*expiry, now_ms, "set")
    return options


def _set_with_options(session: Session, args: list[bytes]) -> Reply:
    keyspace = session.keyspace
    key, value = args[1], args[2]
    now_ms = keyspace.now_ms()
    options = parse_set_options(args[3:], now_ms)
    previous = keyspace.read(key) if options.get else keyspace.live(key)
    reply: Reply = previous if options.get else OK
    if (options.only_if_missing and previous is not None) or (options.only_if_there and previous is None):
        return previous if options.get else None
    expires_at_ms = options.expires_at_ms or (keyspace.expires_at_ms(key) if options.keep_ttl else None)
    if expires_at_ms:
        _store_until(session, key, value, expires_at_ms, now_ms)
    else:
        keyspace.put(key, value)
    return reply


def _store_until(session: Session, key: bytes, value: bytes, expires_at_ms: int, now_ms: int) -> None:
    """`now_ms` is what a relative time was counted from: by a later look at the clock it might have passed already."""
    keyspace = session.keyspace
    if expires_at_ms <= now_ms:  # EXAT in the past: the key is gone at once
        keyspace.remove(key)
    else:
        keyspace.put(key, value, expires_at_ms)


def setex(session: Session, args: list[bytes]) -> Reply:
    now_ms = session.keyspace.now_ms()
    _store_until(session, args[1], args[3], _expires_at_ms(b"EX", args[2], now_ms, "setex"), now_ms)
    return OK


def psetex(session: Session, args: list[bytes]) -> Reply:
    now_ms = session.keyspace.now_ms()
    _store_until(session, args[1], args[3], _expires_at_ms(b"PX", args[2], now_ms, "psetex"), now_ms)
    return OK


def setnx(session: Session, args: list[bytes]) -> Reply:
    keyspace = session.keyspace
    if keyspace.live(args[1]) is not None:
        return 0
    keyspace.put(args[1], args[2])
    return 1


def getset(session: Session, args: list[bytes]) -> Reply:
    keyspace = session.keyspace
    previous = keyspace.read(args[1])
    keyspace.put(args[1], args[2])
    return previous


def getdel(session: Session, args: list[bytes]) -> Reply:
    keyspace = session.keyspace
    value = keyspace.read(args[1])
    if value is not None:
        keyspace.remove(args[1])
    return value


def getex(session: Session, args: list[bytes]) -> Reply:
    """The time is looked at only where the key is there, as in Redis."""
    expiry: tuple[bytes, bytes] | None = None
    persist = False
    rest = list(reversed(args[2:]))
    while rest:
        word = rest.pop().upper()
        if word == b"PERSIST" and not expiry:
            persist = True
        elif word in _EXPIRY_OPTIONS and rest and not persist and (not expiry or expiry[0] == word):
            expiry = (word, rest.pop())
        else:
            raise CommandError(SYNTAX_ERROR)
    keyspace, key = session.keyspace, args[1]
    value = keyspace.read(key)
    if value is None:
        return None
    if expiry:
        now_ms = keyspace.now_ms()
        expires_at_ms = _expires_at_ms(*expiry, now_ms, "getex")
        if expires_at_ms <= now_ms:
            keyspace.remove(key)
        else:
            keyspace.expire(key, expires_at_ms)
    elif persist and keyspace.expires_at_ms(key) is not None:
        keyspace.expire(key, None)
    return value


def mget(session: Session, args: list[bytes]) -> Reply:
    return list(map(session.keyspace.read, args[1:]))


def _set_many(session: Session, args: list[bytes]) -> None:
    session.keyspace.put_all(zip(args[1::2], args[2::2], strict=True), [b"MSET", *args[1:]])


def mset(session: Session, args: list[bytes]) -> Reply:
    if not len(args) % 2:
        raise wrong_arity("mset")
    _set_many(session, args)
    return OK


def msetnx(session: Session, args: list[bytes]) -> Reply:
    if not len(args) % 2:
        raise wrong_arity("msetnx")
    if any(session.keyspace.live(key) is not None for key in args[1::2]):
        return 0
    _set_many(session, args)
    return 1


def strlen(session: Session, args: list[bytes]) -> Reply:
    value = session.keyspace.read(args[1])
    return 0 if value is None else len(value)


EVERY_SECOND_KEY = (1, -1, 2)
_WRITE = ("write", "denyoom")
_FAST_WRITE = (*_WRITE, "fast")
_GROUP = "string"

COMMANDS = (
    Command("get", 2, ("readonly", "fast"), FIRST_KEY, get, "Get the value of a key", "1.0.0", _GROUP, "O(1)",
            many=Many(2, get_many)),
    Command("set", -3, _WRITE, FIRST_KEY, set_, "Set the string value of a key", "1.0.0", _GROUP, "O(1)",
            many=Many(3, set_many)),
    Command("setex", 4, _WRITE, FIRST_KEY, setex, "Set the value and expiration of a key", "2.0.0", _GROUP, "O(1)"),
    Command("psetex", 4, _WRITE, FIRST_KEY, psetex, "Set the value and expiration in milliseconds of a key", "2.6.0",
            _GROUP, "O(1)"),
    Command("setnx", 3, _FAST_WRITE, FIRST_KEY, setnx, "Set the value of a key, only if the key does not exist", "1.0.0",
            _GROUP, "O(1)"),
    Command("getset", 3, _FAST_WRITE, FIRST_KEY, getset, "Set the string value of a key and return its old value", "1.0.0",
            _GROUP, "O(1)"),
    Command("getdel", 2, ("write", "fast"), FIRST_KEY, getdel, "Get the value of a key and delete the key", "6.2.0",
            _GROUP, "O(1)"),
    Command("getex", -2, ("write", "fast"), FIRST_KEY, getex,
            "Get the value of a key and optionally set its expiration", "6.2.0", _GROUP, "O(1)"),
    Command("mget", -2, ("readonly", "fast"), ALL_KEYS, mget, "Get the values of all the given keys", "1.0.0", _GROUP,
            "O(N) where N is the number of keys to retrieve."),
    Command("mset", -3, _WRITE, EVERY_SECOND_KEY, mset, "Set multiple keys to multiple values", "1.0.1", _GROUP,
            "O(N) where N is the number of keys to set."),
    Command("msetnx", -3, _WRITE, EVERY_SECOND_KEY, msetnx,
            "Set multiple keys to multiple values, only if none of the keys exist", "1.0.1", _GROUP,
            "O(N) where N is the number of keys to set."),
    Command("strlen", 2, ("readonly", "fast"), FIRST_KEY, strlen, "Get the length of the value stored in a key", "2.2.0",
            _GROUP, "O(1)"),
)  # fmt: skip
