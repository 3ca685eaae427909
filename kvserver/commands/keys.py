"""Keys, whatever their values are: DEL and UNLINK, EXISTS, TOUCH, TYPE, RENAME, COPY, MOVE, and the removal of all."""

from __future__ import annotations

from typing import Final

from kvserver.data.encodings import JSONText
from kvserver.data.entries import Value
from kvserver.dispatch.arguments import INT_MAX, NO_SUCH_DATABASE, SYNTAX_ERROR, check_database, integer
from kvserver.dispatch.effect import Discard, Effect
from kvserver.dispatch.row import ALL_KEYS, FIRST_KEY, NO_KEYS, Command
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply, Simple
from kvserver.state.session import Session

JSON_TYPE: Final = "ReJSON-RL"  # as RedisJSON calls its type
SAME_OBJECT: Final = "ERR source and destination objects are the same"
NO_SUCH_KEY: Final = "ERR no such key"


def del_(session: Session, args: list[bytes]) -> Reply:
    keyspace = session.keyspace
    # An expired key was gone before: looking removes it.
    present = [key for key in dict.fromkeys(args[1:]) if keyspace.peek_live(key) is not None]
    if present:
        keyspace.remove(*present)
    return len(present)


def exists(session: Session, args: list[bytes]) -> Reply:
    return sum(session.keyspace.peek_read(key) is not None for key in args[1:])


def touch(session: Session, args: list[bytes]) -> Reply:
    return sum(session.keyspace.read(key) is not None for key in args[1:])


def type_name(value: Value) -> str:
    """The type of a value as TYPE tells it."""
    return JSON_TYPE if isinstance(value, JSONText) else "string"


def type_(session: Session, args: list[bytes]) -> Reply:
    value = session.keyspace.peek_read(args[1])
    return Simple("none" if value is None else type_name(value))


def rename(session: Session, args: list[bytes]) -> Reply:
    _rename(session, args[1], args[2])
    return OK


def renamenx(session: Session, args: list[bytes]) -> Reply:
    return int(_rename(session, args[1], args[2], only_if_missing=True))


def _rename(session: Session, old: bytes, new: bytes, *, only_if_missing: bool = False) -> bool:
    """Whether the key has its new name. CommandError where it is missing."""
    keyspace = session.keyspace
    value = keyspace.live(old)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    if only_if_missing and keyspace.live(new) is not None:
        return False
    if old == new:
        return True
    # Not RENAME, which is an error where there is nothing to rename: a journal must not fail over one key.
    _copy(session, old, new, value)
    keyspace.remove(old)
    return True


def copy(session: Session, args: list[bytes]) -> Reply:
    keyspace, (source, destination) = session.keyspace, args[1:3]
    is_replacing = False
    rest = list(reversed(args[3:]))
    while rest:
        word = rest.pop().upper()
        if word == b"REPLACE":
            is_replacing = True
        elif word == b"DB" and rest:
            check_database(rest.pop())
        else:
            raise CommandError(SYNTAX_ERROR)
    if source == destination:
        raise CommandError(SAME_OBJECT)
    value = keyspace.read(source)
    if value is None or (keyspace.live(destination) is not None and not is_replacing):
        return 0
    _copy(session, source, destination, value)
    return 1


def _copy(session: Session, source: bytes, destination: bytes, value: Value) -> None:
    keyspace = session.keyspace
    expires_at_ms = keyspace.expires_at_ms(source)
    if expires_at_ms is None:
        keyspace.put_as(destination, value, [b"COPY", source, destination, b"REPLACE"])
    else:
        keyspace.put(destination, value, expires_at_ms)


def move(session: Session, args: list[bytes]) -> Reply:
    check_database(args[2])
    raise CommandError(SAME_OBJECT)


def swapdb(session: Session, args: list[bytes]) -> Reply:
    numbers = []
    for text, which in zip(args[1:], ("first", "second"), strict=True):
        error = f"ERR invalid {which} DB index"
        numbers.append(integer(text, error))
        if not -INT_MAX - 1 <= numbers[-1] <= INT_MAX:
            raise CommandError(error)
    if numbers != [0, 0]:
        raise CommandError(NO_SUCH_DATABASE)
    return OK


def flushall(session: Session, args: list[bytes]) -> Effect:
    """As in Redis, a server with save points has flushed what is left before it replies."""
    return _discard_all(session, args, flushes=bool(session.server.config.save))


def flushdb(session: Session, args: list[bytes]) -> Effect:
    return _discard_all(session, args, flushes=False)


def _discard_all(session: Session, args: list[bytes], *, flushes: bool) -> Effect:
    # ASYNC and SYNC differ in when memory is freed, and here it is freed bit by bit either way.
    if len(args) > 2 or (len(args) == 2 and args[1].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError(SYNTAX_ERROR)
    keyspace = session.keyspace
    keys = len(keyspace)
    return Discard(args[0].decode().upper(), keys, keyspace.clear(), flushes)


_GROUP = "generic"
_FIRST_AND_SECOND = (1, 2, 1)

COMMANDS = (
    Command("del", -2, ("write",), ALL_KEYS, del_, "Delete a key", "1.0.0", _GROUP,
            "O(N) where N is the number of keys that will be removed."),
    Command("unlink", -2, ("write", "fast"), ALL_KEYS, del_,
            "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking.", "4.0.0", _GROUP,
            "O(1) for each key removed."),
    Command("exists", -2, ("readonly", "fast"), ALL_KEYS, exists, "Determine if a key exists", "1.0.0", _GROUP,
            "O(N) where N is the number of keys to check."),
    Command("touch", -2, ("readonly", "fast"), ALL_KEYS, touch,
            "Alters the last access time of a key(s). Returns the number of existing keys specified.", "3.2.1", _GROUP,
            "O(N) where N is the number of keys that will be touched."),
    Command("type", 2, ("readonly", "fast"), FIRST_KEY, type_, "Determine the type stored at key", "1.0.0", _GROUP, "O(1)"),
    Command("rename", 3, ("write",), _FIRST_AND_SECOND, rename, "Rename a key", "1.0.0", _GROUP, "O(1)"),
    Command("renamenx", 3, ("write", "fast"), _FIRST_AND_SECOND, renamenx,
            "Rename a key, only if the new key does not exist", "1.0.0", _GROUP, "O(1)"),
    Command("copy", -3, ("write", "denyoom"), _FIRST_AND_SECOND, copy, "Copy a key", "6.2.0", _GROUP,
            "O(N) worst case for collections, where N is the number of nested items. O(1) for string values."),
    Command("move", 3, ("write", "fast"), FIRST_KEY, move, "Move a key to another database", "1.0.0", _GROUP, "O(1)"),
    Command("swapdb", 3, ("write", "fast"), NO_KEYS, swapdb, "Swaps two Redis databases", "4.0.0", "server",
            "O(N) where N is the count of clients watching or blocking on keys from both databases."),
    Command("flushdb", -1, ("write",), NO_KEYS, flushdb, "Remove all keys from the current database", "1.0.0", "server",
            "O(1), the memory is freed bit by bit"),
    Command("flushall", -1, ("write",), NO_KEYS, flushall, "Remove all keys from all databases", "1.0.0", "server",
            "O(1), the memory is freed bit by bit"),
)  # fmt: skip
