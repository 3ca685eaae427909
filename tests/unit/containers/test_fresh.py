"""Who makes lists of members notes them, so that the garbage collector never finds many that it has not seen."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator

import pytest

from kvserver.containers import fresh
from kvserver.containers.ordered import Ordered
from kvserver.containers.sequence import Sequence
from kvserver.containers.times import Times
from kvserver.formats.nameorder import by_name

MEMBERS = 40_000
# A run that is filled is noted when it is full, and some lists are on their way to become one.
SLACK = fresh.MOST_MEMBERS


def members(count: int = MEMBERS) -> list[bytes]:
    return [b"member:%06d" % number for number in range(count)]


def grow_at_random() -> object:
    ordered, choice = Ordered(), random.Random(1)
    for member in members():
        ordered.add(choice.random(), member)
    return ordered


def grow_at_the_end() -> object:
    times = Times()
    for number, member in enumerate(members()):
        times.set(member, number)
    return times


def load() -> object:
    ordered = Ordered()
    names = members()
    for start in range(0, MEMBERS, 500):
        ordered.load(names[start : start + 500], [float(number) for number in range(start, start + 500)])
    return ordered


def write_behind_a_fork() -> object:
    ordered = Ordered()
    ordered.load(members(), list(map(float, range(MEMBERS))))
    fork = ordered.fork()
    for number, member in enumerate(members()):
        ordered.move(float(number), member, number + 0.5)
    return fork, ordered


def push_long_members() -> object:
    sequence = Sequence()
    for member in members():
        sequence.push_right(member * 20)
    return sequence


def insert_in_the_middle() -> object:
    sequence = Sequence(member * 20 for member in members(MEMBERS // 4))
    for number in range(0, len(sequence), 256):
        sequence.insert(number, b"x")
    return sequence


def sort() -> object:
    names = members()
    random.Random(1).shuffle(names)
    return list(by_name(names[start : start + 128] for start in range(0, MEMBERS, 128)))


def lists_not_seen() -> list[list[object] | tuple[object, ...]]:
    """The lists that the collector has not looked through. The test's own are longer than those of containers."""
    return [each for each in gc.get_objects(generation=0) if type(each) in (list, tuple) and len(each) < MEMBERS // 10]


@pytest.fixture
def noted() -> Iterator[list[int]]:
    """For each time at which all was put away the number of members in lists that the collector had not seen before."""
    seen: list[int] = []

    def put_away() -> None:
        seen.append(sum(len(each) for each in lists_not_seen()))
        gc.freeze()

    was_enabled = gc.isenabled()
    gc.disable()
    fresh.begin(put_away)
    gc.freeze()
    yield seen
    fresh.end()
    if was_enabled:
        gc.enable()


@pytest.mark.parametrize(
    "act", [grow_at_random, grow_at_the_end, load, write_behind_a_fork, push_long_members, insert_in_the_middle, sort]
)
def test_new_lists_are_put_away_before_they_have_many_members(act: Callable[[], object], noted: list[int]) -> None:
    kept = act()
    assert noted
    assert max(noted) <= fresh.MOST_MEMBERS + SLACK
    assert sum(map(len, lists_not_seen())) <= fresh.MOST_MEMBERS + SLACK
    assert kept


def test_nothing_happens_without_a_server() -> None:
    before = gc.get_freeze_count()
    fresh.note(2 * fresh.MOST_MEMBERS)
    assert gc.get_freeze_count() == before


def test_one_of_several_servers_puts_away() -> None:
    calls: list[str] = []
    fresh.begin(lambda: calls.append("first"))
    fresh.begin(lambda: calls.append("second"))
    fresh.note(fresh.MOST_MEMBERS + 1)
    fresh.end()
    fresh.note(fresh.MOST_MEMBERS)
    fresh.note(1)
    fresh.end()
    assert calls == ["second", "first"]
