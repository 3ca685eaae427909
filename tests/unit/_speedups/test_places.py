"""Both forms find what stands at some places of a dict, also where keys were removed before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups.choice import IS_COMPILED
from kvserver._speedups.places import items_between, keys_between, take_items


@given(
    st.dictionaries(st.binary(max_size=3), st.integers(), max_size=30),
    st.sets(st.integers(0, 30)),
    st.integers(0, 32),
    st.integers(0, 32),
)
def test_places_are_counted_among_the_keys_that_are_left(
    shard: dict[bytes, int], removed: set[int], start: int, stop: int
) -> None:
    for key in [key for number, key in enumerate(shard) if number in removed]:
        del shard[key]
    assert same("keys_between", shard, start, stop) == list(shard)[start:stop]
    assert same("items_between", shard, start, stop) == list(shard.items())[start:stop]


@given(
    st.lists(st.dictionaries(st.binary(max_size=3), st.integers(), max_size=9), min_size=1, max_size=6),
    st.lists(st.integers(0, 4), min_size=12, max_size=12),
    st.integers(1, 7),
)
def test_items_are_taken_behind_those_that_were_taken_before(
    shards: list[dict[bytes, int]], shares: list[int], most: int
) -> None:
    """Each shard has a first and a second share, and the shares of all come one after the other, some at a time."""
    expected: list[list[tuple[bytes, int]]] = [[], []]
    all_counts = []
    for shard, first, second in zip(shards, shares[::2], shares[1::2], strict=False):
        items = list(shard.items())
        expected[0] += items[:first]
        expected[1] += items[first : first + second]
        # No more is asked for than there is.
        all_counts.append([len(items[:first]), len(items[first : first + second])])
    for form in forms("take_items").values():
        places: list[Any] = [None] * len(shards)
        counts = [each.copy() for each in all_counts]
        for number in (0, 1):
            found: list[tuple[bytes, int]] = []
            index = 0
            while index < len(shards):
                keys, values, index = form(shards, places, counts, number, index, most)
                assert len(keys) <= most
                found += zip(keys, values, strict=True)
            assert found == expected[number]
        assert counts == [[0, 0]] * len(shards)


@each_form("take_items")
def test_taken_items_are_not_held(leaf: Callable[..., Any]) -> None:
    shards = [{b"key:%d" % number: object() for number in range(20)} for _ in range(3)]
    assert_frees_all(lambda: leaf(shards, [None] * 3, [[9], [0], [9]], 0, 0, 12), *shards, *shards[0], *shards[2].values())


@each_form("keys_between")
def test_keys_are_not_held(leaf: Callable[..., Any]) -> None:
    shard = {b"key:%d" % number: object() for number in range(50)}
    assert_frees_all(lambda: leaf(shard, 10, 40), shard, *shard)


@each_form("items_between")
def test_items_are_not_held(leaf: Callable[..., Any]) -> None:
    shard = {b"key:%d" % number: object() for number in range(50)}
    assert_frees_all(lambda: leaf(shard, 10, 40), shard, *shard, *shard.values())


@pytest.mark.skipif(not IS_COMPILED, reason="there is no form in C")
@pytest.mark.parametrize("arguments", [(), ([], 0, 1), ({}, 0), ({}, None, 1), ({}, 0, b"1")])
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...]) -> None:
    for leaf in (keys_between, items_between):
        with pytest.raises(TypeError):
            leaf(*arguments)


@pytest.mark.skipif(not IS_COMPILED, reason="there is no form in C")
@pytest.mark.parametrize(
    "arguments",
    [(), ([{}], [None], [[1]], 0, 0), ([[]], [None], [[1]], 0, 0, 1), ([{}], [], [[1]], 0, 0, 1), ([{}], [None], [1], 0, 0, 1),
     ([{}], [None], [[1]], 1, 0, 1), ([{}], [None], [[1]], 0, -1, 1), ([{}], [None], [[1]], 0, 0, 0),
     ([{}], ["x"], [[1]], 0, 0, 1), ([{}], [None], [["x"]], 0, 0, 1), ([{}], [None], [[1]], 0, 0, 2**62)],
)  # fmt: skip
def test_wrong_shares_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        take_items(*arguments)
