"""Each key has its place in the shards, everybody is told the same one, and freeing takes small steps."""

from __future__ import annotations

import sys
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import pytest

from kvserver.data import shards as module
from kvserver.data.entries import Expiring
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import (
    ENTRIES_A_STEP,
    LAST_ENTRIES_A_STEP,
    LAST_SHARDS,
    SHARDS,
    Shard,
    drain,
    load_shards,
    new_shards,
    placing,
    plain_access,
    shard_of,
)
from kvserver.data.uses import Uses


def test_loaded_members_count_the_last_of_a_repeated_key() -> None:
    shards: list[Shard] = new_shards()
    members: list[tuple[bytes, Any]] = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    load_shards(shards, members)
    keyspace = Keyspace(lambda: 0)
    keyspace.replace(shards)
    assert dict(keyspace.members()) == {b"a": b"3", b"b": b"2"}


def place(shards: list[Shard], key: bytes) -> int:
    """The index of the one shard that holds a key."""
    (found,) = [index for index, shard in enumerate(shards) if key in shard]
    return found


def test_all_agree_which_shard_holds_a_key() -> None:
    check_places(SHARDS, hash)


@pytest.mark.patches_compiled
@pytest.mark.parametrize("count", [SHARDS, 7, 1])
def test_all_agree_also_where_tests_choose_how_many_shards_there_are_or_by_which_hash(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(module, "SHARDS", count)
    monkeypatch.setattr(module, "hash", zlib.crc32, raising=False)
    check_places(count, zlib.crc32)


def check_places(count: int, by_hash: Callable[[bytes], int]) -> None:
    for key in (b"", b"k", b"key", b"\xff" * 100):
        wanted = by_hash(key) % count
        loaded, written = new_shards(), new_shards()
        assert len(loaded) == count
        load_shards(loaded, [(key, b"v")])
        access = plain_access(written, Uses(len(written), 0))
        access.set(key, b"v")
        digest, of = placing()
        assert (shard_of(key), digest(key) % of, place(loaded, key), place(written, key)) == (wanted,) * 4
        assert access.get(key) == b"v"
        keyspace = Keyspace(lambda: 0)
        keyspace.set(key, b"v")
        cut = keyspace.cut()
        assert (cut.lookup(key), place(cut.shards, key)) == (b"v", wanted)
        keyspace.set_expiring(key, b"w", 1)
        assert keyspace.get(key) == keyspace.layers[1][wanted][key]
        assert [index for index in range(keyspace.shard_count) if keyspace.deadlines.may_be_in(index)] == [wanted]


def test_plain_access_replaces_and_removes() -> None:
    shards = new_shards()
    access = plain_access(shards, Uses(len(shards), 0))
    access.set(b"k", b"1")
    access.set(b"k", b"2")
    assert access.get(b"k") == b"2"
    assert access.delete(b"k")
    assert not access.delete(b"k")
    assert access.get(b"k") is None


def test_drain_frees_some_entries_a_step_and_few_of_the_last_shards() -> None:
    sizes = [ENTRIES_A_STEP + 3, 0, 5, 1, LAST_ENTRIES_A_STEP, 2 * ENTRIES_A_STEP + 1, 0, 7]
    shards: list[Shard] = [{b"%d" % number: b"" for number in range(size)} for size in sizes]
    whole = list(shards)
    left = [sum(map(len, whole)) for _ in drain(shards)]
    # Three steps have more than one entry, of which they keep one.
    kept = sum(map(bool, sizes)) + 3
    assert left[-kept - 1 :] == [0] * (kept + 1), "a step frees a table, or an entry that was kept, when no other is left"
    del left[-kept:]
    steps = [before - after for before, after in pairwise([sum(sizes), *left])]
    last = [size for size in sizes[:LAST_SHARDS] if size]
    count = len(steps) - sum(-(-size // LAST_ENTRIES_A_STEP) for size in last)
    assert steps[:count] == [7, ENTRIES_A_STEP, ENTRIES_A_STEP, 1, LAST_ENTRIES_A_STEP]
    assert sum(steps[count:]) == sum(last)
    assert max(steps[count:]) <= LAST_ENTRIES_A_STEP
    assert left[-1] == 0
    assert not shards


class Value:
    """A value that tells when it goes."""

    gone: ClassVar[list[int]] = []

    def __del__(self) -> None:
        self.gone.append(id(self))


def test_drain_frees_an_entry_of_each_step_at_the_end_from_the_last_one_in_memory_on() -> None:
    """Else one step might give back all of the memory before it."""
    shards: list[Shard] = [{} for _ in range(LAST_SHARDS)]
    shards += [{b"%d" % number: Value() for number in range(3 * ENTRIES_A_STEP)} for _ in range(4)]
    shards += [{b"%d" % number: Expiring(Value(), 1) for number in range(ENTRIES_A_STEP)}]
    gone: list[int] = []
    for _ in drain(shards):
        gone.append(len(Value.gone))
    steps, tables = 4 * 3 + 1, 4 + 1
    assert gone[:steps] == [(ENTRIES_A_STEP - 1) * (number + 1) for number in range(steps)]
    assert Value.gone[-steps:] == sorted(Value.gone[-steps:], reverse=True)
    assert len(gone) == steps + steps + tables


def test_step_of_a_drain_has_the_allocator_put_in_order_what_it_has_freed() -> None:
    """It does so when it is asked for a large block. Else one step does it for many."""
    steps = drain([{b"%d" % number: b"" for number in range(1_000)} for _ in range(LAST_SHARDS + 2)])
    peaks = []
    tracemalloc.start()
    try:
        for _ in range(2 * (1_000 // ENTRIES_A_STEP)):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            next(steps)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert min(peaks) > 50_000


def test_drain_frees_the_tables_from_the_last_one_in_memory_on(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [30, 10, 50, 20, 40]
    shards: list[Shard] = [{b"%d" % number: b""} for number in places]
    monkeypatch.setattr(module, "table_place", lambda shard: int(next(iter(shard))))
    whole = list(shards)
    held = list(map(sys.getrefcount, whole))
    freed: list[int] = []
    for _ in drain(shards):
        # In place of the list of shards, that of tables holds each of them.
        gone = [place for place, now, before in zip(places, map(sys.getrefcount, whole), held, strict=True) if now < before]
        freed += [place for place in gone if not shards and place not in freed]
    assert freed == sorted(places, reverse=True)
