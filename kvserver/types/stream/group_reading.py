"""XREADGROUP and XACK: consumers of a group take entries, for which they may wait, and acknowledge them."""

from __future__ import annotations

from typing import Final, NamedTuple

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Block, Effect
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, Pairs, Reply
from kvserver.resp.request import Request
from kvserver.state.session import SCRIPT_ID, Session
from kvserver.types import timeouts
from kvserver.types.stream.group import COUNTS, Group
from kvserver.types.stream.ids import FIRST, LAST, Id, after, parse, text_of
from kvserver.types.stream.lookup import AT, is_unwatched, no_key_or_group, own_group, see_consumer, time_of
from kvserver.types.stream.node import Item
from kvserver.types.stream.progress import advance
from kvserver.types.stream.reading import COUNT_OF_WAITERS, items_behind, reply_of
from kvserver.types.stream.stream import Stream
from kvserver.types.stream.value import stream_of
from kvserver.types.stream.wire import entries_wire, map_of_one

# The number of words of a call for one key, with a count and no other option.
_USUAL_WORDS: Final = 9
# The id that stands for what nobody of the group was given yet, and `>` for it.
_NEW: Final = LAST
_MEANINGLESS: Final = (
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a "
    "proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
)
_WHERE: Final = " in XREADGROUP with GROUP option"
_UNBALANCED: Final = "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."


class _Call(NamedTuple):
    """An XREADGROUP as its words say it. A `most` of 0 stands for all entries. `now_ms` is the time that a record tells."""

    group: bytes
    consumer: bytes
    most: int
    is_acknowledged: bool
    timeout_ms: int | None
    keys: list[bytes]
    ids: list[bytes]
    now_ms: int | None


@command("xreadgroup",
         "GROUP=group_consumer{group consumer} COUNT=count:integer? BLOCK=milliseconds:integer? NOACK? "
         "STREAMS=streams{key:key+ id+}",
         "write blocking", access="RO access",
         events={"XGROUP": "xgroup-createconsumer"}, since="5.0.0", group="stream",
         complexity="For each stream mentioned: O(M) with M being the number of elements returned. If M is constant (e.g. "
         "always asking for the first 10 elements with COUNT), you can consider it O(1). On the other side when XREADGROUP "
         "blocks, XADD will pay the O(N) time in order to serve the N clients blocked on the stream getting new data.",
         summary="Return new entries from a stream using a consumer group, or access the history of the pending entries "
         "for a given consumer. Can block.")  # fmt: skip
def xreadgroup(session: Session, request: Request) -> Reply | Effect:
    call = _parse(session, request)
    keyspace = session.keyspace
    if call.ids == [b">"]:
        # Measured: what most calls ask, in one look instead of two.
        reply = _take_new_of_one(session, call.keys[0], call, call.most)
        # Redis looks twice, and counts that.
        keyspace.hits += 1
        return reply or _wait(session, call)
    behind: list[Id] = []
    for key, text in zip(call.keys, call.ids, strict=True):
        stream = stream_of(keyspace.read(key))
        if stream is None or stream.groups.get(call.group) is None:
            raise no_key_or_group(key, call.group, where=_WHERE)
        if text == b"$":
            raise CommandError(_MEANINGLESS)
        behind.append(_NEW if text == b">" else parse(text))
    told: list[Reply] = []
    for key, identity in zip(call.keys, behind, strict=True):
        if identity != _NEW:
            told.append([key, _take_history(session, key, call, identity)])
        elif new := _take_new(session, key, call, call.most):
            told.append([key, new])
    return Pairs(told) if told else _wait(session, call)


def _wait(session: Session, call: _Call) -> Reply | Effect:
    """Wait for what the group was not given yet, if the call says so."""
    if call.timeout_ms is None:
        return NULL_ARRAY

    def attempt(key: bytes) -> Reply | None:
        # SWAPDB may have given the session another keyspace.
        value = session.keyspace.live(key)
        if not isinstance(value, Stream):
            raise CommandError("UNBLOCKED the stream key no longer exists")
        waited_in = value.groups.get(call.group)
        if waited_in is None:
            raise CommandError("NOGROUP the consumer group this client was blocked on no longer exists")
        if value.last_id <= waited_in.last_id:
            return None
        return _take_new_of_one(session, key, call, call.most or COUNT_OF_WAITERS)

    # There is something for all who wait in this group, or for none.
    kind = "stream group " + call.group.decode("utf-8", "surrogateescape")
    return Block(call.keys, call.timeout_ms, attempt, NULL_ARRAY, kind)


def _parse(session: Session, request: Request) -> _Call:
    """Read the words of a call. CommandError as in Redis."""
    # Measured: the words of most who do not wait, in a third of the time.
    if len(request) == _USUAL_WORDS:
        _, first, name, consumer, second, number, third, key, text = request
        if first == b"GROUP" and second == b"COUNT" and third == b"STREAMS":
            return _Call(name, consumer, max(integer(number), 0), False, None, [key], [text], None)
    group: tuple[bytes, bytes] | None = None
    count, is_acknowledged = 0, False
    timeout_ms = now_ms = None
    index, last = 1, len(request) - 1
    while index <= last:
        option, more = request[index].upper(), last - index
        if option == b"STREAMS" and more:
            if more % 2:
                raise CommandError(_UNBALANCED)
            if group is None:
                raise CommandError("ERR Missing GROUP option for XREADGROUP")
            middle = index + 1 + more // 2
            keys, ids = request[index + 1 : middle], request[middle:]
            return _Call(*group, count, is_acknowledged, timeout_ms, keys, ids, now_ms)
        if option == b"GROUP" and more >= 2:
            group = request[index + 1], request[index + 2]
            index += 3
        elif option == b"COUNT" and more:
            count = max(integer(request[index + 1]), 0)
            index += 2
        elif option == b"BLOCK" and more:
            timeouts.refuse_in_script(session, request)
            timeout_ms = timeouts.milliseconds(request[index + 1])
            index += 2
        elif option == b"NOACK":
            is_acknowledged = True
            index += 1
        elif option == AT and more:
            now_ms = time_of(session, request[index + 1])
            index += 2
        else:
            break
    raise CommandError(SYNTAX_ERROR)


