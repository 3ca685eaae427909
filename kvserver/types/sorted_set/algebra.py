"""ZUNION, ZINTER, ZDIFF, their forms that store the result, and ZINTERCARD: several sorted sets at once.

A plain set is taken as a sorted set whose members all have the score 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import repeat
from math import isnan
from typing import Any, Final, NamedTuple

from kvserver.containers.packed import members_of as plain_members_of
from kvserver.containers.table import Table
from kvserver.data.entries import Value
from kvserver.data.kinds import kind_of
from kvserver.dispatch.arguments import SYNTAX_ERROR, at_least, integer
from kvserver.dispatch.command import command
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.sorted_set.score import score_of, scored
from kvserver.types.sorted_set.value import Small, members_of, put_result, result_of

_PLAIN: Final = "set"


class Ones:
    """The members of a plain set as the scores of a sorted set."""

    __slots__ = ("_members",)

    def __init__(self, members: Collection[bytes]) -> None:
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def get(self, member: bytes) -> float | None:
        return 1.0 if member in self._members else None

    def items(self) -> Iterator[tuple[bytes, float]]:
        return zip(self._members, repeat(1.0))


Scores = dict[bytes, float] | Table | Ones


class Source(NamedTuple):
    """One of the sorted sets, and the weight by which its scores are multiplied."""

    scores: Scores
    weight: float


class Call(NamedTuple):
    """The words of a call: `keys`, and for each the scores of its members."""

    keys: list[bytes]
    sources: list[Source]
    aggregate: Callable[[float, float], float]
    has_scores: bool
    limit: int


def _sum(one: float, other: float) -> float:
    total = one + other
    # Infinities of both signs cancel each other.
    return 0.0 if isnan(total) else total


def _lesser(one: float, other: float) -> float:
    return other if other < one else one


def _greater(one: float, other: float) -> float:
    return other if other > one else one


_AGGREGATES: Final = {b"SUM": _sum, b"MIN": _lesser, b"MAX": _greater}


def union(call: Call) -> dict[bytes, float]:
    """The scores of all members of any source."""
    result: dict[bytes, float] = {}
    aggregate = call.aggregate
    for scores, weight in _by_size(call.sources):
        for member, score in scores.items():
            weighted = _weighted(score, weight)
            present = result.get(member)
            result[member] = weighted if present is None else aggregate(present, weighted)
    return result


def intersection(call: Call) -> dict[bytes, float]:
    """The scores of the members that all sources have: of so many, if there is a limit."""
    result: dict[bytes, float] = {}
    (smallest, weight), *others = _by_size(call.sources)
    for member, score in smallest.items():
        total = _weighted(score, weight)
        for scores, other_weight in others:
            other = scores.get(member)
            if other is None:
                break
            total = call.aggregate(total, other * other_weight)
        else:
            result[member] = total
            if len(result) == call.limit:
                break
    return result


def difference(call: Call) -> dict[bytes, float]:
    """The scores of the members that the first source has and no other."""
    first, *others = [source.scores for source in call.sources]
    return {member: score for member, score in first.items() if not any(member in scores for scores in others)}


def _by_size(sources: list[Source]) -> list[Source]:
    """The sources from the smallest to the largest one: so Redis adds the scores, whose sum depends on that."""
    return sorted(sources, key=lambda source: len(source.scores))


def _weighted(score: float, weight: float) -> float:
    weighted = score * weight
    return 0.0 if isnan(weighted) else weighted


def _scores_of(value: Value | None) -> Scores:
    """The scores of a sorted set or a set. CommandError for a value of another kind."""
    if value is not None and kind_of(value).name == _PLAIN:
        plain: Any = value
        return Ones(dict.fromkeys(plain_members_of(plain)) if isinstance(plain, str) else plain)
    members = members_of(value)
    return {} if members is None else members.scores


def _parse(session: Session, request: Request, start: int, name: str, options: frozenset[bytes]) -> Call:
    """Read a call of the command `name`, with the number of keys at `start`, and look its keys up, as Redis does."""
    count = integer(request[start])
    if count < 1:
        raise CommandError(f"ERR at least 1 input key is needed for '{name}' command")
    keys = request[start + 1 : start + 1 + count]
    if len(keys) < count:
        raise CommandError(SYNTAX_ERROR)
    read = session.keyspace.read
    values = [_scores_of(read(key)) for key in keys]
    weights, aggregate, has_scores, limit = [1.0] * count, _sum, False, 0
    place, end = start + 1 + count, len(request)
    while place < end:
        word = request[place].upper()
        place += 1
        if word not in options:
            raise CommandError(SYNTAX_ERROR)
        if word == b"WITHSCORES":
            has_scores = True
            continue
        following = request[place : place + (count if word == b"WEIGHTS" else 1)]
        place += len(following)
        if word == b"WEIGHTS":
            if len(following) < count:
                raise CommandError(SYNTAX_ERROR)
            weights = [score_of(text, "ERR weight value is not a float") for text in following]
        elif not following or (word == b"AGGREGATE" and following[0].upper() not in _AGGREGATES):
            raise CommandError(SYNTAX_ERROR)
        elif word == b"AGGREGATE":
            aggregate = _AGGREGATES[following[0].upper()]
        else:
            limit = at_least(0, following[0], "ERR LIMIT can't be negative")
    return Call(keys, list(map(Source, values, weights)), aggregate, has_scores, limit)


_Combine = Callable[[Call], dict[bytes, float]]
_COMBINING: Final = frozenset((b"WEIGHTS", b"AGGREGATE"))
_REPLYING: Final = frozenset((b"WITHSCORES",))


def _reply(session: Session, request: Request, name: str, combine: _Combine, options: frozenset[bytes]) -> Reply:
    call = _parse(session, request, 1, name, options)
    result = Small(combine(call))
    members, scores = result.slice(0, len(result.scores))
    return scored(members, scores, is_nested=session.protocol == 3) if call.has_scores else list(members)


def _store(session: Session, request: Request, name: str, combine: _Combine, options: frozenset[bytes]) -> Reply:
    call = _parse(session, request, 2, name, options)
    result = result_of(combine(call), session.server.config)
    return put_result(session, request[1], result, request)


@command("zunion",
         "numkeys:integer key:key+ WEIGHTS=weight:integer?+ AGGREGATE=aggregate<SUM|MIN|MAX>? WITHSCORES?",
         "readonly", access="RO access",
         since="6.2.0", group="sorted-set",
         complexity="O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number "
         "of elements in the resulting sorted set.",
         summary="Add multiple sorted sets")  # fmt: skip
def zunion(session: Session, request: Request) -> Reply:
    return _reply(session, request, "zunion", union, _COMBINING | _REPLYING)


@command("zinter",
         "numkeys:integer key:key+ WEIGHTS=weight:integer?+ AGGREGATE=aggregate<SUM|MIN|MAX>? WITHSCORES?",
         "readonly", access="RO access",
         since="6.2.0", group="sorted-set",
         complexity="O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input "
         "sorted sets and M being the number of elements in the resulting sorted set.",
         summary="Intersect multiple sorted sets")  # fmt: skip
def zinter(session: Session, request: Request) -> Reply:
    return _reply(session, request, "zinter", intersection, _COMBINING | _REPLYING)


@command("zdiff", "numkeys:integer key:key+ WITHSCORES?", "readonly", access="RO access",
         since="6.2.0", group="sorted-set",
         complexity="O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size "
         "of the first set, and K is the size of the result set.",
         summary="Subtract multiple sorted sets")  # fmt: skip
def zdiff(session: Session, request: Request) -> Reply:
    return _reply(session, request, "zdiff", difference, _REPLYING)


@command("zunionstore",
         "destination:key numkeys:integer key:key#1+ WEIGHTS=weight:integer?+ AGGREGATE=aggregate<SUM|MIN|MAX>?",
         "write denyoom", access="OW update; RO access",
         since="2.0.0", group="sorted-set",
         complexity="O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number "
         "of elements in the resulting sorted set.",
         summary="Add multiple sorted sets and store the resulting sorted set in a new key")  # fmt: skip
def zunionstore(session: Session, request: Request) -> Reply:
    return _store(session, request, "zunionstore", union, _COMBINING)


@command("zinterstore",
         "destination:key numkeys:integer key:key#1+ WEIGHTS=weight:integer?+ AGGREGATE=aggregate<SUM|MIN|MAX>?",
         "write denyoom", access="OW update; RO access",
         since="2.0.0", group="sorted-set",
         complexity="O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input "
         "sorted sets and M being the number of elements in the resulting sorted set.",
         summary="Intersect multiple sorted sets and store the resulting sorted set in a new key")  # fmt: skip
def zinterstore(session: Session, request: Request) -> Reply:
    return _store(session, request, "zinterstore", intersection, _COMBINING)


@command("zdiffstore",
         "destination:key numkeys:integer key:key#1+",
         "write denyoom", access="OW update; RO access",
         since="6.2.0", group="sorted-set",
         complexity="O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size "
         "of the first set, and K is the size of the result set.",
         summary="Subtract multiple sorted sets and store the resulting sorted set in a new key")  # fmt: skip
def zdiffstore(session: Session, request: Request) -> Reply:
    return _store(session, request, "zdiffstore", difference, frozenset())


@command("zintercard", "numkeys:integer key:key+ LIMIT=limit:integer?", "readonly", access="RO access",
         since="7.0.0", group="sorted-set",
         complexity="O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
         summary="Intersect multiple sorted sets and return the cardinality of the result")  # fmt: skip
def zintercard(session: Session, request: Request) -> Reply:
    return len(intersection(_parse(session, request, 1, "zintercard", frozenset((b"LIMIT",)))))
