"""Keys, whatever their values are: DEL, EXISTS, TYPE, TTL, PTTL, DBSIZE, FLUSHALL."""

from __future__ import annotations

from kvserver.codec import JSONText
from kvserver.commands.arguments import SYNTAX_ERROR
from kvserver.commands.effect import Discard, Effect
from kvserver.commands.row import ALL_KEYS, FIRST_KEY, NO_KEYS, Command
from kvserver.errors import CommandError
from kvserver.keyspace import new_shards
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.session import Session

JSON_TYPE = Simple("ReJSON-RL")  # as RedisJSON calls its type


def del_(session: Session, args: list[bytes]) -> Reply:
    keyspace = session.keyspace
    # An expired key was gone before: looking removes it.
    removed = [key for key in args[1:] if keyspace.live(key) is not None and keyspace.delete(key)]
    if removed:
        keyspace.written.append([b"DEL", *removed])
    return len(removed)


def exists(session: Session, args: list[bytes]) -> Reply:
    return sum(session.keyspace.live(key) is not None for key in args[1:])


def type_(session: Session, args: list[bytes]) -> Reply:
    value = session.keyspace.live(args[1])
    if value is None:
        return Simple("none")
    return JSON_TYPE if isinstance(value, JSONText) else Simple("string")


def _milliseconds_left(session: Session, key: bytes) -> int:
    """-2 where the key is missing, -1 where it never expires."""
    if session.keyspace.live(key) is None:
        return -2
    expires_at_ms = session.keyspace.expires_at_ms(key)
    return -1 if expires_at_ms is None else max(expires_at_ms - session.keyspace.now_ms(), 0)


def pttl(session: Session, args: list[bytes]) -> Reply:
    return _milliseconds_left(session, args[1])


def ttl(session: Session, args: list[bytes]) -> Reply:
    left_ms = _milliseconds_left(session, args[1])
    return left_ms if left_ms < 0 else (left_ms + 500) // 1000


def dbsize(session: Session, args: list[bytes]) -> Reply:
    return len(session.keyspace)


def flushall(session: Session, args: list[bytes]) -> Reply | Effect:
    # ASYNC and SYNC differ in when memory is freed, and here it is freed bit by bit either way.
    if len(args) > 2 or (len(args) == 2 and args[1].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError(SYNTAX_ERROR)
    keyspace = session.keyspace
    keyspace.written.append([b"FLUSHALL"])
    return Discard(keyspace.replace(new_shards()), OK)


COMMANDS = (
    Command("del", -2, ("write",), ALL_KEYS, del_, "Delete a key", "1.0.0", "generic",
            "O(N) where N is the number of keys that will be removed."),
    Command("exists", -2, ("readonly", "fast"), ALL_KEYS, exists, "Determine if a key exists", "1.0.0", "generic",
            "O(N) where N is the number of keys to check."),
    Command("type", 2, ("readonly", "fast"), FIRST_KEY, type_, "Determine the type stored at key", "1.0.0", "generic",
            "O(1)"),
    Command("ttl", 2, ("readonly", "fast"), FIRST_KEY, ttl, "Get the time to live for a key in seconds", "1.0.0",
            "generic", "O(1)"),
    Command("pttl", 2, ("readonly", "fast"), FIRST_KEY, pttl, "Get the time to live for a key in milliseconds", "2.6.0",
            "generic", "O(1)"),
    Command("dbsize", 1, ("readonly", "fast"), NO_KEYS, dbsize, "Return the number of keys in the selected database",
            "1.0.0", "server", "O(1)"),
    Command("flushall", -1, ("write",), NO_KEYS, flushall, "Remove all keys from all databases", "1.0.0", "server",
            "O(1), the memory is freed bit by bit"),
)  # fmt: skip
