"""Strings: GET and SET, the hot path. Nothing may be added to these two handlers that is not measured."""

from __future__ import annotations

from dataclasses import dataclass

from kvserver.commands.arguments import SYNTAX_ERROR, expiry_ms
from kvserver.commands.row import FIRST_KEY, Command
from kvserver.errors import CommandError
from kvserver.keyspace import Expiring
from kvserver.resp.reply import OK, Reply
from kvserver.session import Session


def get(session: Session, args: list[bytes]) -> Reply:
    value = session.keyspace.get(args[1])
    if type(value) is Expiring:
        return session.keyspace.expire_if_due(args[1], value)
    return value  # type: ignore[no-any-return]


def set_(session: Session, args: list[bytes]) -> Reply:
    if len(args) > 3:
        return _set_with_options(session, args)
    keyspace = session.keyspace
    keyspace.set(args[1], args[2])
    keyspace.written.append(args)
    return OK


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
        unit_ms, is_relative = _EXPIRY_OPTIONS[expiry[0]]
        options.expires_at_ms = expiry_ms(expiry[1], unit_ms=unit_ms, base_ms=now_ms if is_relative else 0, command="set")
    return options


def _set_with_options(session: Session, args: list[bytes]) -> Reply:
    keyspace = session.keyspace
    key, value = args[1], args[2]
    options = parse_set_options(args[3:], keyspace.now_ms())
    previous = keyspace.live(key)
    reply: Reply = previous if options.get else OK
    if (options.only_if_missing and previous is not None) or (options.only_if_there and previous is None):
        return previous if options.get else None
    expires_at_ms = options.expires_at_ms or (keyspace.expires_at_ms(key) if options.keep_ttl else None)
    if expires_at_ms and expires_at_ms <= keyspace.now_ms():  # EXAT in the past: the key is gone at once
        keyspace.delete(key)
        keyspace.written.append([b"DEL", key])
    elif expires_at_ms:
        keyspace.set_expiring(key, value, expires_at_ms)
        keyspace.written.append([b"SET", key, value, b"PXAT", b"%d" % expires_at_ms])
    else:
        keyspace.set(key, value)
        keyspace.written.append([b"SET", key, value])
    return reply


COMMANDS = (
    Command("get", 2, ("readonly", "fast"), FIRST_KEY, get, "Get the value of a key", "1.0.0", "string", "O(1)"),
    Command("set", -3, ("write", "denyoom"), FIRST_KEY, set_, "Set the string value of a key", "1.0.0", "string", "O(1)"),
)
