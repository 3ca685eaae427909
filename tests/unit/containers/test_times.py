"""Times of members, against a dict, and independent of their forks."""

from __future__ import annotations

import random

import pytest

from kvserver.containers import times
from kvserver.containers.times import MOST_IN_DICT, Times


def contents(some: Times) -> dict[bytes, int]:
    found = dict(some.items())
    assert len(some) == len(found)
    assert some.earliest == min(found.values(), default=None)
    return found


@pytest.mark.patches_compiled
@pytest.mark.parametrize("seed", range(6))
def test_times_are_a_dict_whatever_happens(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(times, "MOST_IN_DICT", (0, 5, 64)[seed % 3])
    rng, some, model = random.Random(seed), Times(), dict[bytes, int]()
    forks: list[tuple[Times, dict[bytes, int]]] = []
    for step in range(600):
        member, time = b"%d" % rng.randrange(40), rng.randrange(100)
        match rng.randrange(6):
            case 0 | 1 | 2:
                some.set(member, time)
                model[member] = time
            case 3:
                assert some.discard(member) == (model.pop(member, None) is not None), f"seed {seed}, step {step}"
            case 4:
                most = rng.choice((1, 3, 100))
                due = some.take_due(time // 4, most)
                assert len(due) == min(most, sum(each <= time // 4 for each in model.values())), f"seed {seed}, step {step}"
                assert all(model.pop(each) <= time // 4 for each in due)
            case _ if step % 10 == 0:
                forks.append((some.fork(), dict(model)))
        assert contents(some) == model, f"seed {seed}, step {step}"
        assert some.get(member) == model.get(member)
    assert all(contents(fork) == before for fork, before in forks)


@pytest.mark.parametrize("count", [0, 1, MOST_IN_DICT, MOST_IN_DICT + 1, 1_000])
def test_times_may_begin_with_some(count: int) -> None:
    given = {b"%d" % number: number * 7_919 % 1_009 for number in range(count)}
    some, grown = Times(given), Times()
    for member, time in given.items():
        grown.set(member, time)
    assert contents(some) == contents(grown) == given
    some.set(b"0", 5_000)
    assert count == 0 or given[b"0"] == 0
    assert sorted(some.take_due(500, count)) == sorted(member for member in grown.take_due(500, count) if member != b"0")


def test_great_times_are_exact() -> None:
    some = Times()
    for number in range(MOST_IN_DICT + 1):
        some.set(b"%d" % number, 2**53 - number)
    assert some.earliest == 2**53 - MOST_IN_DICT
    assert some.take_due(2**53, 1) == [b"%d" % MOST_IN_DICT]


def test_size_grows_with_the_members() -> None:
    some, sizes = Times(), []
    for number in range(200):
        some.set(b"%d" % number, number)
        sizes.append(some.size_bytes())
    assert 0 < sizes[0] < sizes[60] < sizes[199]


@pytest.mark.parametrize("count", [5, 500])
def test_those_that_are_due_are_counted(count: int) -> None:
    made = Times()
    assert made.count_due(9) == 0
    for number in range(count):
        made.set(b"%d" % number, number // 2)
    assert [made.count_due(now) for now in (-1, 0, 1, count)] == [0, 2, 4, count]
