"""Leaves in both forms, for tests that run each on the same input; and what they leave allocated."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

# All leaves are declared where these are imported.
from kvserver._speedups import (
    ahead,
    blocks,
    chunks,
    crc64,
    listpacks,
    lzf,
    members,
    ordering,
    packed,
    packing,
    places,
    rdb_entries,
    rdb_packed,
    rdb_parts,
    rdb_strings,
    records,
    replies,
    requests,
    runs,
    sealing,
    stream_nodes,
    strings,
)
from kvserver._speedups.choice import TWINS, compiled

MODULES = (
    *(ahead, blocks, chunks, crc64, listpacks, lzf, members, ordering, packed, packing, places),
    *(rdb_entries, rdb_packed, rdb_parts, rdb_strings, records, replies, requests, runs, sealing, stream_nodes, strings),
)


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


# The last blocks that a call takes, each of which is withheld once; of those before, one of so many.
_LAST_BLOCKS = 16
_BLOCKS_BETWEEN = 11

State = TypeVar("State")


def each_end_of_memory(begin: Callable[[], tuple[State, Callable[[], Any]]]) -> Iterator[tuple[State, Any]]:
    """Yield what a call has made of its state, and what it has returned, for each number of blocks that memory has for it.

    `begin` gives a new state and the call. In place of a result stands None for MemoryError.
    """
    memory = pytest.importorskip("_testcapi")
    enough = 0
    while _called_with(memory, enough, begin())[2]:
        enough += _BLOCKS_BETWEEN
    assert enough, "the call took no memory"
    for most in (*range(0, enough, _BLOCKS_BETWEEN), *range(max(0, enough - _LAST_BLOCKS - _BLOCKS_BETWEEN), enough + 1)):
        state, found, _ = _called_with(memory, most, begin())
        yield state, found


def _called_with(memory: Any, blocks: int, begun: tuple[State, Callable[[], Any]]) -> tuple[State, Any, bool]:
    """The state, the result, and True if so many blocks of memory were too few."""
    state, call = begun
    found = None
    memory.set_nomemory(blocks, 0)
    try:
        found = call()
        # This fails if there is no memory left.
        is_short = False
        str(blocks + 1_000_000)
    except MemoryError:
        is_short = True
    finally:
        memory.remove_mem_hooks()
    return state, found, is_short


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
