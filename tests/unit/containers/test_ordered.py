"""Ordered is a sorted list of pairs, whatever was forked from it and is still there."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kvserver.containers import lazyfree, pages
from kvserver.containers.ordered import Ordered

Pair = tuple[float, bytes]


@pytest.fixture(autouse=True, scope="module")
def short_pages() -> Iterator[None]:
    with mock.patch.object(pages, "PAGE", 2):
        yield


class Small(Ordered):
    """So few members a run that some dozen make many groups."""

    LOAD = 8
    GROUP_BITS = 1
    MOST_FLAT = 4


# A border between runs shall often stand among equal scores.
SCORES = st.sampled_from([-math.inf, -1.5, -0.0, 0.0, 1.0, 2.0, 3.0, math.inf])
PAIRS = st.tuples(SCORES, st.binary(max_size=2))
PLACES = st.integers(0, 60)


def check(ordered: Ordered, expected: list[Pair]) -> None:
    """Everything there is, and the state that other methods rely on."""
    assert len(ordered) == len(expected)
    assert [(score, member) for member, score in ordered] == expected
    assert list(ordered.sizes) == [len(run.members) for run in ordered.runs] == [len(run.scores) for run in ordered.runs]
    assert list(ordered.borders) == [run.scores[-1] for run in ordered.runs[:-1]]
    assert all(ordered.sizes) or len(ordered.runs) == 1
    assert max(ordered.sizes) <= 2 * ordered.LOAD


class OrderedMachine(RuleBasedStateMachine):
    """An Ordered beside a sorted list, and forks beside copies."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[tuple[Small, list[Pair]]] = [(Small(), [])]

    @property
    def ordered(self) -> Small:
        return self.alive[0][0]

    @property
    def pairs(self) -> list[Pair]:
        return self.alive[0][1]

    @rule(pairs=st.lists(PAIRS, max_size=12))
    def add(self, pairs: list[Pair]) -> None:
        for score, member in pairs:
            if (score, member) not in self.pairs:
                self.ordered.add(score, member)
                self.pairs.append((score, member))
        self.pairs.sort()

    @rule(members=st.lists(st.binary(min_size=3, max_size=4), unique=True, max_size=40))
    def load(self, members: list[bytes]) -> None:
        members.sort()
        if self.pairs and self.pairs[-1] >= (math.inf, members[0] if members else b""):
            members = []
        self.ordered.load(members, [math.inf] * len(members))
        self.pairs.extend((math.inf, member) for member in members)

    @precondition(lambda self: self.pairs)
    @rule(places=st.lists(PLACES, max_size=12))
    def remove(self, places: list[int]) -> None:
        for place in places:
            if self.pairs:
                self.ordered.remove(*self.pairs.pop(place % len(self.pairs)))

    @precondition(lambda self: self.pairs)
    @rule(place=PLACES, to=SCORES)
    def move(self, place: int, to: float) -> None:
        score, member = self.pairs.pop(place % len(self.pairs))
        if (to, member) in self.pairs:
            to = score
        self.ordered.move(score, member, to)
        self.pairs.append((to, member))
        self.pairs.sort()

    @rule(count=st.integers(0, 6))
    def pop_first(self, count: int) -> None:
        for _ in range(min(count, len(self.pairs))):
            assert self.ordered.pop_first() == self.pairs.pop(0)[::-1]

    @rule(count=st.integers(0, 6))
    def pop_last(self, count: int) -> None:
        for _ in range(min(count, len(self.pairs))):
            assert self.ordered.pop_last() == self.pairs.pop()[::-1]

    @rule(start=PLACES, stop=PLACES)
    def remove_slice(self, start: int, stop: int) -> None:
        removed = self.pairs[start:stop]
        del self.pairs[start : max(start, stop)]
        assert list(zip(*self.ordered.remove_slice(start, stop), strict=True)) == [pair[::-1] for pair in removed]

    @rule(start=PLACES, stop=PLACES)
    def slice(self, start: int, stop: int) -> None:
        expected = self.pairs[start:stop]
        assert self.ordered.members(start, stop) == [member for _, member in expected]
        members, scores = self.ordered.slice(start, stop)
        assert list(zip(scores, members, strict=True)) == expected

    @rule(pair=PAIRS)
    def position(self, pair: Pair) -> None:
        scores = [score for score, _ in self.pairs]
        score = pair[0]
        assert self.ordered.rank(*pair) == bisect_left(self.pairs, pair)
        assert self.ordered.position_of_score(score, after=False) == sum(other < score for other in scores)
        assert self.ordered.position_of_score(score, after=True) == sum(other <= score for other in scores)
        if pair not in self.pairs:
            with pytest.raises(KeyError):
                self.ordered.remove(*pair)
            with pytest.raises(KeyError):
                self.ordered.move(*pair, 5.0)

    @precondition(lambda self: self.pairs)
    @rule(place=PLACES)
    def get(self, place: int) -> None:
        place %= len(self.pairs)
        assert self.ordered[place] == self.pairs[place][::-1]
        assert self.ordered.rank(*self.pairs[place]) == place

    @rule()
    def fork(self) -> None:
        self.alive.append((self.ordered.fork(), self.pairs.copy()))

    @rule(place=PLACES)
    def turn_to_a_fork(self, place: int) -> None:
        place %= len(self.alive)
        self.alive[0], self.alive[place] = self.alive[place], self.alive[0]

    @precondition(lambda self: len(self.alive) > 3)
    @rule()
    def forget(self) -> None:
        self.alive.pop(1)

    @invariant()
    def nobody_changed_another(self) -> None:
        for ordered, pairs in self.alive:
            check(ordered, pairs)


