"""ZADD, ZINCRBY, ZSCORE, ZRANK, ZREM, ZPOPMIN, ZRANDMEMBER, ZSCAN and their kin: sorted sets, member by member."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from math import isnan
from typing import Any, Final

from kvserver._speedups.packed import add_score
from kvserver._speedups.packed import value_of as value_in
from kvserver.containers.packed import count_pairs
from kvserver.data.entries import Value
from kvserver.dispatch.alike import found, integers
from kvserver.dispatch.arguments import MAX_INTEGER, SYNTAX_ERROR, at_least
from kvserver.dispatch.command import MANY_WORDS, command
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL, NULL_ARRAY, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.collection import Members as Sampled
from kvserver.types.sampling import one_of, some_of, wanted_of
from kvserver.types.scanning import count_of, scan_reply
from kvserver.types.sorted_set import single
from kvserver.types.sorted_set.packed_scores import rank_of
from kvserver.types.sorted_set.score import NOT_A_NUMBER, listed_text_of, score_of, scored, text_of
from kvserver.types.sorted_set.value import LISTPACK_MEMBERS, MARK, SortedSet, changeable, members_of, put, store

_OPTIONS: Final = frozenset((b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"))


def _events_of_zadd(request: Request) -> str:
    options = takewhile(_OPTIONS.__contains__, map(bytes.upper, request[2:]))
    return "zincr" if b"INCR" in options else "zadd"


def _add_one(session: Session, request: Request) -> int:
    """ZADD of one member without options: 1 if it is new, else 0."""
    get = session.keyspace.get
    added = single.add(session, request, get(request[1]))
    if added is None:
        number = _add(session, request, set())
        assert isinstance(number, int)
        return number
    return added


@command("zadd",
         "key:key condition<NX|XX>?@3.0.2 comparison<GT|LT>?@6.2.0 CH=change:pure-token?@3.0.2 "
         "INCR=increment:pure-token?@3.0.2 score_member{score:double member}+",
         "write denyoom fast", access="RW update",
         events=_events_of_zadd, since="1.2.0", group="sorted-set",
         complexity="O(log(N)) for each item added, where N is the number of elements in the sorted set.",
         summary="Add one or more members to a sorted set, or update its score if it already exists",
         many=integers(4, _add_one), call=add_score)  # fmt: skip
def zadd(session: Session, request: Request) -> Reply:
    if len(request) == 4 and request[2].upper() not in _OPTIONS:
        return _add_one(session, request)
    return _add(session, request, set())


@command("zincrby", "key:key increment:integer member", "write denyoom fast", access="RW access update",
         events="zincr", since="1.2.0", group="sorted-set",
         complexity="O(log(N)) where N is the number of elements in the sorted set.",
         summary="Increment the score of a member in a sorted set")  # fmt: skip
def zincrby(session: Session, request: Request) -> Reply:
    if request[2].upper() not in _OPTIONS:
        total = single.increment(session, request, session.keyspace.get(request[1]))
        if total is not None:
            return _score_reply(session, total)
    # Redis takes the options of ZADD here, too, and then finds that words are missing.
    return _add(session, request, {b"INCR"})


def _score_reply(session: Session, score: float) -> Reply:
    """The reply that is a score. Measured: a double in RESP2 takes longer by way of the general encoding."""
    return text_of(score) if session.protocol == 2 else score


def _add(session: Session, request: Request, options: set[bytes]) -> Reply:
    """Run a ZADD, or a ZINCRBY if INCR is among the options already."""
    start = 2
    while start < len(request) and (word := request[start].upper()) in _OPTIONS:
        options.add(word)
        start += 1
    words = request[start:]
    if len(words) % 2 or not words:
        raise CommandError(SYNTAX_ERROR)
    _check_options(options)
    is_increment = b"INCR" in options
    if is_increment and len(words) > 2:
        raise CommandError("ERR INCR option supports a single increment-element pair")
    pairs = list(zip(words[1::2], map(score_of, words[::2]), strict=True))
    members = changeable(session, request[1])
    before, changed, total = len(members.scores), 0, None
    for member, score in pairs:
        present = members.scores.get(member)
        if is_increment and present is not None and b"NX" not in options:
            score += present
            if isnan(score):
                raise CommandError(NOT_A_NUMBER)
        if _is_refused(present, score, options):
            continue
        total = score
        if present is None or present != score:
            put(members, member, score, session.server.config)
            changed += 1
    if changed:
        store(session, request[1], members, request)
    if is_increment:
        return None if total is None else _score_reply(session, total)
    return changed if b"CH" in options else len(members.scores) - before


def _check_options(options: set[bytes]) -> None:
    if {b"NX", b"XX"} <= options:
        raise CommandError("ERR XX and NX options at the same time are not compatible")
    if len(options & {b"GT", b"LT", b"NX"}) > 1:
        raise CommandError("ERR GT, LT, and/or NX options at the same time are not compatible")


def _is_refused(present: float | None, score: float, options: set[bytes]) -> bool:
    """True if the options keep a member from getting this score, or from being added."""
    if present is None:
        return b"XX" in options
    return b"NX" in options or (b"GT" in options and score <= present) or (b"LT" in options and score >= present)


@command("zscore", "key:key member", "readonly fast", access="RO access",
         since="1.2.0", group="sorted-set", complexity="O(1)",
         summary="Get the score associated with the given member in a sorted set")  # fmt: skip
def zscore(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] == MARK:
        text = value_in(value, request[2])
        return text if text is None or session.protocol == 2 else float(text)
    members = members_of(value)
    score: float | None = None if members is None else members.scores.get(request[2])
    return None if score is None else _score_reply(session, score)


@command("zmscore", "key:key member+", "readonly fast", access="RO access",
         since="6.2.0", group="sorted-set", complexity="O(N) where N is the number of members being requested.",
         summary="Get the score associated with the given members in a sorted set")  # fmt: skip
def zmscore(session: Session, request: Request) -> Reply:
    members = members_of(session.keyspace.read(request[1]))
    return [None if members is None else members.scores.get(member) for member in request[2:]]


@command("zcard", "key:key", "readonly fast", access="RO",
         since="1.2.0", group="sorted-set", complexity="O(1)",
         summary="Get the number of members in a sorted set")  # fmt: skip
def zcard(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] == MARK:
        return count_pairs(value)
    members = members_of(value)
    return 0 if members is None else len(members.scores)


def _rank_found(entry: Any, request: Request, protocol: int) -> bytes | None:
    if type(entry) is str and entry[0] == MARK:
        rank = rank_of(entry, request[2])
    elif type(entry) is SortedSet:
        rank = entry.rank(request[2])
    else:
        return None
    return NULL[protocol] if rank is None else b":%d\r\n" % rank


@command("zrank", "key:key member", "readonly fast", access="RO access",
         since="2.0.0", group="sorted-set", complexity="O(log(N))",
         summary="Determine the index of a member in a sorted set",
         many=found(3, _rank_found))  # fmt: skip
def zrank(session: Session, request: Request) -> Reply:
    value = session.keyspace.read(request[1])
    if type(value) is str and value[0] == MARK:
        return rank_of(value, request[2])
    members = members_of(value)
    return None if members is None else members.rank(request[2])


@command("zrevrank", "key:key member", "readonly fast", access="RO access",
         since="2.0.0", group="sorted-set", complexity="O(log(N))",
         summary="Determine the index of a member in a sorted set, with scores ordered from high to low")  # fmt: skip
def zrevrank(session: Session, request: Request) -> Reply:
    members = members_of(session.keyspace.read(request[1]))
    rank = None if members is None else members.rank(request[2])
    return None if members is None or rank is None else len(members.scores) - 1 - rank


@command("zrem", "key:key member+", "write fast", access="RW delete",
         since="1.2.0", group="sorted-set",
         complexity="O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be "
         "removed.",
         summary="Remove one or more members from a sorted set",
         bounded_below=MANY_WORDS)  # fmt: skip
def zrem(session: Session, request: Request) -> Reply:
    members = changeable(session, request[1])
    removed = sum(map(members.remove, request[2:]))
    if removed:
        store(session, request[1], members, request)
    return removed


@command("zpopmin", "key:key count:integer?", "write fast", access="RW access delete",
         since="5.0.0", group="sorted-set",
         complexity="O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements "
         "popped.",
         summary="Remove and return members with the lowest scores in a sorted set",
         bounded_below=3)  # fmt: skip
def zpopmin(session: Session, request: Request) -> Reply:
    if len(request) == 2:
        popped = single.pop_first(session, request, session.keyspace.get(request[1]))
        if popped is not None:
            member, text = popped
            return [member, text if session.protocol == 2 else float(text)]
    return _pop_reply(session, request, is_max=False)


@command("zpopmax", "key:key count:integer?", "write fast", access="RW access delete",
         since="5.0.0", group="sorted-set",
         complexity="O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements "
         "popped.",
         summary="Remove and return members with the highest scores in a sorted set",
         bounded_below=3)  # fmt: skip
def zpopmax(session: Session, request: Request) -> Reply:
    return _pop_reply(session, request, is_max=True)


def _pop_reply(session: Session, request: Request, *, is_max: bool) -> Reply:
    if len(request) > 3:
        raise CommandError(SYNTAX_ERROR)
    count = at_least(0, request[2], "ERR value is out of range, must be positive") if len(request) == 3 else 1
    members, scores = pop(session, request[1], count, request, is_max=is_max)
    if len(request) == 2:
        # One member without a count is no pair in RESP3 either.
        return [members[0], scores[0]] if members else []
    return scored(members, scores, is_nested=session.protocol == 3)


def pop(session: Session, key: bytes, count: int, request: list[bytes], *, is_max: bool) -> tuple[list[bytes], list[float]]:
    """Remove so many of the first members of a sorted set, or of the last ones, by a request that is recorded.

    Return the members, the lowest or the highest first, and their scores.
    """
    members = changeable(session, key)
    size = len(members.scores)
    count = min(count, size)
    popped, scores = members.remove_slice(size - count, size) if is_max else members.remove_slice(0, count)
    if popped:
        store(session, key, members, request)
    return (popped[::-1], scores[::-1]) if is_max else (popped, scores)


@command("zmpop",
         "numkeys:integer key:key+ where<MIN|MAX> COUNT=count:integer?",
         "write", access="RW access delete",
         events={"ZPOPMIN": "zpopmin", "ZPOPMAX": "zpopmax"}, since="7.0.0", group="sorted-set",
         complexity="O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the "
         "sorted set, and M being the number of elements popped.",
         summary="Remove and return members with scores in a sorted set")  # fmt: skip
def zmpop(session: Session, request: Request) -> Reply:
    keys, is_max, count = range_of_zmpop(request, 1)
    reply = pop_of_first(session, keys, count, is_max=is_max)
    return NULL_ARRAY if reply is None else reply


def range_of_zmpop(request: Request, start: int) -> tuple[list[bytes], bool, int]:
    """The keys, True for the highest members, and the count of ZMPOP or BZMPOP, whose number of keys is the word at `start`.

    CommandError for words that are no such thing.
    """
    where = start + 1 + at_least(1, request[start], "ERR numkeys should be greater than 0")
    if where >= len(request) or request[where].upper() not in (b"MIN", b"MAX"):
        raise CommandError(SYNTAX_ERROR)
    count = 1
    for place in range(where + 1, len(request), 2):
        if place > where + 1 or request[place].upper() != b"COUNT" or place + 1 == len(request):
            raise CommandError(SYNTAX_ERROR)
        count = at_least(1, request[place + 1], "ERR count should be greater than 0")
    return request[start + 1 : where], request[where].upper() == b"MAX", count


def pop_of_first(session: Session, keys: list[bytes], count: int, *, is_max: bool) -> Reply:
    """Remove members of the first of the keys that is there, and return it with them, or None if none is there."""
    for key in keys:
        if members_of(session.keyspace.live(key)) is not None:
            effect = [b"ZPOPMAX" if is_max else b"ZPOPMIN", key, b"%d" % count]
            return [key, scored(*pop(session, key, count, effect, is_max=is_max), is_nested=True)]
    return None


@command("zrandmember", "key:key options{count:integer WITHSCORES?}?", "readonly", access="RO access",
         since="6.2.0", group="sorted-set", complexity="O(N) where N is the number of elements returned",
         tips="nondeterministic_output",
         summary="Get one or multiple random elements from a sorted set")  # fmt: skip
def zrandmember(session: Session, request: Request) -> Reply:
    below = session.server.random_below
    if len(request) == 2:
        members = members_of(session.keyspace.read(request[1]))
        return None if members is None else one_of(members.scores, below)
    count = wanted_of(request[2])
    if len(request) > 3:
        if len(request) > 4 or request[3].lower() != b"withscores":
            raise CommandError(SYNTAX_ERROR)
        if not -MAX_INTEGER // 2 <= count <= MAX_INTEGER // 2:
            raise CommandError("ERR value is out of range")
    members = members_of(session.keyspace.read(request[1]))
    if members is None:
        return []
    # Redis gives all of them from the last one to the first.
    is_all = count >= len(members.scores)
    chosen = members.members(0, count)[::-1] if is_all else some_of(members.scores, count, below)
    if len(request) == 3:
        return list(chosen)
    get: Callable[[bytes], Any] = members.scores.get
    return scored(chosen, list(map(get, chosen)), is_nested=session.protocol == 3)


@command("zscan",
         "key:key cursor:integer MATCH=pattern:pattern? COUNT=count:integer?",
         "readonly", access="RO access",
         since="2.8.0", group="sorted-set",
         complexity="O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to "
         "return back to 0. N is the number of elements inside the collection..",
         tips="nondeterministic_output", numbers={"COUNT": count_of},
         summary="Incrementally iterate sorted sets elements and associated scores")  # fmt: skip
def zscan(session: Session, request: Request) -> Reply:
    return scan_reply(zscan, session, request, _scanned, lambda member, score: (member, _scanned_text(score)))


def _scanned(value: Value | None) -> Sampled | None:
    members = members_of(value)
    if members is None:
        return None
    # Redis gives a listpack as a whole, in its order, and as the texts that are in it.
    if members.is_listpack and len(members.scores) <= LISTPACK_MEMBERS:
        return {member: listed_text_of(score) for member, score in members}
    return members.scores


def _scanned_text(score: float | bytes) -> bytes:
    return text_of(score) if isinstance(score, float) else score
