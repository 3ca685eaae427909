"""ZRANGE, ZRANGEBYSCORE, ZRANGEBYLEX, ZRANGESTORE, ZREMRANGEBYSCORE, ZCOUNT and their kin: ranges of sorted sets."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from kvserver.dispatch.arguments import SYNTAX_ERROR, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.sorted_set.bounds import MemberBound, ScoreBound, member_bounds, score_bounds
from kvserver.types.sorted_set.packed_scores import between
from kvserver.types.sorted_set.score import scored
from kvserver.types.sorted_set.value import MARK, Members, Small, changeable, members_of, put, put_result, store

_By = Literal["rank", "score", "member"]
_ORDERS: Final[dict[bytes, _By]] = {b"BYSCORE": "score", b"BYLEX": "member"}


class Ranks(NamedTuple):
    """Positions from the first to the last one of a range; negative ones count from the end."""

    first: int
    last: int


Bounds = Ranks | tuple[ScoreBound, ScoreBound] | tuple[MemberBound, MemberBound]


class Range(NamedTuple):
    """A range of a sorted set. A negative `limit` means none."""

    by: _By
    bounds: Bounds
    is_backwards: bool
    offset: int
    limit: int
    has_scores: bool


def parse_range(
    request: Request, start: int, by: _By | None = None, *, is_backwards: bool | None = None, is_stored: bool = False
) -> Range:
    """The range of a call, whose bounds stand from `start` on. CommandError for what is none.

    The options BYSCORE, BYLEX and REV are known where `by` and `is_backwards` leave that open.
    """
    order, is_reversed = by, is_backwards
    has_scores, offset, limit = False, 0, -1
    place = start + 2
    while place < len(request):
        word = request[place].upper()
        place += 1
        if word == b"WITHSCORES" and not is_stored:
            has_scores = True
        elif word == b"LIMIT" and place + 2 <= len(request):
            offset, limit = integer(request[place]), integer(request[place + 1])
            place += 2
        elif word == b"REV" and is_reversed is None:
            is_reversed = True
        elif word in _ORDERS and order is None:
            order = _ORDERS[word]
        else:
            raise CommandError(SYNTAX_ERROR)
    if limit != -1 and order in (None, "rank"):
        raise CommandError("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
    if has_scores and order == "member":
        raise CommandError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
    low, high = request[start : start + 2]
    if order is None or order == "rank":
        order, offset = "rank", 0
    elif is_reversed:
        low, high = high, low
    return Range(order, parse_bounds(order, low, high), bool(is_reversed), offset, limit, has_scores)


def parse_bounds(by: _By, low: bytes, high: bytes) -> Bounds:
    """The bounds that two words are. CommandError if one is none."""
    if by == "score":
        return score_bounds(low, high)
    if by == "member":
        return member_bounds(low, high)
    return Ranks(integer(low), integer(high))


def find(members: Members, bounds: Bounds, *, is_backwards: bool = False) -> tuple[int, int]:
    """The positions from which on and up to which members lie in a range, before a limit is looked at."""
    size = len(members.scores)
    match bounds:
        case Ranks(first, last):
            start = max(first + size if first < 0 else first, 0)
            stop = min((last + size if last < 0 else last) + 1, size)
            if is_backwards:
                start, stop = size - stop, size - start
        case ScoreBound() as low, ScoreBound() as high:
            start, stop = members.between_scores(low, high)
        case MemberBound() as low, MemberBound() as high:
            start, stop = members.between_members(low, high, is_backwards=is_backwards)
    return (start, stop) if start < stop else (0, 0)


def select(members: Members, range_: Range) -> tuple[int, int]:
    """The positions from which on and up to which members are in a range, within its limit."""
    start, stop = find(members, range_.bounds, is_backwards=range_.is_backwards)
    # As in Redis, a negative offset leaves nothing.
    if range_.offset < 0:
        return 0, 0
    if range_.is_backwards:
        stop = max(stop - range_.offset, start)
        return (start if range_.limit < 0 else max(stop - range_.limit, start)), stop
    start = min(start + range_.offset, stop)
    return start, (stop if range_.limit < 0 else min(start + range_.limit, stop))


def _reply(session: Session, key: bytes, range_: Range) -> Reply:
    """The members in a range, perhaps with their scores."""
    members = members_of(session.keyspace.read(key))
    if members is None:
        return []
    start, stop = select(members, range_)
    if not range_.has_scores:
        found = members.members(start, stop)
        return list(reversed(found) if range_.is_backwards else found)
    found, scores = members.slice(start, stop)
    if range_.is_backwards:
        found.reverse()
        scores.reverse()
    return scored(found, scores, is_nested=session.protocol == 3)


@command("zrange",
         "key:key start stop sortby<BYSCORE|BYLEX>?@6.2.0 REV?@6.2.0 LIMIT=offset_count{offset:integer "
         "count:integer}?@6.2.0 WITHSCORES?",
         "readonly", access="RO access",
         since="1.2.0", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements "
         "returned.",
         summary="Return a range of members in a sorted set")  # fmt: skip
def zrange(session: Session, request: Request) -> Reply:
    return _reply(session, request[1], parse_range(request, 2))


@command("zrangestore",
         "dst:key src:key#1 min max sortby<BYSCORE|BYLEX>? REV? LIMIT=offset_count{offset:integer count:integer}?",
         "write denyoom", access="OW update; RO access",
         events={"": "zrangestore", "RESTORE": "zrangestore"}, since="6.2.0", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored "
         "into the destination key.",
         summary="Store a range of members from sorted set into another key")  # fmt: skip
def zrangestore(session: Session, request: Request) -> Reply:
    destination, source = request[1:3]
    range_ = parse_range(request, 3, is_stored=True)
    members = members_of(session.keyspace.read(source))
    result = Small({})
    if members is not None:
        for member, score in zip(*members.slice(*select(members, range_)), strict=True):
            put(result, member, score, session.server.config)
    # What lies between two members depends on the encoding where scores differ, and no journal has that.
    return put_result(session, destination, result, None if range_.by == "member" else request)


@command("zrangebyscore",
         "key:key min:double max:double WITHSCORES?@2.0.0 LIMIT=offset_count{offset:integer count:integer}?",
         "readonly", access="RO access",
         since="1.0.5", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being "
         "returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it "
         "O(log(N)).",
         deprecated=("6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
         summary="Return a range of members in a sorted set, by score")  # fmt: skip
def zrangebyscore(session: Session, request: Request) -> Reply:
    if len(request) == 4:
        low, high = score_bounds(request[2], request[3])
        value = session.keyspace.read(request[1])
        # Measured: this usual case takes half of the time by this way.
        if type(value) is str and value[0] == MARK:
            found: list[Any] = between(value, low, high)
        else:
            members = members_of(value)
            found = [] if members is None else members.members(*members.between_scores(low, high))
        return found
    return _reply(session, request[1], parse_range(request, 2, "score", is_backwards=False))


@command("zrevrangebyscore",
         "key:key max:double min:double WITHSCORES? LIMIT=offset_count{offset:integer count:integer}?",
         "readonly", access="RO access",
         since="2.2.0", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being "
         "returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it "
         "O(log(N)).",
         deprecated=("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
         summary="Return a range of members in a sorted set, by score, with scores ordered from high to low")  # fmt: skip
def zrevrangebyscore(session: Session, request: Request) -> Reply:
    return _reply(session, request[1], parse_range(request, 2, "score", is_backwards=True))


@command("zrangebylex",
         "key:key min max LIMIT=offset_count{offset:integer count:integer}?",
         "readonly", access="RO access",
         since="2.8.9", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being "
         "returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it "
         "O(log(N)).",
         deprecated=("6.2.0", "`ZRANGE` with the `BYLEX` argument"),
         summary="Return a range of members in a sorted set, by lexicographical range")  # fmt: skip
def zrangebylex(session: Session, request: Request) -> Reply:
    return _reply(session, request[1], parse_range(request, 2, "member", is_backwards=False))


@command("zrevrangebylex",
         "key:key max min LIMIT=offset_count{offset:integer count:integer}?",
         "readonly", access="RO access",
         since="2.8.9", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being "
         "returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it "
         "O(log(N)).",
         deprecated=("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
         summary="Return a range of members in a sorted set, by lexicographical range, ordered from higher to lower "
         "strings.")  # fmt: skip
def zrevrangebylex(session: Session, request: Request) -> Reply:
    return _reply(session, request[1], parse_range(request, 2, "member", is_backwards=True))


@command("zrevrange", "key:key start:integer stop:integer WITHSCORES?", "readonly", access="RO access",
         since="1.2.0", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements "
         "returned.",
         deprecated=("6.2.0", "`ZRANGE` with the `REV` argument"),
         summary="Return a range of members in a sorted set, by index, with scores ordered from high to low")  # fmt: skip
def zrevrange(session: Session, request: Request) -> Reply:
    return _reply(session, request[1], parse_range(request, 2, "rank", is_backwards=True))


@command("zcount", "key:key min:double max:double", "readonly fast", access="RO access",
         since="2.0.0", group="sorted-set",
         complexity="O(log(N)) with N being the number of elements in the sorted set.",
         summary="Count the members in a sorted set with scores within the given values")  # fmt: skip
def zcount(session: Session, request: Request) -> Reply:
    return _count(session, request, "score")


@command("zlexcount", "key:key min max", "readonly fast", access="RO access",
         since="2.8.9", group="sorted-set",
         complexity="O(log(N)) with N being the number of elements in the sorted set.",
         summary="Count the number of members in a sorted set between a given lexicographical range")  # fmt: skip
def zlexcount(session: Session, request: Request) -> Reply:
    return _count(session, request, "member")


def _count(session: Session, request: Request, by: _By) -> int:
    bounds = parse_bounds(by, *request[2:])
    members = members_of(session.keyspace.read(request[1]))
    if members is None:
        return 0
    start, stop = find(members, bounds)
    return stop - start


@command("zremrangebyrank", "key:key start:integer stop:integer", "write", access="RW delete",
         since="2.0.0", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements "
         "removed by the operation.",
         summary="Remove all members in a sorted set within the given indexes")  # fmt: skip
def zremrangebyrank(session: Session, request: Request) -> Reply:
    return _remove(session, request, "rank")


@command("zremrangebyscore", "key:key min:double max:double", "write", access="RW delete",
         since="1.2.0", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements "
         "removed by the operation.",
         summary="Remove all members in a sorted set within the given scores")  # fmt: skip
def zremrangebyscore(session: Session, request: Request) -> Reply:
    return _remove(session, request, "score")


@command("zremrangebylex", "key:key min max", "write", access="RW delete",
         since="2.8.9", group="sorted-set",
         complexity="O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements "
         "removed by the operation.",
         summary="Remove all members in a sorted set between the given lexicographical range")  # fmt: skip
def zremrangebylex(session: Session, request: Request) -> Reply:
    return _remove(session, request, "member")


def _remove(session: Session, request: Request, by: _By) -> int:
    bounds = parse_bounds(by, *request[2:])
    members = changeable(session, request[1])
    removed, _ = members.remove_slice(*find(members, bounds))
    if removed:
        # Which members lie between two depends on the encoding where scores differ, and no journal has that.
        store(session, request[1], members, [b"ZREM", request[1], *removed] if by == "member" else request)
    return len(removed)
