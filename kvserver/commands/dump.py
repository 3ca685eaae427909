"""DUMP, and RESTORE of a key: strings on their way from and to another server of Redis's kind."""

from __future__ import annotations

from kvserver.dispatch.arguments import MAX_INTEGER, SYNTAX_ERROR, integer
from kvserver.dispatch.row import FIRST_KEY, Command
from kvserver.errors import CommandError, DumpInvalid
from kvserver.formats.rdb import dump, load
from kvserver.resp.reply import OK, Reply
from kvserver.state.session import Session


def dump_key(session: Session, args: list[bytes]) -> Reply:
    """Of a JSON value, the string of its text."""
    value = session.keyspace.read(args[1])
    return None if value is None else dump(bytes(value))


def restore_key(session: Session, args: list[bytes]) -> Reply:
    """RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]. Touches no other key."""
    keyspace, key = session.keyspace, args[1]
    options = _parse(args[4:])
    is_there = keyspace.live(key) is not None
    if is_there and not options.replaces:
        raise CommandError("BUSYKEY Target key name already exists.")
    ttl_ms = integer(args[2])
    if ttl_ms < 0:
        raise CommandError("ERR Invalid TTL value, must be >= 0")
    try:
        value = load(args[3], session.server.config.proto_max_bulk_len)
    except DumpInvalid as error:
        raise CommandError(f"ERR {error}") from None
    now_ms = keyspace.now_ms()
    expires_at_ms = ttl_ms if options.is_absolute or not ttl_ms else ttl_ms + now_ms
    if expires_at_ms > MAX_INTEGER:
        expires_at_ms -= 1 << 64  # as in Redis, for which this time has come long ago
    if not expires_at_ms or expires_at_ms > now_ms:
        keyspace.put(key, value, expires_at_ms or None)
    elif is_there:  # replaced by what is gone already
        keyspace.remove(key)
    if keyspace.peek(key) is not None:
        session.server.memory.set_use(key, options.idle_s, options.frequency)
    return OK


class _Options:
    """Of RESTORE. By default nothing is told of uses."""

    is_absolute = False
    replaces = False
    idle_s: int | None = None
    frequency: int | None = None


def _parse(words: list[bytes]) -> _Options:
    options = _Options()
    rest = list(reversed(words))
    while rest:
        word = rest.pop().upper()
        if word == b"IDLETIME" and rest and options.frequency is None:
            options.idle_s = integer(rest.pop())
            if options.idle_s < 0:
                raise CommandError("ERR Invalid IDLETIME value, must be >= 0")
        elif word == b"FREQ" and rest and options.idle_s is None:
            options.frequency = integer(rest.pop())
            if not 0 <= options.frequency <= 255:
                raise CommandError("ERR Invalid FREQ value, must be >= 0 and <= 255")
        elif word == b"REPLACE":
            options.replaces = True
        elif word == b"ABSTTL":
            options.is_absolute = True
        else:
            raise CommandError(SYNTAX_ERROR)
    return options


COMMANDS = (
    Command("dump", 2, ("readonly",), FIRST_KEY, dump_key,
            "Return a serialized version of the value stored at the specified key.", "2.6.0", "generic",
            "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects composing "
            "the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) where M is "
            "small, so simply O(1)."),
)  # fmt: skip