TestOrdered = OrderedMachine.TestCase
TestOrdered.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


def filled(count: int) -> Small:
    """Pairs of the scores from 0 on."""
    ordered = Small()
    ordered.load([b"%d" % number for number in range(count)], [float(number) for number in range(count)])
    return ordered


def test_members_of_one_score_are_found_by_their_bytes() -> None:
    members = [b"%03d" % number for number in range(0, 200, 2)]
    ordered = Small()
    ordered.load(members, [1.0] * 100)
    for number in range(200):
        member = b"%03d" % number
        assert ordered.position_of_member(member, after=False) == (number + 1) // 2
        assert ordered.position_of_member(member, after=True) == number // 2 + 1
    assert Small().position_of_member(b"a", after=True) == 0


def test_an_empty_one_has_nothing() -> None:
    ordered = Small()
    for pop in (ordered.pop_first, ordered.pop_last, lambda: ordered[0]):
        with pytest.raises(IndexError):
            pop()
    assert ordered.slice(0, 9) == ([], [])
    assert ordered.position_of_score(1.0, after=True) == 0
    assert not ordered
    with pytest.raises(IndexError):
        filled(3)[-1]


def test_both_directions_and_chunks_are_the_same_pairs() -> None:
    ordered = filled(40)
    pairs = [(b"%d" % number, float(number)) for number in range(40)]
    assert list(ordered) == pairs == list(reversed(ordered))[::-1]
    assert [pair for chunk in ordered.chunks() for pair in zip(*chunk, strict=True)] == pairs


@pytest.mark.parametrize(
    ("members", "scores"),
    [
        ([b"b", b"a"], [5.0, 5.0]),
        ([b"a", b"a"], [5.0, 5.0]),
        ([b"a", b"b"], [6.0, 5.0]),
        ([b"2"], [2.0]),
        ([b"a"], [0.0]),
        ([b"a", b"b"], [5.0]),
        ([b"a"], []),
    ],
)
def test_pairs_that_are_not_in_order_are_not_loaded(members: list[bytes], scores: list[float]) -> None:
    ordered = filled(3)
    with pytest.raises(ValueError, match="pairs to load"):
        ordered.load(members, scores)
    check(ordered, [(0.0, b"0"), (1.0, b"1"), (2.0, b"2")])


def test_runs_that_got_short_are_joined() -> None:
    ordered = filled(600)
    assert len(ordered.runs) == 50
    for number in range(600):
        if number % 12:
            ordered.remove(float(number), b"%d" % number)
    check(ordered, [(float(number), b"%d" % number) for number in range(0, 600, 12)])
    assert len(ordered.runs) <= 25


def test_runs_are_full_where_all_is_added_at_the_end() -> None:
    ordered = Small()
    for number in range(80):
        ordered.add(float(number), b"%d" % number)
    assert list(ordered.sizes) == [16] * 5


def test_long_slice_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    put_off: list[list[object]] = []
    monkeypatch.setattr(lazyfree, "begun", lambda: True)
    monkeypatch.setattr(lazyfree, "free", lambda pages, contents: put_off.append([run for page in pages for run in page]))
    ordered = filled(600)
    assert len(ordered.remove_slice(3, 590)[0]) == 587
    assert [len(pieces) for pieces in put_off] == [48]
    assert list(ordered) == [(b"%d" % number, float(number)) for number in (0, 1, 2, *range(590, 600))]
    ordered.remove_slice(0, 13)
    check(ordered, [])


def test_size_follows_the_members() -> None:
    sizes = [filled(count).size_bytes() for count in (0, 10, 100, 1000, 10_000)]
    assert all(small < large for small, large in pairwise(sizes))


def test_pairs_that_are_loaded_bit_by_bit_stay_in_tuples_and_are_not_those_of_forks() -> None:
    ordered = Ordered()
    numbers = [float(number) for number in range(2_000)]
    for start in range(0, 1_000, 50):
        ordered.load([b"%d" % number for number in range(start, start + 50)], numbers[start : start + 50])
    fork = ordered.fork()
    ordered.load([b"1000"], [1_000.0])
    assert [len(members) for members, _ in ordered.chunks()] == [384, 384, 233]
    assert len(fork) == len(list(fork)) == 1_000
    assert [type(members) for members, _ in ordered.chunks()] == [list, tuple, tuple]
