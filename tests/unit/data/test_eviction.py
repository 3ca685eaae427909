"""Each policy of eviction chooses among the keys that it may, and those that matter least to it."""

from __future__ import annotations

import random
import statistics
from typing import Any

import pytest

from helpers.keyspaces import Noting
from kvserver._speedups.choice import TWINS
from kvserver.data import walk
from kvserver.data.clocks import Clocks, Frequency, Recency
from kvserver.data.databases import Databases
from kvserver.data.entries import Expiring
from kvserver.data.eviction import BATCH_KEYS, SHARDS_PER_LOOK, Eviction
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import SHARDS, Shard

COUNT = 10_000


def eviction(keyspace: Keyspace, policy: str, clocks: Clocks | None = None, samples: int = 5) -> Eviction:
    databases = Databases(lambda: 0, lambda *_: keyspace)
    return Eviction(databases, policy, lambda _: clocks, samples, random.Random(1).randrange)


def victims(chooser: Eviction, count: int) -> list[bytes]:
    """The next victims, each of which is removed as it is chosen."""
    found: list[bytes] = []
    while len(found) < count and chooser.has_candidates:
        victim = chooser.victim()
        if victim is not None:
            keyspace, key = victim
            assert keyspace.delete(key), "it was not there"
            found.append(key)
    return found


def victim(chooser: Eviction) -> bytes:
    found = chooser.victim()
    assert found
    return found[1]


def filled(count: int, *, expiring: bool = False) -> Keyspace:
    keyspace = Keyspace(lambda: 0)
    for number in range(count):
        if expiring:
            keyspace.set_expiring(b"%d" % number, b"v", 1_000_000 + number)
        else:
            keyspace.set(b"%d" % number, b"v")
    return keyspace


