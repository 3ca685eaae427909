"""BZPOPMIN, BZPOPMAX, BZMPOP: commands on sorted sets that wait where there is no member."""

from __future__ import annotations

from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Effect
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types import timeouts
from kvserver.types.blocking import take_or_wait
from kvserver.types.sorted_set.commands import pop, pop_of_first, range_of_zmpop
from kvserver.types.sorted_set.value import SORTED_SET, members_of

# The events of pops, by what is recorded.
_POPS = {"ZPOPMIN": "zpopmin", "ZPOPMAX": "zpopmax"}


@command("bzpopmin", "key:key+ timeout:double", "write noscript blocking fast", access="RW access delete",
         events=_POPS, since="5.0.0", group="sorted-set",
         complexity="O(log(N)) with N being the number of elements in the sorted set.",
         summary="Remove and return the member with the lowest score from one or more sorted sets, or block until one is "
         "available")  # fmt: skip
def bzpopmin(session: Session, request: Request) -> Reply | Effect:
    return _pop_or_wait(session, request, is_max=False)


@command("bzpopmax", "key:key+ timeout:double", "write noscript blocking fast", access="RW access delete",
         events=_POPS, since="5.0.0", group="sorted-set",
         complexity="O(log(N)) with N being the number of elements in the sorted set.",
         summary="Remove and return the member with the highest score from one or more sorted sets, or block until one is "
         "available")  # fmt: skip
def bzpopmax(session: Session, request: Request) -> Reply | Effect:
    return _pop_or_wait(session, request, is_max=True)


def _pop_or_wait(session: Session, request: Request, *, is_max: bool) -> Reply | Effect:
    timeout_ms = timeouts.seconds(request[-1])

    def take(key: bytes) -> Reply:
        if members_of(session.keyspace.live(key)) is None:
            return None
        effect = [b"ZPOPMAX" if is_max else b"ZPOPMIN", key]
        members, scores = pop(session, key, 1, effect, is_max=is_max)
        return [key, members[0], scores[0]]

    return take_or_wait(session, request[1:-1], timeout_ms, SORTED_SET, take)


@command("bzmpop",
         "timeout:double numkeys:integer key:key+ where<MIN|MAX> COUNT=count:integer?",
         "write blocking", access="RW access delete",
         events=_POPS, since="7.0.0", group="sorted-set",
         complexity="O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the "
         "sorted set, and M being the number of elements popped.",
         summary="Remove and return members with scores in a sorted set or block until one is available")  # fmt: skip
def bzmpop(session: Session, request: Request) -> Reply | Effect:
    timeout_ms = timeouts.seconds(request[1])
    keys, is_max, count = range_of_zmpop(request, 2)
    return take_or_wait(session, keys, timeout_ms, SORTED_SET, lambda key: pop_of_first(session, [key], count, is_max=is_max))
