"""Both forms find what stands at some places of a dict, also where keys were removed before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, same
from kvserver._speedups.choice import IS_COMPILED
from kvserver._speedups.places import items_between, keys_between


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
