"""XPENDING: the entries of a group that were delivered and not acknowledged."""

from __future__ import annotations

from typing import Final

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.stream.group import Delivery, Group, idle_ms, signed
from kvserver.types.stream.ids import parse_interval, text_of
from kvserver.types.stream.lookup import read_group

_WORDS_OF_SUMMARY: Final = 3
_LEAST_WORDS, _MOST_WORDS = 6, 9


@command("xpending",
         "key:key group filters{IDLE=min-idle-time:integer?@6.2.0 start end count:integer consumer?}?",
         "readonly", access="RO access",
         since="5.0.0", group="stream",
         complexity="O(N) with N being the number of elements returned, so asking for a small fixed number of entries per "
         "call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the "
         "command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an "
         "additional O(N) time for iterating every consumer.",
         tips="nondeterministic_output",
         summary="Return information and entries from a stream consumer group pending entries list, that are messages "
         "fetched but never acknowledged.")  # fmt: skip
def xpending(session: Session, request: Request) -> Reply:
    if len(request) == _WORDS_OF_SUMMARY:
        return _summary(read_group(session, request[1], request[2])[1])
    if not _LEAST_WORDS <= len(request) <= _MOST_WORDS:
        raise CommandError(SYNTAX_ERROR)
    words, least_idle_ms = request[3:], 0
    if words[0].upper() == b"IDLE":
        least_idle_ms = integer(words[1])
        words = words[2:]
        if len(words) < len((b"start", b"end", b"count")):
            raise CommandError(SYNTAX_ERROR)
    count = max(integer(words[2]), 0)
    start, end = parse_interval(words[0], words[1])
    _, group = read_group(session, request[1], request[2])
    ids = group.pending.rows(start)
    if len(words) > 3:
        consumer = group.consumers.get(words[3])
        if consumer is None:
            return []
        ids = consumer.ids.rows(start)
    now_ms = session.keyspace.now_ms()
    found: list[Reply] = []
    for row in ids:
        identity = row[0], row[1]
        if identity > end or len(found) >= count:
            break
        delivery = Delivery(*row[2:]) if len(row) > 2 else group.delivery(identity)
        assert delivery is not None
        idle = idle_ms(now_ms, delivery.time_ms)
        if not least_idle_ms or idle >= least_idle_ms:
            found.append([text_of(identity), delivery.consumer, max(idle, 0), signed(delivery.number)])
    return found


def _summary(group: Group) -> Reply:
    first, last = group.pending.first_id(), group.pending.last_id()
    if first is None or last is None:
        return [0, None, None, NULL_ARRAY]
    counts = ((name, len(consumer.ids)) for name, consumer in group.consumers.in_order())
    busy: list[Reply] = [[name, b"%d" % count] for name, count in counts if count]
    return [len(group.pending), text_of(first), text_of(last), busy]
