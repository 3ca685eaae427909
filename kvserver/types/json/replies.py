"""Replies with many parts, which are made and encoded in steps. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import groupby
from typing import Final

from kvserver.data.steps import Steps
from kvserver.dispatch.arguments import MAX_INTEGER, MIN_INTEGER
from kvserver.formats.codec import JSON
from kvserver.resp.reply import BigNumber, Encoded, Reply, encode_pieces
from kvserver.state.session import Session
from kvserver.types.json.document import let_go
from kvserver.types.json.work import Work, pieces

# An array with more parts, of its own and of those within it, is encoded in steps.
_SHORT: Final = 256


def integer_reply(number: int) -> Reply:
    """The reply that is an integer, whatever its length."""
    return number if MIN_INTEGER <= number <= MAX_INTEGER else BigNumber(b"%d" % number)


def each_reply(
    session: Session, values: list[JSON], of: Callable[[JSON], Reply], work: Work, *, cost: int = 1
) -> Steps[Reply]:
    """Return the reply that has one for each value. To make one takes the time in which `cost` values are looked at."""
    replies: list[Reply] = []
    for some in pieces(values, max(_SHORT // cost, 1)):
        replies += map(of, some)
        work.spend(len(some) * cost)
        if work.is_due():
            yield
    return (yield from long_reply(session, replies, work))


def long_reply(session: Session, reply: Reply, work: Work) -> Steps[Reply]:
    """Return a reply, encoded if it is a long array: that takes long as well. Transactions and scripts take none such."""
    if not isinstance(reply, list) or not session.may_wait or not _is_long(reply):
        return reply
    # Its buffer becomes the reply, so that nothing is copied twice.
    encoded = BytesIO()
    # The rest of each array that has begun.
    waiting: list[Iterator[list[Reply]]] = [iter([[reply]])]
    while waiting:
        some = next(waiting[-1], None)
        if some is None:
            waiting.pop()
            continue
        if len(some) == 1 and isinstance(some[0], list):
            encoded.write(b"*%d\r\n" % len(some[0]))
            waiting.append(_runs(some[0]))
            continue
        whole = b"".join(encode_pieces(some, session.protocol))
        encoded.write(whole[whole.index(b"\n") + 1 :])
        work.spend(len(some))
        if work.is_due():
            yield
    let_go(reply)
    return Encoded(encoded.getvalue())


def _is_long(reply: list[Reply]) -> bool:
    count, waiting = 0, [reply]
    while waiting and count <= _SHORT:
        items = waiting.pop()
        count += len(items)
        if len(items) <= _SHORT:
            waiting += [each for each in items if isinstance(each, list)]
    return count > _SHORT


def _runs(items: list[Reply]) -> Iterator[list[Reply]]:
    """The items of an array in order: an array by itself, others together."""
    for some in pieces(items):
        for is_array, run in groupby(some, lambda each: isinstance(each, list)):
            found = list(run)
            yield from pieces(found, 1 if is_array else len(found))
