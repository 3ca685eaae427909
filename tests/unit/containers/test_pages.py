"""A row of pages does what a list does, and neither side of a fork sees what the other changes."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.containers import pages as module
from kvserver.containers.pages import PAGE, Pages

STEPS = st.tuples(st.sampled_from(["set", "insert", "delete", "cut", "fork"]), st.integers(0, 99), st.integers(0, 99))


def same(row: Pages[int], expected: list[int]) -> bool:
    count = len(expected)
    return (
        len(row) == count
        and list(row) == expected
        and list(reversed(row)) == expected[::-1]
        and [row[index] for index in range(-count, count)] == expected * 2
        and all(row[start:stop] == expected[start:stop] for start in (0, 3, count) for stop in (start, start + 4, count))
        and [item for page in row.pages(1, count - 1) for item in page] == expected[1:-1]
    )


@pytest.mark.patches_compiled
@given(st.integers(1, 20), st.lists(STEPS, max_size=30))
def test_each_fork_is_like_a_list_of_its_own(count: int, steps: list[tuple[str, int, int]]) -> None:
    with mock.patch.object(module, "PAGE", 3):
        forks: list[tuple[Pages[int], list[int]]] = [(Pages(range(count)), list(range(count)))]
        for number, (step, first, second) in enumerate(steps):
            row, expected = forks[first % len(forks)]
            index = second % len(expected)
            if step == "set":
                row[index] = expected[index] = -number
            elif step == "insert":
                index = second % (len(expected) + 1)
                row.insert(index, -number)
                expected.insert(index, -number)
            elif step == "fork":
                forks.append((row.copy(), expected.copy()))
            elif step == "delete" and len(expected) > 1:
                del row[index], expected[index]
            elif step == "cut" and index:
                del row[index - index // 2 : index], expected[index - index // 2 : index]
            assert all(same(each, its) for each, its in forks)


@pytest.mark.parametrize("index", [3, -4])
def test_places_that_are_not_there_are_refused(index: int) -> None:
    row = Pages([1, 2, 3])
    with pytest.raises(IndexError):
        row[index]
    with pytest.raises(IndexError):
        row[index] = 1


def test_fork_touches_no_object_and_a_write_the_page_of_its_place() -> None:
    objects: list[Any] = [object() for _ in range(100 * PAGE)]
    row = Pages(objects)
    fork = row.copy()
    assert all(mine is its for mine, its in zip(row.pages(0, len(row)), fork.pages(0, len(row)), strict=True))
    fork[PAGE] = None
    shared = [mine is its for mine, its in zip(row.pages(0, len(row)), fork.pages(0, len(row)), strict=True)]
    assert shared.count(False) == 1
