"""The first of many in order: the least keys, and equal ones as Redis leaves them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvserver.types.sorted_set import partial_sort
from kvserver.types.sorted_set.partial_sort import order_of

few_different = st.lists(st.integers(0, 5).map(float), max_size=150)


@settings(max_examples=40)
@given(few_different, st.integers(0, 160))
def test_least_keys_come_in_order_and_no_place_twice(keys: list[float], count: int) -> None:
    order = order_of(keys, count)
    assert [keys[place] for place in order] == sorted(keys)[:count]
    assert len(set(order)) == len(order)


@settings(max_examples=40)
@given(few_different)
def test_all_keys_are_sorted_stably(keys: list[float]) -> None:
    assert order_of(keys, len(keys)) == sorted(range(len(keys)), key=keys.__getitem__)


@settings(max_examples=40)
@given(st.lists(st.floats(allow_nan=False), unique=True), st.integers(0, 50))
def test_different_keys_have_one_order(keys: list[float], count: int) -> None:
    assert order_of(keys, count) == sorted(range(len(keys)), key=keys.__getitem__)[:count]


@pytest.mark.parametrize(
    ("keys", "count", "order"),
    [
        # Few are inserted, which is stable.
        ([0.0] * 6, 3, [0, 1, 2]),
        # The pivot, in the middle, changes places with the first one.
        ([0.0] * 7, 3, [3, 1, 2]),
        # As redis-server 7.0.15 has answered.
        ([4, 5, 5, 5, 3, 0, 2, 1, 1, 2, 2, 4], 5, [5, 8, 7, 6, 10]),
        ([3, 3, 4, 4, 4, 5, 2, 0, 1, 5, 3, 1], 4, [7, 11, 8, 6]),
        (
            [
                *(1, 1, 0, 0, 0, 2, 2, 2, 3, 5, 5, 5, 6, 6, 5, 6, 6, 6, 3, 0, 0, 0),
                *[2] * 10,
                *[4] * 5,
                6,
                6,
                *[4] * 3,
                *[2] * 3,
            ],
            5,
            [2, 20, 19, 3, 4],
        ),
    ],
)
def test_equal_keys_come_as_redis_has_them(keys: list[float], count: int, order: list[int]) -> None:
    assert order_of(keys, count) == order


def test_keys_in_a_hostile_order_are_sorted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_sort, "_DEPTH", 0)
    keys = [float(number % 7) for number in range(100)]
    assert [keys[place] for place in order_of(keys, 20)] == sorted(keys)[:20]