def test_least_recently_used_keys_go_first() -> None:
    clocks = Recency(0)
    keyspace = filled(0)
    keyspace.attend(Noting(clocks))
    order = list(range(COUNT))
    random.Random(2).shuffle(order)
    for time_ms, number in enumerate(order):
        clocks.tick(time_ms)
        keyspace.set(b"%d" % number, b"v")
    age = {b"%d" % number: time_ms for time_ms, number in enumerate(order)}
    gone = [age[key] for key in victims(eviction(keyspace, "allkeys-lru", clocks), COUNT // 10)]
    # By chance the mean would be COUNT / 2, and half of them would be newer than that.
    assert statistics.mean(gone) < 0.2 * COUNT
    assert sum(time_ms > COUNT / 2 for time_ms in gone) < 0.02 * len(gone)
    better = [age[key] for key in victims(eviction(keyspace, "allkeys-lru", clocks, samples=20), COUNT // 10)]
    assert statistics.mean(better) < 0.25 * COUNT


def test_key_that_is_used_after_it_became_a_candidate_stays() -> None:
    clocks = Recency(0)
    keyspace = filled(0)
    keyspace.attend(Noting(clocks))
    for number in range(20):
        keyspace.set(b"%d" % number, b"v")
    clocks.tick(1_000)
    chooser = eviction(keyspace, "allkeys-lru", clocks)
    first = victim(chooser)
    clocks.tick(2_000)
    used = [b"%d" % number for number in range(20) if b"%d" % number != first][:15]
    for key in used:
        keyspace.get(key)
    keyspace.delete(first)
    assert not set(victims(chooser, 4)) & set(used)


def test_least_frequently_used_keys_go_first() -> None:
    clocks = Frequency(0, random.Random(3).randrange)
    keyspace = filled(0)
    keyspace.attend(Noting(clocks))
    for number in range(2_000):
        keyspace.set(b"%d" % number, b"v")
        for _ in range(200 if number % 2 else 0):
            keyspace.get(b"%d" % number)
    gone = victims(eviction(keyspace, "allkeys-lfu", clocks), 500)
    assert sum(int(key) % 2 for key in gone) < 25


def test_keys_whose_time_comes_first_go_first() -> None:
    keyspace = filled(COUNT, expiring=True)
    gone = [int(key) for key in victims(eviction(keyspace, "volatile-ttl"), COUNT // 10)]
    assert statistics.mean(gone) < 0.2 * COUNT


def test_random_keys_are_of_all_kinds() -> None:
    keyspace = filled(COUNT)
    gone = [int(key) for key in victims(eviction(keyspace, "allkeys-random"), COUNT // 10)]
    assert 0.45 * COUNT < statistics.mean(gone) < 0.55 * COUNT


@pytest.mark.parametrize("policy", ["volatile-ttl", "volatile-random", "volatile-lru"])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_volatile_policies_take_all_keys_with_an_expiry_and_no_other(policy: str, is_frozen: bool) -> None:
    clocks = Recency(0) if policy == "volatile-lru" else None
    keyspace = filled(2_000)
    for number in range(500, 550):
        keyspace.set_expiring(b"%d" % number, b"v", 1_000)
    keyspace.set(b"500", b"persisted")
    cut = keyspace.cut() if is_frozen else None
    keyspace.set(b"501", b"persisted")
    gone = victims(eviction(keyspace, policy, clocks), 2_000)
    assert sorted(gone) == [b"%d" % number for number in range(502, 550)]
    assert len(keyspace) == 1_952
    assert not keyspace.deadlines.has_any
    if cut:
        for _ in keyspace.fold(cut):
            pass
        assert len(keyspace) == 1_952


@pytest.mark.parametrize("is_frozen", [False, True])
def test_all_keys_go_if_need_be(is_frozen: bool) -> None:
    keyspace = filled(300)
    if is_frozen:
        keyspace.cut()
        for number in range(300, 600):
            keyspace.set(b"%d" % number, b"v")
    gone = victims(eviction(keyspace, "allkeys-random"), 10_000)
    assert len(gone) == len(set(gone)) == (600 if is_frozen else 300)
    assert len(keyspace) == 0


def test_victim_is_never_one_that_is_gone_or_was_persisted_meanwhile() -> None:
    keyspace = filled(40, expiring=True)
    chooser = eviction(keyspace, "volatile-ttl", samples=5 * SHARDS)
    first = victim(chooser)
    for number in range(20):
        keyspace.delete(b"%d" % number)
    for number in range(20, 39):
        keyspace.set(b"%d" % number, b"persisted")
    keyspace.delete(first)
    assert set(victims(chooser, 40)) <= {b"39"}


def test_search_for_a_few_keys_with_an_expiry_is_left_midway() -> None:
    keyspace = filled(5 * SHARDS, expiring=True)
    for number in range(5 * SHARDS):
        keyspace.set(b"%d" % number, b"persisted")
    chooser = eviction(keyspace, "volatile-ttl")
    calls = 0
    while chooser.has_candidates:
        assert chooser.victim() is None
        calls += 1
    assert calls >= SHARDS / SHARDS_PER_LOOK, "one call looked at most of the keys"


def test_batch_is_looked_for_again_when_it_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    keyspace = filled(5_000)
    chooser = eviction(keyspace, "allkeys-random")
    fills = 0
    fill = chooser._fill

    def counted() -> None:
        nonlocal fills
        fills += 1
        fill()

    monkeypatch.setattr(chooser, "_fill", counted)
    victims(chooser, 10 * BATCH_KEYS)
    assert 10 <= fills <= 30


def test_victims_of_all_databases_compete() -> None:
    databases = Databases(lambda: 0)
    clocks = {databases[number]: Recency(0) for number in (0, 3)}
    for keyspace, clock in clocks.items():
        keyspace.attend(Noting(clock))
    for time_ms in range(2_000):
        for clock in clocks.values():
            clock.tick(time_ms)
        databases[3 * (time_ms % 2)].set(b"%d" % time_ms, b"v")
    gone = [int(key) for key in victims(Eviction(databases, "allkeys-lru", clocks.get, 20, random.Random(1).randrange), 400)]
    # By chance the mean would be 1,000.
    assert statistics.mean(gone) < 400
    assert 20 < sum(number % 2 for number in gone) < 380


def test_equal_victims_come_from_every_database() -> None:
    databases = Databases(lambda: 0)
    for number in range(8_000):
        databases[number % 4].set_expiring(b"%d" % number, b"v", 1_000)
    gone = victims(Eviction(databases, "volatile-ttl", lambda _: None, 5, random.Random(1).randrange), 4_000)
    # They come in batches of 16, so that the standard deviation is 110.
    assert all(400 < sum(int(key) % 4 == number for key in gone) < 1_600 for number in range(4))


def test_look_at_a_big_database_walks_through_no_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    databases = Databases(lambda: 0)
    for number in range(10_000):
        databases[0].set(b"%d" % number, b"v")
    for number in range(1, 16):
        databases[number].set(b"k", b"v")
    walked = 0

    def counted(keyspace: Keyspace, index: int) -> list[bytes]:
        nonlocal walked
        walked += 1
        return shard_keys(keyspace, index)

    shard_keys = walk.shard_keys
    monkeypatch.setattr(walk, "shard_keys", counted)
    victims(Eviction(databases, "allkeys-lfu", lambda _: None, 5, random.Random(1).randrange), 1_000)
    assert walked < 4 * SHARDS


def test_look_for_few_keys_with_an_expiry_goes_through_some_thousand_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    keyspace = filled(40_000)
    for index in range(SHARDS):
        keyspace.deadlines._earliest_ms[index] = 1
    looks: list[int] = []
    search = keyspace.expiring_members

    def counted(index: int) -> list[tuple[bytes, Expiring]]:
        looks.append(keyspace.shard_length(index))
        return search(index)

    monkeypatch.setattr(keyspace, "expiring_members", counted)
    monkeypatch.setattr("kvserver.data.eviction.KEYS_PER_LOOK", 500)
    assert eviction(keyspace, "volatile-ttl").victim() is None
    assert 500 <= sum(looks) < 500 + max(looks)


@pytest.mark.patches_compiled
@pytest.mark.parametrize("policy", ["allkeys-random", "volatile-random"])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_look_takes_few_keys_at_once_however_many_a_shard_has(
    monkeypatch: pytest.MonkeyPatch, policy: str, is_frozen: bool
) -> None:
    monkeypatch.setattr("kvserver.data.eviction.KEYS_AT_ONCE", 3)
    count = 12 * SHARDS
    keyspace = filled(count, expiring=policy == "volatile-random")
    if is_frozen:
        keyspace.cut()
    taken: list[int] = []
    for name in ("walk.keys_between", "keyspace.items_between", "freeze.items_between"):
        twin = TWINS[name.partition(".")[2]]

        def counted(shard: Shard, start: int, stop: int, between: Any = twin) -> Any:
            found = between(shard, start, stop)
            taken.append(len(found))
            return found

        monkeypatch.setattr(f"kvserver.data.{name}", counted)
    gone = [int(key) for key in victims(eviction(keyspace, policy), 4_000)]
    # Of the 80 keys of a look, each of 8 places gives 10.
    assert 0 < max(taken) <= 10
    assert 0.4 * count < statistics.mean(gone) < 0.6 * count


def test_big_shard_without_a_key_that_has_an_expiry_is_known_after_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvserver.data.eviction.KEYS_AT_ONCE", 3)
    keyspace = filled(5 * SHARDS, expiring=True)
    for number in range(5 * SHARDS):
        keyspace.set(b"%d" % number, b"persisted")
    chooser = eviction(keyspace, "volatile-ttl")
    while chooser.has_candidates:
        assert chooser.victim() is None
        while keyspace.sweep():
            pass


def test_random_victims_come_from_every_database() -> None:
    databases = Databases(lambda: 0)
    for number in range(4_000):
        databases[number % 2].set(b"%d" % number, b"v")
    gone = victims(Eviction(databases, "allkeys-random", lambda _: None, 5, random.Random(1).randrange), 2_000)
    # They come in batches of 16, so that the standard deviation is 90.
    assert 500 < sum(int(key) % 2 for key in gone) < 1_500
