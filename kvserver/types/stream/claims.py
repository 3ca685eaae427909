"""XCLAIM and XAUTOCLAIM: a consumer of a group takes over pending entries of others."""

from __future__ import annotations

from itertools import islice
from typing import Final, NamedTuple

from kvserver.dispatch.arguments import MAX_INTEGER, SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.stream.group import COUNTS, Delivery, Group, idle_ms
from kvserver.types.stream.ids import FIRST, Id, parse, parse_start, text_of
from kvserver.types.stream.lookup import AT, is_unwatched, no_key_or_group, own_group, see_consumer, time_of
from kvserver.types.stream.reading import reply_of
from kvserver.types.stream.stream import Stream

# As many entries are looked at for each that may be claimed.
_ATTEMPTS: Final = 10
_DEFAULT_COUNT: Final = 100
# The bytes of an id in Redis, which bound the count.
_MOST_COUNT: Final = MAX_INTEGER // 16


# A pending entry: its id, its last delivery, and True if it was not deleted.
_Due = tuple[Id, Delivery, bool]


class _Claim(NamedTuple):
    """What is to become of claimed entries. `number` is that of the delivery, or None for the next one."""

    consumer: bytes
    least_idle_ms: int
    now_ms: int
    time_ms: int
    number: int | None
    is_just_id: bool


def _claim(group: Group, identity: Id, delivery: Delivery, claim: _Claim) -> None:
    number = delivery.number
    if claim.number is not None:
        number = claim.number
    elif not claim.is_just_id:
        number = (number + 1) % COUNTS
    group.deliver(identity, claim.consumer, claim.time_ms, number)


def _told(stream: Stream, identity: Id, claim: _Claim) -> list[Reply]:
    """What is replied of a claimed entry, which is in the stream."""
    if claim.is_just_id:
        return [text_of(identity)]
    strings = stream.entries.get(identity)
    assert strings is not None
    return reply_of([(identity, strings)])


class _Options(NamedTuple):
    """The options of an XCLAIM. `time_ms` may be anything, and `now_ms` is the time that a record tells."""

    time_ms: int
    number: int | None
    is_forced: bool
    is_just_id: bool
    last_id: Id
    now_ms: int


def _options(session: Session, words: list[bytes]) -> _Options:
    now_ms = session.keyspace.now_ms()
    given_ms, number, last_id = -1, -1, FIRST
    idle_ms: int | None = None
    is_forced = is_just_id = False
    index, last = 0, len(words) - 1
    while index <= last:
        option, more = words[index].upper(), index < last
        if option == b"FORCE":
            is_forced = True
        elif option == b"JUSTID":
            is_just_id = True
        elif option == b"IDLE" and more:
            idle_ms = integer(words[index + 1], "ERR Invalid IDLE option argument for XCLAIM")
        elif option == b"TIME" and more:
            given_ms = integer(words[index + 1], "ERR Invalid TIME option argument for XCLAIM")
            idle_ms = None
        elif option == b"RETRYCOUNT" and more:
            number = integer(words[index + 1], "ERR Invalid RETRYCOUNT option argument for XCLAIM")
        elif option == b"LASTID" and more:
            last_id = parse(words[index + 1])
        elif option == AT and more and session.is_replay:
            now_ms = time_of(session, words[index + 1])
        else:
            name = words[index].partition(b"\0")[0].decode("utf-8", "surrogateescape")
            raise CommandError(f"ERR Unrecognized XCLAIM option '{name}'")
        index += 1 if option in (b"FORCE", b"JUSTID") else 2
    if idle_ms is not None:
        # In a record, the time of the call stands behind all other words.
        given_ms = now_ms - idle_ms
    # A time that makes no sense is as good as none.
    time_ms = given_ms if 0 <= given_ms <= now_ms else now_ms
    return _Options(time_ms, None if number < 0 else number, is_forced, is_just_id, last_id, now_ms)


@command("xclaim",
         "key:key group consumer min-idle-time id+ IDLE=ms:integer? TIME=unix-time-milliseconds:unix-time? "
         "RETRYCOUNT=count:integer? FORCE? JUSTID? LASTID=id?",
         "write fast", access="RW update",
         events={"XGROUP": "xgroup-createconsumer"}, is_watched=is_unwatched, since="5.0.0", group="stream",
         complexity="O(log N) with N being the number of messages in the PEL of the consumer group.",
         tips="nondeterministic_output",
         summary="Changes (or acquires) ownership of a message in a consumer group, as if the message was delivered to the "
         "specified consumer.")  # fmt: skip
