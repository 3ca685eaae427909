"""One member of a sorted set: what ZADD, ZINCRBY and ZPOPMIN do in their usual cases, in a fraction of the time. Pure.

Each function takes an entry that the keyspace gave for the key of a request, and changes it as the request does. It gives None
where the case is not so simple, and has changed nothing then: a packed sorted set has no room for one more, or the entry
expires, is missing or of another type. A value without an expiry is an entry by itself, for which there is `put_as`.
"""

from __future__ import annotations

from math import isnan

from kvserver._speedups.packed import add_score, around_value, can_pack, moved, with_score
from kvserver.containers.packed import MOST_MEMBERS, count_pairs
from kvserver.data.entries import Entry, Value
from kvserver.errors import CommandError
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.types.sorted_set.packed_scores import without_first
from kvserver.types.sorted_set.score import NOT_A_NUMBER, score_of, text_of
from kvserver.types.sorted_set.value import MARK, SortedSet, put


def add(session: Session, request: Request, entry: Entry | None) -> int | None:
    """Give one member a score, and return 1 if it is new, else 0. CommandError for what is no score."""
    found = add_score(entry, request, session.server.config, MOST_MEMBERS)
    if found is not None:
        new: int
        new, changed = found
        if changed is not entry:
            session.keyspace.put_as(request[1], changed, request)
        return new
    if type(entry) is str and entry[0] == MARK:
        _, key, text, member = request
        score = score_of(text)
        around = around_value(entry, member)
        if around is None:
            return 1 if _add_packed(session, request, entry, score) else None
        if float(around[1]) != score:
            # Redis's listpacks hold no -0.0.
            session.keyspace.put_as(key, moved(around, member, score + 0.0), request)
        return 0
    if type(entry) is SortedSet:
        score = score_of(request[2])
        present: float | None = entry.scores.get(request[3])
        if present != score:
            _give_large(session, request, entry, score, present)
        return 1 if present is None else 0
    return None


def increment(session: Session, request: Request, entry: Entry | None) -> float | None:
    """Add to the score of one member, and return the sum. CommandError for what is no score, and for a sum that is none."""
    if type(entry) is str and entry[0] == MARK:
        _, key, text, member = request
        score = score_of(text)
        around = around_value(entry, member)
        if around is None:
            return score if _add_packed(session, request, entry, score) else None
        present = float(around[1])
        total = _sum(present, score)
        if total != present:
            session.keyspace.put_as(key, moved(around, member, total + 0.0), request)
        return total
    if type(entry) is SortedSet:
        score = score_of(request[2])
        known: float | None = entry.scores.get(request[3])
        total = score if known is None else _sum(known, score)
        if known != total:
            _give_large(session, request, entry, total, known)
        return total
    return None


def pop_first(session: Session, request: Request, entry: Entry | None) -> tuple[bytes, bytes] | None:
    """Remove the lowest member, and return it with the text of its score."""
    keyspace, key = session.keyspace, request[1]
    if type(entry) is str and entry[0] == MARK:
        member, text, rest = without_first(entry)
        if len(rest) > len(f"{MARK}\0"):
            keyspace.put_as(key, rest, request)
        else:
            keyspace.change(key, None, request)
        return member, text
    if type(entry) is SortedSet:
        members = keyspace.own_plain(key, entry)
        assert type(members) is SortedSet
        member, score = members.pop_first()
        if members.scores:
            keyspace.put_as(key, members, request)
        else:
            keyspace.change(key, None, request)
        return member, text_of(score)
    return None


def _sum(present: float, score: float) -> float:
    total = present + score
    if isnan(total):
        raise CommandError(NOT_A_NUMBER)
    return total


def _add_packed(session: Session, request: Request, packed: str, score: float) -> bool:
    """Add the member of a request to a packed sorted set, in which it is not yet. False if it has no room there."""
    key, member, config = request[1], request[3], session.server.config
    if (
        len(member) > config.zset_max_listpack_value
        or not can_pack(member)
        or count_pairs(packed) >= min(MOST_MEMBERS, config.zset_max_listpack_entries)
    ):
        return False
    session.keyspace.put_as(key, with_score(packed, member, score + 0.0), request)
    return True


def _give_large(session: Session, request: Request, members: Value, score: float, present: float | None) -> None:
    """Give the member of a request another score than it has present, in a large sorted set."""
    _, key, _, member = request
    keyspace = session.keyspace
    members = keyspace.own_plain(key, members)
    assert type(members) is SortedSet
    if members.is_listpack:
        put(members, member, score, session.server.config)
    else:
        members.give(member, score, present)
    keyspace.put_as(key, members, request)
