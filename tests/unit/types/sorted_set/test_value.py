"""The value of a sorted set: packed while it is small, one and the same in a payload, and independent of its forks."""

from __future__ import annotations

import json
from math import copysign, inf, isinf, nan
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.sessions import Server, run
from kvserver.containers import packed
from kvserver.containers.ordered import Ordered
from kvserver.data.kinds import load_of_dump
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText
from kvserver.formats.names import name_of
from kvserver.types.sorted_set.bounds import MemberBound, ScoreBound
from kvserver.types.sorted_set.value import SORTED_SET, TAG, Small, SortedSet, members_of, put, put_result, value_of

strings = st.sampled_from([b"", b"a", b"b", b"\0", b"\xff", b"$kvs:", "é".encode(), b"x" * 65]) | st.binary(max_size=5)
some_scores = st.sampled_from([0.0, 1.0, -1.5, 1e16, inf, -inf, 0.1 + 0.2, 1e308]) | st.floats(allow_nan=False)
few = settings(max_examples=30)
scores_by_member = st.dictionaries(strings, some_scores, min_size=1, max_size=12)


def ordered(scores: dict[bytes, float]) -> list[tuple[bytes, float]]:
    return sorted(scores.items(), key=lambda pair: (pair[1], pair[0]))


def large(scores: dict[bytes, float], *, is_listpack: bool = False) -> SortedSet:
    return SortedSet(ordered(scores), is_listpack=is_listpack)


def both(scores: dict[bytes, float]) -> list[Small | SortedSet]:
    return [Small(dict(scores)), large(scores)]


@few
@given(scores_by_member, st.booleans())
def test_value_holds_its_members(scores: dict[bytes, float], is_listpack: bool) -> None:
    small = Small(dict(scores))
    small.is_listpack = is_listpack
    value = value_of(small)
    found = members_of(value)
    assert found
    assert repr(list(found)) == repr(ordered(scores))
    assert dict(found.scores.items()) == scores
    assert type(value) is (str if is_listpack and all(map(packed.can_pack, scores)) else SortedSet)
    assert SORTED_SET.encoding(value) == (b"listpack" if is_listpack else b"skiplist")


@few
@given(scores_by_member)
def test_payload_is_what_json_dumps_gives_and_is_read_again(scores: dict[bytes, float]) -> None:
    named = [[name_of(member), str(score) if isinf(score) else score] for member, score in ordered(scores)]
    expected = json.dumps(named, separators=(",", ":"), ensure_ascii=False).encode()
    for value in (value_of(Small(dict(scores))), large(scores)):
        assert SORTED_SET.json(value) == (TAG, expected)
    again = SORTED_SET.forms[TAG].read(json.loads(expected))
    assert isinstance(again, str | SortedSet)
    assert SORTED_SET.json(again) == (TAG, expected)


@few
@given(scores_by_member, st.booleans())
def test_dump_brings_it_back(scores: dict[bytes, float], is_listpack: bool) -> None:
    # No listpack of Redis holds a -0.0.
    scores = {member: score + 0.0 for member, score in scores.items()} if is_listpack else scores
    dumped = SORTED_SET.dump(large(scores, is_listpack=is_listpack))
    load = load_of_dump(dumped[0])
    assert load
    again: Any = load.value(dumped[1:], 10_000)
    assert SORTED_SET.json(again) == SORTED_SET.json(large(scores))


@pytest.mark.parametrize(
    "document",
    [
        *([], {}, "a", None, 1, ["a", 1.0], [["a"]], [["a", 1]], [["a", True]], [["a", "1"]], [["a", nan]], [["a", inf]]),
        *([["a", "nan"]], [["a", 1.0, 2.0]], [[1, 1.0]], [["b", 1.0], ["a", 1.0]], [["a", 2.0], ["b", 1.0]], [["a", None]]),
        *([["a", 1.0], ["a", 1.0]], [["a", 1.0], ["a", 2.0]], [["$kvs:YQ==", 1.0]], [["a", "inf"], ["b", "-inf"]]),
        [["b", 0.0], ["a", -0.0]],
    ],
)
def test_other_documents_are_no_sorted_sets(document: Any) -> None:
    assert SORTED_SET.forms[TAG].read(document) is None