def xclaim(session: Session, request: Request) -> Reply:
    key, name = request[1], request[2]
    found = own_group(session, key, name)
    if found is None:
        raise no_key_or_group(key, name)
    stream, group = found
    least_idle_ms = max(integer(request[4], "ERR Invalid min-idle-time argument for XCLAIM"), 0)
    ids: list[Id] = []
    for word in request[5:]:
        try:
            ids.append(parse(word))
        except CommandError:
            break
    options = _options(session, request[5 + len(ids) :])
    is_changed = options.last_id > group.last_id
    group.last_id = max(options.last_id, group.last_id)
    claim = _Claim(
        request[3], least_idle_ms, options.now_ms, options.time_ms, options.number, options.is_just_id,
    )  # fmt: skip
    reply: list[Reply] = []
    for identity in ids:
        if not stream.entries.has(identity):
            # What was deleted can't be claimed, and is pending no more.
            is_changed |= group.acknowledge(identity)
            continue
        delivery = group.delivery(identity)
        if delivery is None and options.is_forced:
            delivery = Delivery(b"", claim.now_ms, 1)
        elif delivery is None or _is_busy(delivery.time_ms, claim):
            continue
        if not reply:
            # Who claims nothing is not seen.
            see_consumer(session, key, stream, group, name, claim.consumer, claim.now_ms)
        _claim(group, identity, delivery, claim)
        reply += _told(stream, identity, claim)
    if reply or is_changed:
        _store(session, key, stream, [b"XCLAIM", *request[1:]], claim)
    return reply


def _is_busy(time_ms: int, claim: _Claim) -> bool:
    """True if an entry was delivered so lately, at this Unix time, that it may not be claimed."""
    return claim.least_idle_ms > 0 and idle_ms(claim.now_ms, time_ms) < claim.least_idle_ms


def _store(session: Session, key: bytes, stream: Stream, call: Request, claim: _Claim) -> None:
    """Keep what a call has changed. What is recorded is the call, and its time."""
    record = call if session.is_replay else [*call, AT, b"%d" % claim.now_ms]
    session.keyspace.change(key, stream, record)


@command("xautoclaim",
         "key:key group consumer min-idle-time start COUNT=count:integer? JUSTID?",
         "write fast", access="RW delete",
         events={"XGROUP": "xgroup-createconsumer"}, is_watched=is_unwatched, since="6.2.0", group="stream",
         complexity="O(1) if COUNT is small.",
         tips="nondeterministic_output",
         summary="Changes (or acquires) ownership of messages in a consumer group, as if the messages were delivered to "
         "the specified consumer.")  # fmt: skip
def xautoclaim(session: Session, request: Request) -> Reply:
    key, name = request[1], request[2]
    least_idle_ms = max(integer(request[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM"), 0)
    start = parse_start(request[5])
    count, is_just_id, now_ms = _DEFAULT_COUNT, False, session.keyspace.now_ms()
    index, last = 6, len(request) - 1
    while index <= last:
        option = request[index].upper()
        if option == b"JUSTID":
            is_just_id = True
            index += 1
            continue
        if index == last:
            raise CommandError(SYNTAX_ERROR)
        if option == b"COUNT":
            count = _count_of(request[index + 1])
        elif option == AT:
            now_ms = time_of(session, request[index + 1])
        else:
            raise CommandError(SYNTAX_ERROR)
        index += 2
    found = own_group(session, key, name)
    if found is None:
        raise no_key_or_group(key, name)
    stream, group = found
    claim = _Claim(request[3], least_idle_ms, now_ms, now_ms, None, is_just_id)
    due, following = _due(stream, group, start, count, claim)
    if any(is_there for _, _, is_there in due):
        see_consumer(session, key, stream, group, name, claim.consumer, now_ms)
    claimed: list[Reply] = []
    deleted: list[Reply] = []
    for identity, delivery, is_there in due:
        if is_there:
            _claim(group, identity, delivery, claim)
            claimed += _told(stream, identity, claim)
        else:
            group.acknowledge(identity)
            deleted.append(text_of(identity))
    if due:
        _store(session, key, stream, [b"XAUTOCLAIM", *request[1:]], claim)
    return [text_of(following), claimed, deleted]


def _count_of(word: bytes) -> int:
    error = "ERR COUNT must be > 0"
    count = integer(word, error)
    if not 1 <= count <= _MOST_COUNT:
        raise CommandError(error)
    return count


def _due(stream: Stream, group: Group, start: Id, count: int, claim: _Claim) -> tuple[list[_Due], Id]:
    """Find up to so many pending entries, from an id on, that may be claimed or were deleted.

    Return them, and the id to go on with, or FIRST if there are no more.
    """
    due: list[_Due] = []
    attempts = count * _ATTEMPTS
    for columns in group.pending.chunks(start):
        # One more is looked up than may be looked at: it is where to go on.
        ids = list(islice(zip(columns[0], columns[1], strict=False), attempts + 1))
        # The strings of what is only looked at would take far longer.
        for place, (identity, is_there) in enumerate(zip(ids, stream.entries.have(ids), strict=True)):
            if not attempts or len(due) == count:
                return due, identity
            attempts -= 1
            if not is_there or not _is_busy(columns[3][place], claim):
                due.append((identity, Delivery(columns[2][place], columns[3][place], columns[4][place]), is_there))
    return due, FIRST
