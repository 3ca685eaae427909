"""Groups that commands name, what is said where there is none, and what the commands about them record. Pure.

What depends on the time is recorded as the call itself, with the time at which it ran behind the word AT, which the journal
alone may say: so a replay, whose clock stands, decides as the call did, and one short record stands for any number of
entries. Redis propagates an XCLAIM for each of them instead, and what it does not propagate is lost by a restart: how often
the history of a consumer was read, and when the consumer was seen.
"""

from __future__ import annotations

from typing import Final

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.errors import CommandError
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.stream.group import Consumer, Group
from kvserver.types.stream.stream import Stream
from kvserver.types.stream.value import stream_of

# The word of records in front of the time of the call, in Unix milliseconds.
AT: Final = b"AT"


def c_text(word: bytes) -> str:
    """A word as Redis's errors show it: up to a NUL."""
    return word.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def no_such_group(key: bytes, name: bytes) -> CommandError:
    """The error where the key is there."""
    return CommandError(f"NOGROUP No such consumer group '{c_text(name)}' for key name '{c_text(key)}'")


def no_key_or_group(key: bytes, name: bytes, *, where: str = "") -> CommandError:
    """The error where the key or the group is missing."""
    return CommandError(f"NOGROUP No such key '{c_text(key)}' or consumer group '{c_text(name)}'{where}")


def read_group(session: Session, key: bytes, name: bytes) -> tuple[Stream, Group]:
    """A stream and a group of it, to be read. CommandError if one of them is missing."""
    stream = stream_of(session.keyspace.read(key))
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        raise no_key_or_group(key, name)
    return stream, group


def own_group(session: Session, key: bytes, name: bytes) -> tuple[Stream, Group] | None:
    """A stream and a group of it, to be changed, or None if one of them is missing. It is a hit or a miss in INFO."""
    keyspace = session.keyspace
    get = keyspace.get
    entry = get(key)
    # Measured: a stream without an expiry, as most are, in less time than `own` takes.
    stream = keyspace.own_plain(key, entry) if type(entry) is Stream else stream_of(keyspace.own(key))
    if stream is None:
        # This counts, and notes, what was looked for in vain.
        keyspace.read(key)
        return None
    assert isinstance(stream, Stream)
    keyspace.hits += 1
    group = stream.groups.own(name)
    return None if group is None else (stream, group)


def is_unwatched(request: Request) -> bool:
    """False: as in Redis, what becomes of a group, or by XSETID, touches no watch of its stream."""
    return False


def time_of(session: Session, word: bytes) -> int:
    """The time behind the word AT (Unix milliseconds). CommandError for anybody but the journal."""
    if not session.is_replay:
        raise CommandError(SYNTAX_ERROR)
    return integer(word)


def see_consumer(
    session: Session, key: bytes, stream: Stream, group: Group, name: bytes, consumer: bytes, now_ms: int
) -> Consumer:
    """Note that a consumer of a group, which may be changed, is heard of. Only that a new one is made is recorded."""
    found = group.consumers.own(consumer)
    if found is None:
        found = group.consumers.add(consumer, Consumer(consumer, now_ms))
        session.keyspace.change(key, stream, record_of_consumer(key, name, consumer))
    else:
        found.seen_ms = now_ms
    return found


def record_of_consumer(key: bytes, name: bytes, consumer: bytes) -> Request:
    """The command that makes a consumer."""
    return [b"XGROUP", b"CREATECONSUMER", key, name, consumer]


def record_of_sight(key: bytes, name: bytes, consumer: bytes, now_ms: int) -> Request:
    """The command by which a consumer that has no pending entries was seen at a time (Unix milliseconds): it reads none."""
    return [b"XREADGROUP", b"GROUP", name, consumer, AT, b"%d" % now_ms, b"COUNT", b"1", b"STREAMS", key, b"0"]