def _group(session: Session, key: bytes, call: _Call) -> tuple[Stream, Group]:
    """The stream and the group of a call, to be changed. CommandError if one of them is missing."""
    found = own_group(session, key, call.group)
    if found is None:
        raise no_key_or_group(key, call.group, where=_WHERE)
    return found


def _take_new_of_one(session: Session, key: bytes, call: _Call, most: int) -> Reply | None:
    """The reply to a call that gives a consumer the next entries of one stream, or None if there are none."""
    stream, group = _group(session, key, call)
    if stream.last_id <= group.last_id:
        return None
    # A script makes tables of a reply, not bytes.
    span = None if session.id == SCRIPT_ID else stream.entries.span(after(group.last_id) or FIRST, most)
    if span is not None:
        node, start, stop = span
        if start == stop:
            return None
        ids = node.identities(start, stop)
        wire = entries_wire(node, ids, start, stop)
        if wire is not None:
            _deliver(session, key, call, stream, group, ids)
            return map_of_one(key, wire, session.protocol)
    items = items_behind(stream, group.last_id, most)
    return Pairs([[key, _deliver_items(session, key, call, stream, group, items)]]) if items else None


def _take_new(session: Session, key: bytes, call: _Call, most: int) -> list[Reply]:
    """Give a consumer the next entries of a stream, if there are any. A `most` of 0 stands for all."""
    stream, group = _group(session, key, call)
    items = items_behind(stream, group.last_id, most) if stream.last_id > group.last_id else []
    return _deliver_items(session, key, call, stream, group, items) if items else []


def _deliver_items(session: Session, key: bytes, call: _Call, stream: Stream, group: Group, items: list[Item]) -> list[Reply]:
    _deliver(session, key, call, stream, group, [identity for identity, _ in items])
    return reply_of(items)


def _deliver(session: Session, key: bytes, call: _Call, stream: Stream, group: Group, ids: list[Id]) -> None:
    """Let a consumer have entries that its group was not given yet, and record that."""
    now_ms = session.keyspace.now_ms() if call.now_ms is None else call.now_ms
    consumer = see_consumer(session, key, stream, group, call.group, call.consumer, now_ms)
    advance(stream, group, ids)
    if not call.is_acknowledged:
        group.deliver_all(ids, consumer, now_ms)
    session.keyspace.change(key, stream, _record(key, call, len(ids), b">", now_ms))


def _take_history(session: Session, key: bytes, call: _Call, behind: Id) -> list[Reply]:
    """Give a consumer its pending entries behind an id once more. Those that were deleted come without contents."""
    now_ms = session.keyspace.now_ms() if call.now_ms is None else call.now_ms
    stream, group = _group(session, key, call)
    consumer = see_consumer(session, key, stream, group, call.group, call.consumer, now_ms)
    reply: list[Reply] = []
    for row in consumer.ids.rows(after(behind) or FIRST):
        identity: Id = row[0], row[1]
        strings = stream.entries.get(identity)
        if strings is None:
            reply.append([text_of(identity), NULL_ARRAY])
        else:
            delivery = group.delivery(identity)
            assert delivery is not None
            group.deliver(identity, call.consumer, now_ms, (delivery.number + 1) % COUNTS)
            reply += reply_of([(identity, strings)])
        if len(reply) == call.most:
            break
    session.keyspace.change(key, stream, _record(key, call, call.most, text_of(behind), now_ms))
    return reply


def _record(key: bytes, call: _Call, count: int, identity: bytes, now_ms: int) -> Request:
    """The call about one key at this time, with a count of entries."""
    request = [
        b"XREADGROUP", b"GROUP", call.group, call.consumer, AT, b"%d" % now_ms, b"COUNT", b"%d" % count,
        b"STREAMS", key, identity,
    ]  # fmt: skip
    if call.is_acknowledged:
        request.insert(-3, b"NOACK")
    return request


@command("xack", "key:key group id+", "write fast", access="RW update",
         events="", is_watched=is_unwatched, since="5.0.0", group="stream", complexity="O(1) for each message ID processed.",
         summary="Marks a pending message as correctly processed, effectively removing it from the pending entries list of "
         "the consumer group. Return value of the command is the number of messages successfully acknowledged, that is, "
         "the IDs we were actually able to resolve in the PEL.")  # fmt: skip
def xack(session: Session, request: Request) -> Reply:
    found = own_group(session, request[1], request[2])
    if found is None:
        return 0
    stream, group = found
    acknowledged = group.acknowledge_all([*map(parse, request[3:])])
    if acknowledged:
        session.keyspace.change(request[1], stream, request)
    return acknowledged
