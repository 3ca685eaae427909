"""The directory finds what its sizes say, whatever was asked for before, and lets go of runs later."""

from __future__ import annotations

import gc
from array import array
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvserver.containers import lazyfree
from kvserver.containers.ordered import Ordered
from kvserver.containers.pages import PAGE
from kvserver.containers.runs import Runs
from kvserver.containers.sequence import Sequence


class Plain(Runs[list[int]]):
    """A directory of lists, in groups of two."""

    GROUP_BITS = 1

    def __init__(self, sizes: list[int]) -> None:
        super().__init__([], object())
        self.runs = [[0] * size for size in sizes]
        self.sizes = array("i", sizes)
        self.count = sum(sizes)

    def resize(self, index: int, by: int) -> None:
        self._resize(index, by)

    def insert(self, index: int, size: int) -> None:
        self._insert(index, [0] * size, size)
        self.count += size

    def remove(self, index: int) -> None:
        self.count -= self.sizes[index]
        self._remove(index)

    def drop(self, start: int, stop: int) -> None:
        self._drop(start, stop)


def check(runs: Plain, asked: int) -> None:
    """Everything is found from some position on, so that some groups have no sum yet."""
    places = [(index, place) for index, size in enumerate(runs.sizes) for place in range(size)]
    assert len(runs) == len(places)
    assert [runs.locate(position) for position in range(asked, len(places))] == places[asked:]
    for index in range(min(asked, len(runs.sizes)), len(runs.sizes)):
        assert runs.before(index) == sum(runs.sizes[:index])
    assert len(runs.groups) <= (len(runs.sizes) - 1) // 2
    assert runs.groups == [sum(runs.sizes[2 * group : 2 * group + 2]) for group in range(len(runs.groups))]


KINDS = st.sampled_from(["resize", "insert", "remove", "drop"])
STEPS = st.tuples(KINDS, st.integers(0, 99), st.integers(1, 3), st.integers(0, 9))


@settings(max_examples=60)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=9), st.lists(STEPS, max_size=12))
def test_positions_are_found_after_any_change(sizes: list[int], steps: list[tuple[str, int, int, int]]) -> None:
    runs = Plain(sizes)
    check(runs, 0)
    for step, number, size, asked in steps:
        index = number % len(runs.sizes)
        if step == "resize":
            runs.resize(index, size)
        elif step == "insert":
            runs.insert(number % (len(runs.sizes) + 1), size)
        elif len(runs.sizes) > size:
            start = min(index, len(runs.sizes) - size)
            runs.remove(index) if step == "remove" else runs.drop(start, start + size)
        check(runs, asked)


def test_every_position_is_found_in_many_groups() -> None:
    for count in (127, 128, 129, 140, 200):
        check(Plain([1, 2] * (count // 2) + [3] * (count % 2)), 0)


def test_position_behind_the_last_member_is_in_the_last_run() -> None:
    assert Plain([2, 3]).locate(5) == (1, 3)
    assert Plain([0]).locate(0) == (0, 0)


def test_fork_copies_the_directory_alone() -> None:
    runs = Plain([1, 2, 3])
    token = runs.token
    fork = runs.fork()
    assert len({id(token), id(runs.token), id(fork.token)}) == 3
    assert all(mine is its for mine, its in zip(runs.runs, fork.runs, strict=True))
    runs.remove(1)
    runs.resize(0, 5)
    assert (list(fork.sizes), len(fork)) == ([1, 2, 3], 6)
    check(fork, 0)


def test_runs_that_are_dropped_are_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[list[object]] = []
    monkeypatch.setattr(lazyfree, "begun", lambda: True)
    monkeypatch.setattr(lazyfree, "free", lambda pages, contents: pieces.append([run for page in pages for run in page]))
    runs = Plain([1, 2, 3, 4])
    all_runs = runs.runs
    middle = all_runs[1:3]
    runs.drop(1, 3)
    runs.drop(1, 1)
    assert pieces == [middle]
    del runs
    assert pieces[1] == all_runs
    assert Plain([1])
    assert len(pieces) == 2


@pytest.mark.parametrize("kind", [Sequence, Ordered])
def test_fork_of_many_runs_and_the_first_write_behind_it_copy_few_references(kind: type[Sequence] | type[Ordered]) -> None:
    names = [b"%06d" % number for number in range(20_000)]
    with mock.patch.object(kind, "LOAD", 4):
        if kind is Sequence:
            row: Sequence | Ordered = Sequence(names)
        else:
            row = Ordered()
            row.load(names, list(map(float, range(len(names)))))
        assert len(row.runs) > Runs.MOST_FLAT
        gc.disable()
        gc.freeze()
        try:
            fork = row.fork()
            if isinstance(fork, Sequence):
                fork.set(10_000, b"changed")
            else:
                fork.move(10_000.0, names[10_000], 10_000.5)
            copied = sum(len(each) for each in gc.get_objects(generation=0) if type(each) in (list, tuple))
        finally:
            gc.enable()
    # A page, and the list of all pages.
    assert copied < 4 * PAGE
    assert list(row) != list(fork)
