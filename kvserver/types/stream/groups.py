"""XGROUP: the consumer groups of streams, and their consumers."""

from __future__ import annotations

from typing import Final

from kvserver.dispatch.arguments import integer
from kvserver.dispatch.command import command, container, help_lines, wrong_subcommand
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.stream.group import UNKNOWN, Group
from kvserver.types.stream.ids import FIRST, parse, parse_bound
from kvserver.types.stream.lookup import is_unwatched, no_such_group, record_of_consumer, record_of_sight
from kvserver.types.stream.stream import Stream
from kvserver.types.stream.value import changeable

_KEY_MISSING: Final = (
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to "
    "create an empty stream automatically."
)
# The most words of a call with options.
_MOST_WORDS_OF_CREATE: Final = 8
_WORDS_OF_SETID: Final = (5, 7)

xgroup = container("xgroup", since="5.0.0", group="stream", summary="A container for consumer groups commands")


def _options(request: Request, *, may_make: bool) -> tuple[bool, int]:
    """The options behind the id: True if the stream is to be made, and the number of entries read."""
    is_made, read = False, UNKNOWN
    words = iter(request[5:])
    left = len(request) - 5
    for word in words:
        option = word.upper()
        left -= 1
        if may_make and option == b"MKSTREAM":
            is_made = True
        elif option == b"ENTRIESREAD" and left:
            read = integer(next(words))
            left -= 1
            if read < 0 and read != UNKNOWN:
                raise CommandError("ERR value for ENTRIESREAD must be positive or -1")
        else:
            raise wrong_subcommand(request)
    return is_made, read


def _stream(session: Session, key: bytes) -> Stream:
    stream = changeable(session, key)
    if stream is None:
        raise CommandError(_KEY_MISSING)
    return stream


def _group(stream: Stream, key: bytes, name: bytes) -> Group:
    group = stream.groups.own(name)
    if group is None:
        raise no_such_group(key, name)
    return group


@command("xgroup|create",
         "key:key groupname id<id|$=new_id:pure-token> MKSTREAM? ENTRIESREAD=entries_read:integer?",
         "write denyoom", access="RW insert",
         # As in Redis, no watch is touched by it where the stream was there.
         events="xgroup-create", is_watched=lambda request: request[-1] == b"MKSTREAM", since="5.0.0", group="stream",
         complexity="O(1)",
         summary="Create a consumer group.")  # fmt: skip
def xgroup_create(session: Session, request: Request) -> Reply:
    is_made, read = _options(request, may_make=True)
    key, name, text = request[2:5]
    stream = changeable(session, key) if is_made else _stream(session, key)
    if len(request) > _MOST_WORDS_OF_CREATE:
        raise wrong_subcommand(request)
    last_id = parse(text) if text != b"$" else FIRST if stream is None else stream.last_id
    record = [b"XGROUP", b"CREATE", key, name, text]
    if read != UNKNOWN:
        record += b"ENTRIESREAD", b"%d" % read
    if stream is None:
        stream = Stream()
        record.append(b"MKSTREAM")
    if stream.groups.get(name) is not None:
        raise CommandError("BUSYGROUP Consumer Group name already exists")
    stream.groups.add(name, Group(last_id, read))
    session.keyspace.change(key, stream, record)
    return OK


@command("xgroup|setid",
         "key:key groupname id<id|$=new_id:pure-token> ENTRIESREAD=entries_read:integer?",
         "write", access="RW update",
         events="xgroup-setid", is_watched=is_unwatched, since="5.0.0", group="stream", complexity="O(1)",
         summary="Set a consumer group to an arbitrary last delivered ID value.")  # fmt: skip
def xgroup_setid(session: Session, request: Request) -> Reply:
    _, read = _options(request, may_make=False)
    key, name, text = request[2:5]
    stream = _stream(session, key)
    group = _group(stream, key, name)
    if len(request) not in _WORDS_OF_SETID:
        raise wrong_subcommand(request)
    group.last_id = stream.last_id if text == b"$" else parse_bound(text)
    group.entries_read = read
    session.keyspace.change(key, stream, request)
    return OK


@command("xgroup|destroy", "key:key groupname", "write", access="RW delete",
         events="xgroup-destroy", is_watched=is_unwatched, since="5.0.0", group="stream",
         complexity="O(N) where N is the number of entries in the group's pending entries list (PEL).",
         summary="Destroy a consumer group.")  # fmt: skip
def xgroup_destroy(session: Session, request: Request) -> Reply:
    stream = _stream(session, request[2])
    is_there = stream.groups.discard(request[3])
    if is_there:
        session.keyspace.change(request[2], stream, request)
    return int(is_there)


@command("xgroup|createconsumer", "key:key groupname consumername", "write denyoom", access="RW insert",
         events="xgroup-createconsumer", is_watched=is_unwatched, since="6.2.0", group="stream", complexity="O(1)",
         summary="Create a consumer in a consumer group.")  # fmt: skip
def xgroup_createconsumer(session: Session, request: Request) -> Reply:
    key, name, consumer = request[2:]
    keyspace = session.keyspace
    stream = _stream(session, key)
    group = _group(stream, key, name)
    if group.consumers.get(consumer) is not None:
        return 0
    now_ms = keyspace.now_ms()
    group.see(consumer, now_ms)
    keyspace.change(key, stream, record_of_consumer(key, name, consumer))
    if now_ms:
        # The record above doesn't tell the time.
        keyspace.change(key, stream, record_of_sight(key, name, consumer, now_ms))
    return 1


@command("xgroup|delconsumer", "key:key groupname consumername", "write", access="RW delete",
         events="xgroup-delconsumer", is_watched=is_unwatched, since="5.0.0", group="stream", complexity="O(1)",
         summary="Delete a consumer from a consumer group.")  # fmt: skip
def xgroup_delconsumer(session: Session, request: Request) -> Reply:
    stream = _stream(session, request[2])
    pending = _group(stream, request[2], request[3]).drop_consumer(request[4])
    if pending is not None:
        session.keyspace.change(request[2], stream, request)
    return pending or 0


HELP = """CREATE <key> <groupname> <id|$> [option]
    Create a new consumer group. Options are:
    * MKSTREAM
      Create the empty stream if it does not exist.
    * ENTRIESREAD entries_read
      Set the group's entries_read counter (internal use).
CREATECONSUMER <key> <groupname> <consumer>
    Create a new consumer in the specified group.
DELCONSUMER <key> <groupname> <consumer>
    Remove the specified consumer.
DESTROY <key> <groupname>
    Remove the specified group.
SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]
    Set the current group ID and entries_read counter."""


@command("xgroup|help", "", "loading stale",
         since="5.0.0", group="stream", complexity="O(1)",
         summary="Show helpful text about the different subcommands")  # fmt: skip
def xgroup_help(session: Session, request: Request) -> Reply:
    return help_lines("XGROUP", HELP)
