"""Sequence is a list, whatever was forked from it and is still there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kvserver.containers import lazyfree, pages
from kvserver.containers.sequence import Run, Sequence


@pytest.fixture(autouse=True, scope="module")
def short_pages() -> Iterator[None]:
    with mock.patch.object(pages, "PAGE", 2):
        yield


class Small(Sequence):
    """So few members a run that some dozen make many groups."""

    LOAD = 8
    GROUP_BITS = 1
    MOST_FLAT = 4


# Few different ones, so that they are found; some can't be packed.
MEMBERS = st.sampled_from([b"", b"a", b"b", b"ab", b"a", b"b", b"c", b"a\0b", b"\0", b"l" * 900])
PLACES = st.integers(0, 60)


def check(sequence: Sequence, expected: list[bytes]) -> None:
    """Everything there is, and the state that other methods rely on."""
    assert len(sequence) == len(expected)
    assert list(sequence) == expected
    assert list(sequence.sizes) == list(map(len, sequence.chunks())) or not expected
    assert all(sequence.sizes) or (len(sequence.runs) == 1 and isinstance(sequence.runs[0], Run))
    assert max(sequence.sizes) <= 2 * sequence.LOAD


class SequenceMachine(RuleBasedStateMachine):
    """A Sequence beside a list, and forks beside copies."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[tuple[Small, list[bytes]]] = [(Small(), [])]

    @property
    def sequence(self) -> Small:
        return self.alive[0][0]

    @property
    def members(self) -> list[bytes]:
        return self.alive[0][1]

    @rule(members=st.lists(MEMBERS, max_size=12))
    def push_left(self, members: list[bytes]) -> None:
        for member in members:
            self.sequence.push_left(member)
            self.members.insert(0, member)

    @rule(members=st.lists(MEMBERS, max_size=12))
    def push_right(self, members: list[bytes]) -> None:
        for member in members:
            self.sequence.push_right(member)
            self.members.append(member)

    @rule(count=PLACES, member=MEMBERS)
    def extend(self, count: int, member: bytes) -> None:
        members = [member, b"%d" % count] * (count // 2)
        self.sequence.extend(members)
        self.members.extend(members)

    @rule(count=st.integers(0, 15))
    def pop_left(self, count: int) -> None:
        for _ in range(min(count, len(self.members))):
            assert self.sequence.pop_left() == self.members.pop(0)

    @rule(count=st.integers(0, 15))
    def pop_right(self, count: int) -> None:
        for _ in range(min(count, len(self.members))):
            assert self.sequence.pop_right() == self.members.pop()

    @rule(places=st.lists(PLACES, max_size=6), member=MEMBERS)
    def insert(self, places: list[int], member: bytes) -> None:
        for place in places:
            place %= len(self.members) + 1
            self.sequence.insert(place, member)
            self.members.insert(place, member)

    @precondition(lambda self: self.members)
    @rule(place=PLACES, member=MEMBERS)
    def set(self, place: int, member: bytes) -> None:
        place %= len(self.members)
        self.sequence.set(place, member)
        self.members[place] = member
        assert self.sequence[place] == member

    @rule(places=st.lists(PLACES, max_size=12))
    def delete(self, places: list[int]) -> None:
        for place in places:
            if self.members:
                place %= len(self.members)
                self.sequence.delete(place)
                del self.members[place]

    @rule(start=PLACES, stop=PLACES)
    def trim(self, start: int, stop: int) -> None:
        self.sequence.trim(start, stop)
        self.members[:] = self.members[start:stop]

    @rule(start=PLACES, stop=PLACES)
    def slice(self, start: int, stop: int) -> None:
        assert self.sequence.slice(start, stop) == self.members[start:stop]

    @rule(start=st.integers(0, 20), back=st.integers(0, 20))
    def get_all_but_some(self, start: int, back: int) -> None:
        members = self.members[start : max(0, len(self.members) - back)]
        assert [self.sequence[position] for position in range(start, len(self.members) - back)] == members

    @rule(member=MEMBERS, limit=PLACES)
    def positions(self, member: bytes, limit: int) -> None:
        compared = limit or len(self.members)
        everywhere = [place for place, other in enumerate(self.members) if other == member]
        forward = [place for place in everywhere if place < compared]
        backward = [place for place in everywhere[::-1] if place >= len(self.members) - compared]
        assert list(self.sequence.positions(member, limit=limit)) == forward
        assert list(self.sequence.positions(member, backward=True, limit=limit)) == backward

    @rule(member=MEMBERS, count=st.integers(-5, 5))
    def remove(self, member: bytes, count: int) -> None:
        places = [place for place, other in enumerate(self.members) if other == member]
        places = places[:count] if count > 0 else places[count:]
        assert self.sequence.remove(member, count) == len(places)
        for place in reversed(places):
            del self.members[place]

    @rule()
    def fork(self) -> None:
        self.alive.append((self.sequence.fork(), self.members.copy()))

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
        for sequence, members in self.alive:
            check(sequence, members)


TestSequence = SequenceMachine.TestCase
TestSequence.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


def numbers(start: int, stop: int) -> list[bytes]:
    return [b"%d" % number for number in range(start, stop)]


def packed(sequence: Sequence) -> list[bool]:
    return [isinstance(run, bytes) for run in sequence.runs]


def test_runs_between_the_ends_are_packed_however_they_came() -> None:
    left, right = Small(), Small()
    for member in numbers(0, 80):
        right.push_right(member)
        left.push_left(member)
    at_once = Small(numbers(0, 80))
    assert packed(right) == packed(left) == packed(at_once) == [False, False, *[True] * 6, False, False]
    assert list(right) == list(at_once) == list(reversed(left)) == list(reversed(list(reversed(right))))


@pytest.mark.parametrize("member", [b"\0", b"a\0", b"l" * 2_000])
def test_members_that_are_long_or_have_a_nul_are_not_packed(member: bytes) -> None:
    sequence = Small([member] * 80)
    assert not any(packed(sequence))
    sequence = Small(numbers(0, 80))
    sequence.set(40, member)
    assert packed(sequence)[5] is False
    assert sequence[40] == member


def test_long_member_alone_in_its_run_stays() -> None:
    sequence = Small([b"l" * 2_000] * 80)
    for _ in range(7):
        sequence.delete(40)
    assert list(sequence) == [b"l" * 2_000] * 73
    assert sequence.sizes[5] == 1


@pytest.mark.parametrize("side", ["left", "right"])
def test_alternating_at_the_border_of_a_run_opens_and_packs_none(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    sequence = Small(numbers(0, 83))
    push = sequence.push_left if side == "left" else sequence.push_right
    pop = sequence.pop_left if side == "left" else sequence.pop_right
    # The run at the end is left with one member.
    while sequence.sizes[0 if side == "left" else -1] != 1:
        pop()
    monkeypatch.setattr(Sequence, "_open", lambda self, index: calls.append(index))
    before = list(map(id, sequence.runs))
    for _ in range(20):
        expected = [pop(), pop()]
        push(expected[1])
        push(expected[0])
    assert not calls
    middle = slice(1, None) if side == "left" else slice(None, -1)
    assert list(map(id, sequence.runs))[middle] == before[middle]


def test_queue_is_served_in_order_and_stays_packed() -> None:
    sequence = Small(numbers(0, 100))
    for number in range(300):
        sequence.push_right(b"%d" % (100 + number))
        assert sequence.pop_left() == b"%d" % number
        assert sum(packed(sequence)) >= len(sequence.runs) - 4


def test_an_empty_one_has_nothing() -> None:
    sequence = Small()
    for call in (
        sequence.pop_left,
        sequence.pop_right,
        lambda: sequence[0],
        lambda: sequence.set(0, b"a"),
        lambda: sequence.delete(0),
        lambda: sequence.insert(1, b"a"),
        lambda: sequence[-1],
    ):
        with pytest.raises(IndexError):
            call()
    assert sequence.slice(0, 9) == []
    assert not sequence
    assert sequence.size_bytes() > 0


def test_first_positions_are_found_without_those_behind() -> None:
    sequence = Small([b"a", b"b"] * 50)
    assert list(islice(sequence.positions(b"b"), 2)) == [1, 3]
    assert next(sequence.positions(b"a", backward=True)) == 98
    assert next(sequence.positions(b"c"), -1) == -1


def test_no_more_members_are_compared_than_wanted() -> None:
    sequence = Small([b"a"] * 40)
    for limit in range(1, 45):
        assert len(list(sequence.positions(b"a", limit=limit))) == min(limit, 40)
        assert len(list(sequence.positions(b"a", backward=True, limit=limit))) == min(limit, 40)


def test_runs_that_got_short_are_joined() -> None:
    sequence = Small(numbers(0, 400))
    for number in range(400):
        if number % 8:
            assert sequence.remove(b"%d" % number) == 1
    check(sequence, numbers(0, 400)[::8])
    assert len(sequence.runs) <= 25


def test_what_is_trimmed_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    put_off: list[list[object]] = []
    monkeypatch.setattr(lazyfree, "begun", lambda: True)
    monkeypatch.setattr(lazyfree, "free", lambda pages, contents: put_off.append([run for page in pages for run in page]))
    sequence = Small(numbers(0, 400))
    sequence.trim(101, 203)
    assert [len(pieces) for pieces in put_off] == [24, 12]
    assert list(sequence) == numbers(101, 203)
    sequence.trim(5, 5)
    assert len(put_off) == 3
    check(sequence, [])


def test_size_is_about_what_the_members_take() -> None:
    short, long = Sequence([b"m" * 10] * 100_000), Sequence([b"l" * 1_000] * 2_000)
    assert 11 * 100_000 < short.size_bytes() < 13 * 100_000
    assert 1_040 * 2_000 < long.size_bytes() < 1_060 * 2_000
    mixed = Sequence([b"l" * 1_000] * 300 + [b"m" * 10] * 100_000 + [b"l" * 1_000] * 300)
    assert 1_000_000 < mixed.size_bytes() < 2_500_000
