"""Fetching ahead changes nothing and answers nothing, whatever it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form
from kvserver._speedups.ahead import FETCHES_AHEAD
from kvserver._speedups.choice import compiled

Fetch = Callable[..., None]
KEYS = [b"key:%d" % number for number in range(3_000)]


class Odd:
    """Something that is no bytes."""


def shards_of(count: int, keys: list[bytes]) -> list[dict[bytes, Any]]:
    shards: list[dict[bytes, Any]] = [{} for _ in range(count)]
    for key in keys:
        shards[hash(key) % count][key] = key * 3
    return shards


@each_form("fetch_ahead")
@pytest.mark.parametrize("count", [1, 7, 1021])
def test_dicts_of_every_size_stay_as_they_are(leaf: Fetch, count: int) -> None:
    for size in (0, 1, 5, 6, 100, 300, len(KEYS)):
        shards, places = shards_of(count, KEYS[:size]), [0] * (64 * count)
        # Removed keys leave marks in a dict's index.
        for key in KEYS[: size // 3]:
            del shards[hash(key) % count][key]
        before = [dict(shard) for shard in shards]
        leaf(shards, places, [[b"GET", key] for key in KEYS] + [[b"PING"], [], [b"MGET", *KEYS]])
        assert shards == before
        assert not any(places)


@each_form("fetch_ahead")
def test_odd_shards_and_requests_are_left_out(leaf: Fetch) -> None:
    named = {"a": 1}
    shards: list[Any] = [named, vars(Odd()), Odd(), None, {1: 2, (): 3}, {}]
    requests: list[Any] = [
        *([b"GET", b"%d" % number] for number in range(100)),
        [b"GET", "text"],
        [b"GET", None],
        (b"GET", b"k"),
        None,
        7,
    ]
    assert leaf(shards, [], requests) is None  # type: ignore[func-returns-value]
    assert leaf([], [1], requests) is None  # type: ignore[func-returns-value]
    assert named == {"a": 1}


@each_form("fetch_ahead")
@settings(max_examples=40)
@given(
    st.lists(st.dictionaries(st.binary(max_size=4), st.none(), max_size=20), max_size=3),
    st.lists(st.lists(st.binary(max_size=4))),
)
def test_nothing_is_changed(leaf: Fetch, shards: list[dict[bytes, Any]], requests: list[list[bytes]]) -> None:
    before = [dict(shard) for shard in shards]
    leaf(shards, [0] * 5, requests)
    assert shards == before


@each_form("fetch_ahead")
def test_all_is_freed(leaf: Fetch) -> None:
    shards, places, requests = shards_of(7, KEYS), [0] * 70, [[b"GET", key] for key in KEYS[:200]]
    assert_frees_all(lambda: leaf(shards, places, requests), shards, places, requests, requests[0], requests[0][1], *shards)


@pytest.mark.skipif(not FETCHES_AHEAD, reason="there is no form in C")
@pytest.mark.parametrize("arguments", [(), ([],), ([], [], []) * 2, ((), [], []), ([], (), []), ([], [], ())])
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...]) -> None:
    assert compiled
    with pytest.raises(TypeError):
        compiled.fetch_ahead(*arguments)
