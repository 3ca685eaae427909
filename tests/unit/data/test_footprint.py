"""The running count of a footprint is what the entries add up to, and what Python says of its objects."""

from __future__ import annotations

import random
import sys
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from helpers.keyspaces import KeyspaceMachine
from helpers.small_chunks import divide_small_collections
from kvserver.data.entries import Expiring
from kvserver.data.footprint import EMPTY_BYTES, KEYS_A_STEP, Footprint, entry_bytes
from kvserver.data.keyspace import ESTIMATE_ENTRIES, Keyspace
from kvserver.data.shards import SHARDS, Access, Shard, load_shards, new_shards
from kvserver.formats.codec import JSONText


class Counting:
    """The witness that a footprint is part of."""

    def __init__(self, footprint: Footprint) -> None:
        self.footprint = footprint

    def wrap(self, plain: Access) -> Access:
        return self.footprint.wrap(plain)

    def restart(self) -> list[Shard]:
        self.footprint.restart()
        return []


class FootprintMachine(KeyspaceMachine):
    """Everything that can happen to a keyspace, counted."""

    def __init__(self) -> None:
        super().__init__()
        self.footprint = Footprint(self.keyspace)
        self.keyspace.attend(Counting(self.footprint))

    @rule(shards=st.sampled_from([1, 10**9]))
    def measure(self, shards: int) -> None:
        for _ in range(shards):
            if self.footprint.is_measured:
                break
            self.footprint.measure()

    @invariant()
    def count_is_the_sum(self) -> None:
        total = EMPTY_BYTES + sum(entry_bytes(key, entry) for key, entry in self.keyspace.members())
        assert EMPTY_BYTES <= self.footprint.used_bytes <= total
        if self.footprint.is_measured:
            assert self.footprint.used_bytes == total
        assert self.footprint.estimate_bytes() == total  # of so few keys all are looked at


@pytest.mark.parametrize(("shards", "keys"), [(3, 512), (3, 1), (1, 2)])
def test_count_is_the_sum_of_all_entries_whatever_happens(monkeypatch: pytest.MonkeyPatch, shards: int, keys: int) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", shards)
    monkeypatch.setattr("kvserver.data.footprint.KEYS_A_STEP", keys)
    divide_small_collections(monkeypatch)
    monkeypatch.setattr(Footprint, "restart", Footprint.forget)  # so few would be measured at once
    run_state_machine_as_test(
        FootprintMachine,
        settings=settings(max_examples=150, stateful_step_count=40, report_multiple_bugs=False),
    )


@pytest.mark.parametrize("length", [0, 1, 14, 15, 16, 31, 32, 100, 1_000])
def test_string_takes_what_python_says_in_whole_blocks(length: int) -> None:
    blocks = -(-sys.getsizeof(b"x" * length) // 16) * 16
    assert entry_bytes(b"", b"x" * length) - entry_bytes(b"", b"") == blocks - 48
    assert entry_bytes(b"x" * length, b"") - entry_bytes(b"", b"") == blocks - 48
    assert entry_bytes(b"", JSONText(b"1" * length)) == entry_bytes(b"", b"1" * length)


def test_expiry_takes_its_object_and_its_time() -> None:
    entries: list[Expiring | None] = [None] * 10_000
    tracemalloc.start()
    try:
        for number in range(len(entries)):
            entries[number] = Expiring(b"v", 1_700_000_000_000 + number)
        taken = tracemalloc.get_traced_memory()[0] / len(entries)
    finally:
        tracemalloc.stop()
    assert abs(entry_bytes(b"k", Expiring(b"v", 1)) - entry_bytes(b"k", b"v") - taken) <= 24


def test_few_keys_are_measured_at_once_and_many_in_steps() -> None:
    keyspace = Keyspace(lambda: 0)
    footprint = Footprint(keyspace)
    keyspace.set(b"k", b"v")
    footprint.restart()
    assert footprint.is_measured
    assert footprint.used_bytes == EMPTY_BYTES + entry_bytes(b"k", b"v")
    for number in range(20_000):
        keyspace.set(b"%d" % number, b"v")
    footprint.restart()
    assert not footprint.is_measured


@pytest.mark.patches_compiled
def test_step_counts_some_keys_however_many_a_shard_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 1)
    keyspace = Keyspace(lambda: 0)
    footprint = Footprint(keyspace)
    for number in range(5_000):
        keyspace.set(b"%04d" % number, b"v")
    footprint.restart()
    used = [footprint.used_bytes]
    while not footprint.is_measured:
        footprint.measure()
        used.append(footprint.used_bytes)
    each = entry_bytes(b"0000", b"v")
    assert used[-1] == EMPTY_BYTES + 5_000 * each
    assert max(after - before for before, after in pairwise(used)) == KEYS_A_STEP * each


def test_estimate_takes_few_keys_of_a_big_shard_from_all_over_it() -> None:
    """The first half of the keys, which stand in front, are small."""
    keyspace, count = Keyspace(lambda: 0), 200 * SHARDS
    for number in range(count):
        keyspace.set(b"%d" % number, b"v" if number < count // 2 else b"v" * 500)
    pieces = list(map(len, keyspace.sample()))
    assert max(pieces) < 150
    assert ESTIMATE_ENTRIES <= sum(pieces) < ESTIMATE_ENTRIES + 150
    mean = (Footprint(keyspace).estimate_bytes() - EMPTY_BYTES) / count
    expected = (entry_bytes(b"%d" % count, b"v") + entry_bytes(b"%d" % count, b"v" * 500)) / 2
    assert 0.9 * expected < mean < 1.1 * expected


def test_estimate_of_many_keys_is_close() -> None:
    chance = random.Random(1)
    shards = new_shards()
    load_shards(shards, ((b"%d" % number, b"x" * chance.randrange(200)) for number in range(50_000)))
    keyspace = Keyspace(lambda: 0)
    keyspace.replace(shards)
    total = EMPTY_BYTES + sum(entry_bytes(key, entry) for key, entry in keyspace.members())
    assert abs(Footprint(keyspace).estimate_bytes() - total) < 0.05 * total
    assert Footprint(Keyspace(lambda: 0)).estimate_bytes() == EMPTY_BYTES
