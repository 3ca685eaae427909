"""Clocks of keys: a use is noted, a look is not; counters grow and fade as Redis's do."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest

from helpers.keyspaces import Noting
from kvserver.data.clocks import LFU_INITIAL, MINUTE_MS, Clocks, Frequency, Order, Recency
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import new_shards

START_MS = 1_700_000_000_000


def attended(clocks: Clocks) -> Keyspace:
    keyspace = Keyspace(lambda: 0)
    keyspace.set(b"before", b"v")
    keyspace.attend(Noting(clocks))
    return keyspace


def frequency(seed: int = 1) -> Frequency:
    return Frequency(START_MS, random.Random(seed).randrange)


def test_key_is_idle_from_its_last_use_on() -> None:
    clocks = Recency(START_MS)
    keyspace = attended(clocks)
    clocks.tick(START_MS + 10)
    keyspace.set(b"k", b"v")
    assert (clocks.score(b"before"), clocks.score(b"k")) == (10, 0)
    clocks.tick(START_MS + 30)
    assert (clocks.score(b"before"), clocks.score(b"k")) == (30, 20)
    keyspace.get(b"k")
    keyspace.live(b"before")
    assert (clocks.score(b"before"), clocks.score(b"k")) == (0, 0)
    clocks.tick(START_MS + 40)
    keyspace.peek(b"k")
    keyspace.peek_live(b"k")
    keyspace.expires_at_ms(b"k")
    assert clocks.score(b"k") == 10


def test_order_of_uses_is_exact_without_a_time() -> None:
    clocks = Order(itertools.count().__next__)
    keyspace = attended(clocks)
    for key in (b"a", b"b", b"c"):
        keyspace.set(key, b"v")
    keyspace.get(b"a")
    keyspace.peek(b"b")
    keyspace.get(b"missing")
    clocks.tick(START_MS)
    assert sorted([b"before", b"a", b"b", b"c"], key=clocks.score, reverse=True) == [b"before", b"b", b"c", b"a"]
    keyspace.delete(b"a")
    keyspace.replace(new_shards())
    keyspace.set(b"new", b"v")
    assert clocks.score(b"new") < clocks.score(b"a") == clocks.score(b"b")


def test_uses_are_noted_through_a_freeze() -> None:
    clocks = Recency(START_MS)
    keyspace = attended(clocks)
    cut = keyspace.cut()
    clocks.tick(START_MS + 10)
    keyspace.get(b"before")
    fold = keyspace.fold(cut)
    keyspace.set(b"new", b"v")
    for _ in fold:
        pass
    assert clocks.score(b"before") == clocks.score(b"new") == 0


@pytest.mark.parametrize("clocks", [Recency(START_MS), frequency()])
def test_nothing_is_kept_of_keys_that_are_gone_or_were_never_there(clocks: Clocks) -> None:
    keyspace = attended(clocks)
    for number in range(100):
        keyspace.set(b"%d" % number, b"v")
        keyspace.get(b"missing%d" % number)
    for number in range(100):
        keyspace.delete(b"%d" % number)
    keyspace.set_expiring(b"k", b"v", 0)
    keyspace.live(b"k")
    assert not any(keyspace.replace(new_shards())[-len(new_shards()) :])


def test_what_was_noted_is_handed_over_to_be_freed_when_the_data_is_replaced() -> None:
    clocks = Recency(START_MS)
    keyspace = attended(clocks)
    keyspace.set(b"k", b"v")
    assert sum(map(len, keyspace.replace(new_shards()))) == 3  # two keys, one of which was used since
    clocks.tick(START_MS + 10)
    assert clocks.score(b"k") == 10


def test_new_key_has_a_start_and_one_that_is_set_again_keeps_its_count() -> None:
    clocks = frequency()
    keyspace = attended(clocks)
    keyspace.set(b"k", b"v")
    assert clocks.count(b"k") == LFU_INITIAL
    for _ in range(300):
        keyspace.get(b"k")
    used = clocks.count(b"k")
    assert used > LFU_INITIAL
    keyspace.set(b"k", b"w")
    assert clocks.count(b"k") in (used, used + 1)
    keyspace.delete(b"k")
    keyspace.set(b"k", b"v")
    assert clocks.count(b"k") == LFU_INITIAL


@pytest.mark.parametrize(("log_factor", "uses", "expected"), [(0, 100, 105), (10, 100, 10), (10, 1_000, 18), (100, 1_000, 11)])
def test_counter_grows_as_the_table_in_redis_conf_says(log_factor: int, uses: int, expected: int) -> None:
    counts = []
    for seed in range(20):
        clocks = frequency(seed)
        clocks.log_factor = log_factor
        keyspace = attended(clocks)
        for _ in range(uses):
            keyspace.get(b"before")
        counts.append(clocks.count(b"before"))
    assert abs(statistics.mean(counts) - expected) <= max(1.5, 0.15 * expected)


def test_counter_has_an_end() -> None:
    clocks = frequency()
    clocks.log_factor = 0
    keyspace = attended(clocks)
    for _ in range(1_000):
        keyspace.get(b"before")
    assert clocks.count(b"before") == 255
    assert clocks.score(b"before") == 0


@pytest.mark.parametrize(("decay_minutes", "minutes", "expected"), [(1, 2, 3), (1, 100, 0), (2, 3, 4), (0, 100, 5), (1, 0, 5)])
def test_counter_fades_with_the_minutes(decay_minutes: int, minutes: int, expected: int) -> None:
    clocks = frequency()
    clocks.decay_minutes = decay_minutes
    keyspace = attended(clocks)
    keyspace.set(b"k", b"v")
    clocks.tick(START_MS + minutes * MINUTE_MS)
    assert clocks.count(b"k") == expected
    assert clocks.score(b"k") == 255 - expected
