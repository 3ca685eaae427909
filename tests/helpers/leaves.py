"""Leaves in both forms, for tests that run each on the same input; and what they leave allocated."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

# All leaves are declared where these are imported.
from kvserver._speedups import ahead, members, ordering, packed, packing, places, records, replies, requests, runs, strings
from kvserver._speedups.choice import TWINS, compiled

MODULES = (ahead, members, ordering, packed, packing, places, records, replies, requests, runs, strings)


def forms(name: str) -> dict[str, Callable[..., Any]]:
    """The twin of a leaf, and its form in C where there is one, by what they are."""
    found: dict[str, Callable[..., Any]] = {"pure": TWINS[name]}
    if hasattr(compiled, name):
        found["compiled"] = getattr(compiled, name)
    return found


def each_form(name: str) -> pytest.MarkDecorator:
    """Runs a test with each form of a leaf, as its argument `leaf`."""
    found = forms(name)
    return pytest.mark.parametrize("leaf", found.values(), ids=found)


def same(name: str, *arguments: Any) -> Any:
    """What all forms of a leaf return for these arguments, which they don't change."""
    results = [form(*arguments) for form in forms(name).values()]
    assert all(result == results[0] for result in results), results
    return results[0]


def assert_frees_all(call: Callable[[], object], *held: object) -> None:
    """Call it a thousand times: what it allocates is freed, and nobody refers more often to the objects that are `held`."""
    # Lists of free objects and caches are filled first.
    for _ in range(100):
        call()
    gc.collect()
    counts, growth = [sys.getrefcount(each) for each in held], []
    # Other threads of the process allocate now and then. What leaks does so each time.
    for _ in range(5):
        blocks = sys.getallocatedblocks()
        for _ in range(1_000):
            call()
        gc.collect()
        growth.append(sys.getallocatedblocks() - blocks)
    assert min(growth) < 100, growth
    assert [sys.getrefcount(each) for each in held] == counts
