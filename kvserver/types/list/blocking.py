"""BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH: commands on lists that wait where there is no element."""

from __future__ import annotations

from functools import partial

from kvserver.dispatch.arguments import SYNTAX_ERROR, at_least
from kvserver.dispatch.command import command
from kvserver.dispatch.effect import Effect
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types import timeouts
from kvserver.types.blocking import take_or_wait
from kvserver.types.list.commands import events_of_lmove
from kvserver.types.list.ends import End, end_of, move, pop, pop_some
from kvserver.types.list.value import LIST

# The events of pops, by what is recorded.
_POPS = {"LPOP": "lpop", "RPOP": "rpop"}


@command("blpop", "key:key+ timeout:double", "write noscript blocking", access="RW access delete",
         events=_POPS, since="2.0.0", group="list", complexity="O(N) where N is the number of provided keys.",
         summary="Remove and get the first element in a list, or block until one is available")  # fmt: skip
def blpop(session: Session, request: Request) -> Reply | Effect:
    return _pop_or_wait(session, request, End.LEFT)


@command("brpop", "key:key+ timeout:double", "write noscript blocking", access="RW access delete",
         events=_POPS, since="2.0.0", group="list", complexity="O(N) where N is the number of provided keys.",
         summary="Remove and get the last element in a list, or block until one is available")  # fmt: skip
def brpop(session: Session, request: Request) -> Reply | Effect:
    return _pop_or_wait(session, request, End.RIGHT)


def _pop_or_wait(session: Session, request: Request, end: End) -> Reply | Effect:
    timeout_ms = timeouts.seconds(request[-1])

    def take(key: bytes) -> Reply:
        element = pop(session, key, end, [end.value[1], key])
        return None if element is None else [key, element]

    return take_or_wait(session, request[1:-1], timeout_ms, LIST, take)


@command("blmpop",
         "timeout:double numkeys:integer key:key+ where<LEFT|RIGHT> COUNT=count:integer?!",
         "write blocking", access="RW access delete",
         numbers={"COUNT": partial(at_least, 1, error="ERR count should be greater than 0")},
         events=_POPS, since="7.0.0", group="list",
         complexity="O(N+M) where N is the number of provided keys and M is the number of elements returned.",
         summary="Pop elements from a list, or block until one is available")  # fmt: skip
def blmpop(session: Session, request: Request) -> Reply | Effect:
    timeout_ms = timeouts.seconds(request[1])
    where = 3 + at_least(1, request[2], "ERR numkeys should be greater than 0")
    if where >= len(request):
        raise CommandError(SYNTAX_ERROR)
    end = end_of(request[where])
    count = blmpop.options(request, start=where + 1).number("COUNT", 1)

    def take(key: bytes) -> Reply:
        popped = pop_some(session, key, end, count)
        return None if popped is None else [key, list(popped)]

    return take_or_wait(session, request[3:where], timeout_ms, LIST, take)


@command("blmove",
         "source:key destination:key#1 wherefrom<LEFT|RIGHT> whereto<LEFT|RIGHT> timeout:double",
         "write denyoom noscript blocking", access="RW access delete; RW insert",
         events=events_of_lmove, since="6.2.0", group="list", complexity="O(1)",
         summary="Pop an element from a list, push it to another list and return it; or block until one is "
         "available")  # fmt: skip
def blmove(session: Session, request: Request) -> Reply | Effect:
    source_end, end = end_of(request[3]), end_of(request[4])
    return _move_or_wait(session, request, source_end, end)


@command("brpoplpush",
         "source:key destination:key#1 timeout:double",
         "write denyoom noscript blocking", access="RW access delete; RW insert",
         events="lpush@2 rpop@1", since="2.2.0", group="list", complexity="O(1)",
         deprecated=("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
         summary="Pop an element from a list, push it to another list and return it; or block until one is "
         "available")  # fmt: skip
def brpoplpush(session: Session, request: Request) -> Reply | Effect:
    return _move_or_wait(session, request, End.RIGHT, End.LEFT)


def _move_or_wait(session: Session, request: Request, source_end: End, end: End) -> Reply | Effect:
    timeout_ms = timeouts.seconds(request[-1])
    source, destination = request[1:3]

    def take(key: bytes) -> Reply:
        return move(session, key, source_end, destination, end)

    # Redis has another null for those that may not wait.
    return take_or_wait(session, [source], timeout_ms, LIST, take, None if session.is_executing else NULL_ARRAY)