@few
@given(scores_by_member, st.lists(st.tuples(strings, some_scores | st.none()), max_size=8), some_scores, strings)
def test_small_and_large_ones_are_the_same(
    scores: dict[bytes, float], changes: list[tuple[bytes, float | None]], score: float, member: bytes
) -> None:
    with mock.patch.object(Ordered, "LOAD", 2):
        small, big = both(scores)
        for changed, new in changes:
            if new is None:
                assert small.remove(changed) == big.remove(changed)
            elif small.scores.get(changed) != new:
                small.add(changed, new)
                big.add(changed, new)
        size = len(small.scores)
        assert list(small) == list(big)
        assert size == len(big.scores)
        assert [small.rank(each) for each in scores] == [big.rank(each) for each in scores]
        for is_behind in (False, True):
            bounds = ScoreBound(score, is_behind), ScoreBound(inf, True)
            assert small.between_scores(*bounds) == big.between_scores(*bounds)
        for start, stop in ((0, size), (1, 3), (size, size + 1), (2, 1)):
            assert small.slice(start, stop) == big.slice(start, stop)
            assert small.members(start, stop) == big.members(start, stop) == small.slice(start, stop)[0]
        assert small.remove_slice(1, 3) == big.remove_slice(1, 3)
        assert small.scores == dict(big.scores.items())
        assert list(small) == list(big)


@few
@given(st.sets(strings, min_size=1), strings, strings, st.booleans(), st.booleans())
def test_members_of_one_score_lie_between_others(
    members: set[bytes], one: bytes, other: bytes, is_behind: bool, is_backwards: bool
) -> None:
    low, high = MemberBound(one, is_behind), MemberBound(other, not is_behind)
    expected = [member for member in sorted(members) if low.is_passed_by(member) and not high.is_passed_by(member)]
    for zset in [*both(dict.fromkeys(members, 1.0)), large(dict.fromkeys(members, 1.0), is_listpack=True)]:
        start, stop = zset.between_members(low, high, is_backwards=is_backwards)
        assert (zset.members(start, stop) if start < stop else []) == expected
        start, stop = zset.between_members(low, MemberBound(None, False), is_backwards=is_backwards)
        assert zset.members(start, stop) == [member for member in sorted(members) if low.is_passed_by(member)]


def test_fork_is_equal_and_independent() -> None:
    zset = large({b"%d" % number: float(number) for number in range(1_000)})
    forks = [zset.fork() for _ in range(2)]
    before = list(zset)
    zset.add(b"new", 5.5)
    assert forks[0].remove(b"5")
    forks[0].add(b"7", -1.0)
    assert list(forks[1]) == before
    assert dict(forks[1].scores.items()) == dict(before)
    assert (zset.rank(b"new"), zset.rank(b"5"), forks[0].rank(b"5"), forks[0].rank(b"7"), forks[1].rank(b"7")) == (
        6,
        5,
        None,
        0,
        7,
    )
    assert type(forks[0]) is SortedSet
    assert not forks[0].is_listpack


def test_listpack_holds_no_negative_zero_and_becomes_a_skip_list_for_good() -> None:
    config, zset = Server().state.config, Small({})
    put(zset, b"zero", -0.0, config)
    assert copysign(1, zset.scores[b"zero"]) == 1
    for number in range(config.zset_max_listpack_entries - 1):
        put(zset, b"%d" % number, 1.0, config)
    assert zset.is_listpack
    put(zset, b"0", 2.0, config)
    assert zset.is_listpack
    put(zset, b"new", -0.0, config)
    assert not zset.is_listpack
    assert copysign(1, zset.scores[b"new"]) == -1
    assert SORTED_SET.encoding(value_of(zset)) == b"skiplist"
    zset = Small({})
    put(zset, b"x" * config.zset_max_listpack_value, 1.0, config)
    assert zset.is_listpack
    put(zset, b"x" * (config.zset_max_listpack_value + 1), 1.0, config)
    assert not zset.is_listpack


def test_result_takes_the_place_of_what_was_there_and_an_empty_one_removes_it() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "x", "PX", 5)
    server.keyspace.records.take()
    assert put_result(session, b"k", Small({b"a": 1.0}), [b"ZUNIONSTORE"]) == 1
    assert run(session, "PTTL", "k") == -1
    assert server.keyspace.records.take() == [[b"ZUNIONSTORE"]]
    for record in ([b"DEL", b"k"], None):
        assert put_result(session, b"k", Small({}), [b"ZUNIONSTORE"]) == 0
        assert server.keyspace.records.take() == ([] if record is None else [record])


def test_size_grows_with_the_members() -> None:
    sizes = [SORTED_SET.size_bytes(large({b"%d" % number: 1.5 for number in range(count)})) for count in (1, 100, 10_000)]
    assert sizes == sorted(sizes)
    assert 100 < sizes[2] / 10_000 < 200
    assert SORTED_SET.size_bytes(value_of(Small({b"a": 1.0}))) < 100


@pytest.mark.parametrize("value", [b"string", JSONText(b"{}"), "s\0a\0", "h\0a\1b\0"])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(CommandError, match=WRONG_TYPE):
        members_of(value)
    assert members_of(None) is None
