"""XRANGE and XREVRANGE: the entries of a stream between two ids."""

from __future__ import annotations

from typing import Any, Final

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, Encoded, Reply, Rows
from kvserver.resp.request import Request
from kvserver.state.session import SCRIPT_ID, Session
from kvserver.types.stream.ids import FIRST, LAST, Id, after, parse_end, parse_start
from kvserver.types.stream.node import Item
from kvserver.types.stream.stream import Stream
from kvserver.types.stream.value import stream_of
from kvserver.types.stream.wire import entries_wire

# The number of entries that one who has waited gets, unless the call says another one.
COUNT_OF_WAITERS: Final = 1000


def reply_of(items: list[tuple[Id, list[Any]]]) -> Rows:
    """Entries as they are replied: an id, and fields and values in turn."""
    return Rows([b"%d-%d" % identity, strings] for identity, strings in items)


def wire_from(session: Session, stream: Stream, start: Id, count: int) -> bytes | None:
    """The entries from an id on as they are sent; no more than so many, if the count is positive.

    None where they are not in one node, or for a script, which makes tables of a reply.
    """
    span = None if session.id == SCRIPT_ID else stream.entries.span(start, count)
    if span is None:
        return None
    node, begin, stop = span
    return entries_wire(node, node.identities(begin, stop), begin, stop)


def items_behind(stream: Stream, identity: Id, count: int) -> list[Item]:
    """The entries whose ids are greater than this one; no more than so many, unless the count is 0."""
    # As in Redis, FIRST comes behind the greatest id there is.
    return stream.entries.range(after(identity) or FIRST, count=count or -1)


@command("xrange", "key:key start end COUNT=count:integer?", "readonly", access="RO access",
         since="5.0.0", group="stream",
         complexity="O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the "
         "first 10 elements with COUNT), you can consider it O(1).",
         summary="Return a range of elements in a stream, with IDs matching the specified IDs interval")  # fmt: skip
def xrange(session: Session, request: Request) -> Reply:
    return _range(session, request, is_backward=False)


@command("xrevrange", "key:key end start COUNT=count:integer?", "readonly", access="RO access",
         since="5.0.0", group="stream",
         complexity="O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first "
         "10 elements with COUNT), you can consider it O(1).",
         summary="Return a range of elements in a stream, with IDs matching the specified IDs interval, in reverse order "
         "(from greater to smaller IDs) compared to XRANGE")  # fmt: skip
def xrevrange(session: Session, request: Request) -> Reply:
    return _range(session, request, is_backward=True)


def _range(session: Session, request: Request, *, is_backward: bool) -> Reply:
    start = parse_start(request[3 if is_backward else 2])
    end = parse_end(request[2 if is_backward else 3])
    count = -1
    if len(request) > 4:
        options = request[4:]
        for word, number in zip(options[::2], options[1::2], strict=False):
            if word.lower() != b"count":
                raise CommandError(SYNTAX_ERROR)
            count = max(integer(number), 0)
        if len(options) % 2:
            raise CommandError(SYNTAX_ERROR)
    stream = stream_of(session.keyspace.read(request[1]))
    if stream is None:
        return []
    if not count:
        return NULL_ARRAY
    if end == LAST and not is_backward:
        wire = wire_from(session, stream, start, count)
        if wire is not None:
            return Encoded(wire)
    return reply_of(stream.entries.range(start, end, count, is_backward=is_backward))
