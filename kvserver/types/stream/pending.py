"""XPENDING: the entries of a group that were delivered and not acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.stream.group import Consumer, Group, idle_ms, signed
from kvserver.types.stream.ids import Id, parse_interval, text_of
from kvserver.types.stream.lookup import read_group
from kvserver.types.stream.rows import Row

_WORDS_OF_SUMMARY: Final = 3
_LEAST_WORDS, _MOST_WORDS = 6, 9
# If a consumer has more than one of so many entries of its group, they are found by passing the others.
_PASSED: Final = 16


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
    consumer = group.consumers.get(words[3]) if len(words) > 3 else None
    if not count or (len(words) > 3 and consumer is None):
        return []
    now_ms = session.keyspace.now_ms()
    # The times of what has been idle for so long, where that is asked: the ages of earlier ones wrap.
    earliest_ms, latest_ms = now_ms - (1 << 63), now_ms - least_idle_ms
    found: list[Reply] = []
    for milliseconds, sequence, name, time_ms, number in _rows(group, start, consumer):
        if milliseconds >= end[0] and (milliseconds, sequence) > end:
            break
        # Measured: most of what is looked at goes no further, so that this comes before anything else is made of it.
        if least_idle_ms > 0 and not earliest_ms < time_ms <= latest_ms:
            continue
        idle = idle_ms(now_ms, time_ms)
        if not least_idle_ms or idle >= least_idle_ms:
            found.append([b"%d-%d" % (milliseconds, sequence), name, max(idle, 0), signed(number)])
            if len(found) == count:
                break
    return found


def _rows(group: Group, start: Id, consumer: Consumer | None) -> Iterator[Row]:
    """The pending entries of a group, or of a consumer of it, from an id on."""
    rows = group.pending.rows(start)
    if consumer is None:
        return rows
    # Measured: to look up one row takes as long as to pass some twenty.
    if len(consumer.ids) * _PASSED > len(group.pending):
        name = consumer.name
        return (row for row in rows if row[2] == name)
    return ((*identity, *(group.pending.get(identity) or ())) for identity in consumer.ids.rows(start))


def _summary(group: Group) -> Reply:
    first, last = group.pending.first_id(), group.pending.last_id()
    if first is None or last is None:
        return [0, None, None, NULL_ARRAY]
    counts = ((name, len(consumer.ids)) for name, consumer in group.consumers.in_order())
    busy: list[Reply] = [[name, b"%d" % count] for name, count in counts if count]
    return [len(group.pending), text_of(first), text_of(last), busy]
