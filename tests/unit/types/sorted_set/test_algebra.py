"""Unions, intersections and differences of sorted sets and sets, compared with a model."""

from __future__ import annotations

from math import inf, isnan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.sessions import Server, run
from kvserver.containers.table import Table
from kvserver.types.sorted_set.algebra import Call, Ones, Source, difference, intersection, union

members = st.sampled_from([b"a", b"b", b"c", b"d"])
scores = st.sampled_from([0.0, 1.0, -2.0, 0.1, 0.2, inf, -inf])
few_scores = st.dictionaries(members, scores)


def table(pairs: dict[bytes, float]) -> Table:
    found = Table()
    found.update(pairs.items())
    return found


sources = st.lists(
    st.builds(Source, few_scores | few_scores.map(table) | st.sets(members).map(Ones), scores), min_size=1, max_size=4
)


def pick(one: float, other: float) -> float:
    return min(one, other)


@settings(max_examples=50)
@given(sources)
def test_results_are_those_of_sets(some: list[Source]) -> None:
    call = Call([], some, pick, has_scores=False, limit=0)
    first, *others = [dict(source.scores.items()) for source in some]
    every, common = set(first).union(*others), set(first).intersection(*others)
    assert union(call).keys() == every
    assert intersection(call).keys() == common
    assert difference(call) == {member: first[member] for member in set(first).difference(*others)}
    assert len(intersection(call._replace(limit=2))) == min(2, len(common))
    weights = [source.weight for source in some]
    for member, score in union(call).items():
        pairs = zip((first, *others), weights, strict=True)
        weighted = [each[member] * weight for each, weight in pairs if member in each]
        assert score == min(0.0 if isnan(each) else each for each in weighted)


@pytest.mark.parametrize("more", [[], [b"\0"], [b"%d" % number for number in range(10, 300)]])
def test_plain_sets_have_the_score_1(more: list[bytes]) -> None:
    session = Server().session()
    run(session, "SADD", "s", 1, 2, *more)
    run(session, "ZADD", "k", 5, 2, 7, 3)
    found = run(session, "ZUNION", 2, "s", "k", "WEIGHTS", 2, 1, "WITHSCORES")
    assert isinstance(found, list)
    assert dict(zip(found[::2], found[1::2], strict=True)) == {b"1": b"2", b"2": b"7", b"3": b"7"} | dict.fromkeys(more, b"2")
    assert run(session, "ZINTERSTORE", "d", 2, "k", "s") == 1
    assert run(session, "ZSCORE", "d", 2) == b"6"
    assert run(session, "ZDIFF", 2, "s", "k", "WITHSCORES") == [
        word for member in sorted([b"1", *more]) for word in (member, b"1")
    ]


def test_sources_are_left_as_they_are() -> None:
    session = Server().session()
    run(session, "ZADD", "k", 1, "a")
    assert run(session, "ZUNIONSTORE", "d", 1, "k") == 1
    run(session, "ZADD", "d", 5, "a", 6, "b")
    assert run(session, "ZRANGE", "k", 0, -1, "WITHSCORES") == [b"a", b"1"]
