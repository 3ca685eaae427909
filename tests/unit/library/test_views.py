"""The views give what the mapping has at the time, and know what is among it."""

from __future__ import annotations

from typing import Any

from kvserver.library.views import Items, Values


def test_views_give_the_pairs_of_the_moment() -> None:
    mapping: dict[str, Any] = {"a": 1, "b": [float("nan")]}
    items = Items(mapping, lambda: iter(mapping.items()))
    values = Values(mapping, lambda: iter(mapping.items()))
    assert list(items) == list(mapping.items())
    assert list(values) == list(mapping.values())
    assert ("a", 1) in items
    assert ("a", 2) not in items
    assert 1 in values
    assert mapping["b"] in values
    assert 2 not in values
    del mapping["a"]
    assert (len(items), len(values), list(items)) == (1, 1, [("b", mapping["b"])])
    assert 1 not in values
