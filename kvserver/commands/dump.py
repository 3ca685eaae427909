"""DUMP, and RESTORE with a key: values on their way from and to another server that speaks Redis's protocol.

The payloads are those of `formats.rdb`. RESTORE without arguments, which loads the last snapshot, is in `persistence`.
"""

from __future__ import annotations

from kvserver.dispatch.arguments import MAX_INTEGER, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError, DumpInvalid
from kvserver.formats.rdb import dump, load
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session


@command("dump", "key:key", "readonly", access="RO access",
         since="2.6.0", group="generic",
         complexity="O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects "
         "composing the value and M their average size. For small string values the time complexity is thus O(1)+O(1*M) "
         "where M is small, so simply O(1).",
         tips="nondeterministic_output",
         summary="Return a serialized version of the value stored at the specified key.")  # fmt: skip
def dump_key(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    return None if value is None else dump(value)


def _idle_s(text: bytes) -> int:
    idle_s = integer(text)
    if idle_s < 0:
        raise CommandError("ERR Invalid IDLETIME value, must be >= 0")
    return idle_s


def _frequency(text: bytes) -> int:
    frequency = integer(text)
    if not 0 <= frequency <= 255:
        raise CommandError("ERR Invalid FREQ value, must be >= 0 and <= 255")
    return frequency


@command("restore",
         "key:key ttl:integer serialized-value REPLACE?@3.0.0 ABSTTL?@5.0.0 (IDLETIME=seconds:integer?@5.0.0|"
         "FREQ=frequency:integer?@5.0.0)",
         "write denyoom", access="OW update", numbers={"IDLETIME": _idle_s, "FREQ": _frequency},
         events="n:new restore", since="2.6.0", group="generic",
         complexity="O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the "
         "number of Redis objects composing the value and M their average size. For small string values the time complexity "
         "is thus O(1)+O(1*M) where M is small, so simply O(1). However for sorted set values the complexity is "
         "O(N*M*log(N)) because inserting values into sorted sets is O(log(N)).",
         categories="keyspace dangerous",
         summary="Create a key using the provided serialized value, previously obtained using DUMP.")  # fmt: skip
def restore_key(session: Session, request: Request) -> Reply:
    """Create the key, and touch no other."""
    keyspace, key = session.keyspace, request[1]
    options = restore_key.options(request)
    is_there = keyspace.live(key) is not None
    if is_there and "REPLACE" not in options:
        raise CommandError("BUSYKEY Target key name already exists.")
    ttl_ms = integer(request[2])
    if ttl_ms < 0:
        raise CommandError("ERR Invalid TTL value, must be >= 0")
    try:
        value = load(request[3], session.server.config.proto_max_bulk_len)
    except DumpInvalid as error:
        raise CommandError(f"ERR {error}") from None
    now_ms = keyspace.now_ms()
    expires_at_ms = ttl_ms if "ABSTTL" in options or not ttl_ms else ttl_ms + now_ms
    # The sum overflows as in Redis, for which such a time has come long ago.
    if expires_at_ms > MAX_INTEGER:
        expires_at_ms -= 1 << 64
    if not expires_at_ms or expires_at_ms > now_ms:
        keyspace.put(key, value, expires_at_ms or None)
    # A value whose time has come is never stored: it takes the place of the present one, and is gone at once.
    elif is_there:
        keyspace.remove(key)
    if keyspace.peek(key) is not None:
        idle_s = options.number("IDLETIME", 0) if "IDLETIME" in options else None
        frequency = options.number("FREQ", 0) if "FREQ" in options else None
        session.server.memory.set_use(keyspace, key, idle_s, frequency)
    return OK
