"""Parts of strings: APPEND, SETRANGE, GETRANGE, SUBSTR.

Here is also what every command does that changes a part of a string: it looks if the value may be changed, and how long it
may grow. A part is stored only by the keyspace's `change`, as a string that is built in place.
"""

from __future__ import annotations

from kvserver.data.kinds import kind_of
from kvserver.dispatch.arguments import WRONG_TYPE, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.string.value import STRING, as_string, raw


def changeable(session: Session, key: bytes) -> bytes | None:
    """The string under a key, or None where it is missing. CommandError for any other value, a document as well."""
    value = session.keyspace.live(key)
    if value is None or (isinstance(value, bytes) and kind_of(value) is STRING):
        return value
    raise CommandError(WRONG_TYPE)


def check_length(session: Session, length_bytes: int) -> None:
    """CommandError for a string of more bytes than proto-max-bulk-len, unless the journal is replayed, which took it once."""
    if length_bytes > session.server.config.proto_max_bulk_len and not session.is_replay:
        raise CommandError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")


@command("append", "key:key value", "write denyoom fast", access="RW insert",
         since="2.0.0", group="string", complexity="O(N) where N is the length of the string that results.",
         summary="Append a value to a key")  # fmt: skip
def append(session: Session, request: Request) -> Reply:
    value = changeable(session, request[1])
    if value is None:
        session.keyspace.change(request[1], request[2], [b"SET", request[1], request[2]])
        return len(request[2])
    check_length(session, len(value) + len(request[2]))
    session.keyspace.change(request[1], raw(value + request[2]), [b"APPEND", request[1], request[2]])
    return len(value) + len(request[2])


@command("setrange", "key:key offset:integer value", "write denyoom", access="RW update",
         since="2.2.0", group="string", complexity="O(N) where N is the length of the string that results.",
         summary="Overwrite part of a string at key starting at the specified offset")  # fmt: skip
def setrange(session: Session, request: Request) -> Reply:
    key, piece = request[1], request[3]
    offset = integer(request[2])
    if offset < 0:
        raise CommandError("ERR offset is out of range")
    value = changeable(session, key)
    if not piece:
        return 0 if value is None else len(value)
    check_length(session, offset + len(piece))
    # By a memoryview, the parts are copied only once.
    present = memoryview(value or b"")
    padding = bytes(max(0, offset - len(present)))
    changed = b"".join((present[:offset], padding, piece, present[offset + len(piece) :]))
    session.keyspace.change(key, raw(changed), [b"SETRANGE", *request[1:]])
    return len(changed)


def inclusive_range(start: int, end: int, length: int) -> range:
    """The positions from `start` to `end`, both included and clipped to the string. A negative one counts from the end."""
    first = start if start >= 0 else max(start + length, 0)
    last = min(end if end >= 0 else max(end + length, 0), length - 1)
    return range(first, last + 1)


def is_backward(start: int, end: int) -> bool:
    """True if two positions that count from the end have nothing between them, even where both are clipped to 0."""
    return end < start < 0


@command("getrange", "key:key start:integer end:integer", "readonly", access="RO access",
         since="2.4.0", group="string",
         complexity="O(N) where N is the length of the returned string. The complexity is ultimately determined by the "
         "returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) "
         "for small strings.",
         summary="Get a substring of the string stored at a key")  # fmt: skip
def getrange(session: Session, request: Request) -> Reply:
    return _part(session, request[1], integer(request[2]), integer(request[3]))


def _part(session: Session, key: bytes, start: int, end: int) -> bytes:
    value = as_string(session.keyspace.read(key))
    if value is None or is_backward(start, end):
        return b""
    positions = inclusive_range(start, end, len(value))
    return bytes(value[positions.start : positions.stop])


@command("substr", "key:key start:integer end:integer", "readonly", access="RO access",
         since="1.0.0", group="string",
         complexity="O(N) where N is the length of the returned string. The complexity is ultimately determined by "
         "the returned length, but because creating a substring from an existing string is very cheap, it can be "
         "considered O(1) for small strings.",
         deprecated=("2.0.0", "`GETRANGE`"),
         summary="Get a substring of the string stored at a key")  # fmt: skip
def substr(session: Session, request: Request) -> Reply:
    return _part(session, request[1], integer(request[2]), integer(request[3]))
