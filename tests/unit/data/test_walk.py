"""A key that stays from the start to the end of a scan is returned by it, whatever else happens."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from kvserver.data import walk
from kvserver.data.freeze import Cut
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import SHARDS, drain, load_shards, new_shards

KEYS = [b"key%d" % number for number in range(60)]
keys = st.sampled_from(KEYS)
# Some of the keys in any order, drawn in one go: a list of draws would take most of the time of the test.
some_keys = st.binary(max_size=15).map(lambda picked: [KEYS[number % len(KEYS)] for number in picked])


class ScanMachine(RuleBasedStateMachine):
    """Several scans at once, over a keyspace to which everything happens."""

    def __init__(self) -> None:
        super().__init__()
        self.keyspace = Keyspace(lambda: 0)
        self.model: set[bytes] = set()
        self.cut: Cut | None = None
        self.fold: Iterator[None] | None = None
        # Of each scan: its cursor, what it must still return, and what it may return.
        self.scans: list[tuple[int, set[bytes], set[bytes]]] = []

    def note(self, key: bytes, *, is_there: bool) -> None:
        (self.model.add if is_there else self.model.discard)(key)
        for _, due, allowed in self.scans:
            if is_there:
                allowed.add(key)
            else:
                due.discard(key)

    @rule(some=some_keys)
    def set(self, some: list[bytes]) -> None:
        for key in some:
            self.keyspace.set(key, b"v")
            self.note(key, is_there=True)

    @rule(some=some_keys)
    def delete(self, some: list[bytes]) -> None:
        for key in some:
            self.keyspace.delete(key)
            self.note(key, is_there=False)

    @rule(some=some_keys)
    def replace(self, some: list[bytes]) -> None:
        shards = new_shards()
        load_shards(shards, [(key, b"v") for key in some])
        for _ in drain(self.keyspace.replace(shards)):
            pass
        for key in KEYS:
            self.note(key, is_there=False)
        for key in some:
            self.note(key, is_there=True)
        self.cut, self.fold = None, None

    @precondition(lambda self: self.cut is None)
    @rule()
    def freeze(self) -> None:
        self.cut = self.keyspace.cut()

    @precondition(lambda self: self.cut is not None)
    @rule(steps=st.sampled_from([1, 1, 10**9]))
    def thaw(self, steps: int) -> None:
        assert self.cut is not None
        self.fold = self.fold or self.keyspace.fold(self.cut)
        for _ in range(steps):
            if next(self.fold, StopIteration) is StopIteration:
                self.cut, self.fold = None, None
                break

    @precondition(lambda self: self.cut is not None and self.fold is None)
    @rule(backwards=st.booleans())
    def reorder(self, backwards: bool) -> None:
        assert self.cut is not None
        for index, shard in enumerate(self.cut.shards):
            self.cut.reorder(index, dict(sorted(shard.items(), reverse=backwards)))

    @rule()
    def begin_scan(self) -> None:
        self.scans.append((0, set(self.model), set(self.model)))

    @precondition(lambda self: self.scans)
    @rule(data=st.data(), count=st.sampled_from([1, 2, 3, 10, 1000]), calls=st.integers(1, 4))
    def go_on(self, data: st.DataObject, count: int, calls: int) -> None:
        index = data.draw(st.integers(0, len(self.scans) - 1))
        cursor, due, allowed = self.scans[index]
        for _ in range(calls):
            cursor, found = walk.scan(self.keyspace, cursor, count)
            assert len(found) == len(set(found)) <= count
            assert set(found) <= self.model & allowed
            due -= set(found)
            if cursor == 0:
                assert not due, "a key that was there all the time was not returned"
                del self.scans[index]
                return
        self.scans[index] = (cursor, due, allowed)

    @rule()
    def all_keys_are_the_model(self) -> None:
        found = [key for some in walk.all_keys(self.keyspace) for key in some]
        assert sorted(found) == sorted(self.model)

    @rule(seed=st.integers(0, 99))
    def random_key_is_one_of_them(self, seed: int) -> None:
        found = walk.random_key(self.keyspace, random.Random(seed).randrange)
        assert found in self.model if self.model else found is None


@pytest.mark.parametrize("shards", [1, 3, 20])
def test_scan_returns_all_that_stays_whatever_happens(monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", shards)
    run_state_machine_as_test(
        ScanMachine, settings=settings(max_examples=300, stateful_step_count=50, report_multiple_bugs=False)
    )


# --- What is better said one by one ---


def filled(count: int) -> Keyspace:
    keyspace = Keyspace(lambda: 0)
    shards = new_shards()
    load_shards(shards, ((b"%d" % number, b"v") for number in range(count)))
    keyspace.replace(shards)
    return keyspace


def scan_whole(keyspace: Keyspace, count: int) -> tuple[list[bytes], int]:
    found, calls, cursor = [], 0, 0
    while True:
        cursor, some = walk.scan(keyspace, cursor, count)
        found += some
        calls += 1
        if not cursor:
            return found, calls


def test_scan_returns_all_of_a_shard_that_is_given_another_order_midway() -> None:
    keyspace = filled(20 * SHARDS)
    cut = keyspace.cut()
    cursor, found = walk.scan(keyspace, 0, 5)
    for index, shard in enumerate(cut.shards):
        cut.reorder(index, dict(reversed(shard.items())))
    while cursor:
        cursor, some = walk.scan(keyspace, cursor, 5)
        found += some
    assert set(found) == {b"%d" % number for number in range(20 * SHARDS)}


@pytest.mark.parametrize("count", [1, 7, 10, 1_000, 10**18])
def test_scan_of_what_does_not_change_returns_each_key_once_and_as_many_as_asked(count: int) -> None:
    keyspace = filled(5_000)
    found, calls = scan_whole(keyspace, count)
    assert sorted(found) == sorted(b"%d" % number for number in range(5_000))
    assert calls <= 5_000 // count + 2


def test_few_keys_are_returned_by_one_call() -> None:
    assert sorted(scan_whole(filled(9), 10)[0]) == sorted(b"%d" % number for number in range(9))
    assert scan_whole(filled(9), 10)[1] == 1
    assert walk.scan(filled(0), 0, 10) == (0, [])


def test_small_count_is_kept_to_where_shards_are_big() -> None:
    keyspace = filled(50 * SHARDS)
    cursor, sizes = 0, set()
    for _ in range(200):
        cursor, found = walk.scan(keyspace, cursor, 3)
        sizes.add(len(found))
    assert sizes == {3}


@pytest.mark.parametrize("cursor", [1, SHARDS - 1, SHARDS, 5 * SHARDS + 3, 2**63, 2**64 - 1])
def test_any_cursor_is_taken(cursor: int) -> None:
    following, found = walk.scan(filled(5_000), cursor, 10)
    assert following >= 0
    assert len(found) <= 10


def test_random_key_gives_each_key_the_same_chance_also_while_frozen() -> None:
    keyspace = filled(20)
    cut = keyspace.cut()
    for number in range(10):
        keyspace.delete(b"%d" % number)
        keyspace.set(b"%d" % (10 + number), b"again")
        keyspace.set(b"%d" % (20 + number), b"new")
    chance = random.Random(2)
    found = Counter(walk.random_key(keyspace, chance.randrange) for _ in range(20_000))
    assert found.keys() == {b"%d" % number for number in range(10, 30)}
    assert all(800 < times < 1_200 for times in found.values()), found
    for _ in keyspace.fold(cut):
        pass


def test_random_key_removes_the_dead_that_it_meets_and_finds_the_one_that_lives() -> None:
    keyspace = Keyspace(lambda: 5)
    for number in range(3_000):
        keyspace.set_expiring(b"%d" % number, b"v", 1)
    keyspace.set(b"living", b"v")
    assert walk.random_key(keyspace, random.Random(3).randrange) == b"living"
    assert keyspace.expired > 0
    keyspace.delete(b"living")
    assert walk.random_key(keyspace, random.Random(3).randrange) is None


def test_no_chance_meets_the_one_key_among_tombstones_but_it_is_found() -> None:
    keyspace = filled(5_000)
    keyspace.cut()
    for number in range(4_999):
        keyspace.delete(b"%d" % number)
    assert walk.random_key(keyspace, random.Random(4).randrange) == b"4999"


def test_calls_are_short_at_many_keys() -> None:
    keyspace = filled(300_000)
    chance = random.Random(5)
    started_at = time.process_time()
    cursor = 0
    for _ in range(1_000):
        cursor, _ = walk.scan(keyspace, cursor, 10)
        walk.random_key(keyspace, chance.randrange)
    assert time.process_time() - started_at < 2  # it takes 0.1 s


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("shards", [1, SHARDS])
def test_living_are_those_whose_time_has_not_come(monkeypatch: pytest.MonkeyPatch, shards: int, is_frozen: bool) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", shards)
    now_ms = 0
    keyspace = Keyspace(lambda: now_ms)
    for number, key in enumerate(KEYS):
        if number % 3:
            keyspace.set_expiring(key, b"%d" % number, number)
        else:
            keyspace.set(key, b"%d" % number)
    if is_frozen:
        keyspace.cut()
        keyspace.delete(KEYS[0])
        keyspace.set(b"new", b"new")
    for now_ms in (0, 30, 1000):
        alive = {
            **{key: b"%d" % number for number, key in enumerate(KEYS) if number % 3 == 0 or number > now_ms},
            **({b"new": b"new"} if is_frozen else {}),
        }
        if is_frozen:
            del alive[KEYS[0]]
        places = range(keyspace.shard_count)
        assert dict(member for index in places for member in walk.living_members(keyspace, index)) == alive
        assert sorted(key for index in places for key in walk.living_keys(keyspace, index)) == sorted(alive)
        assert walk.living_count(keyspace) == len(alive)
        ones = [walk.living_member(keyspace, index) for index in places]
        assert {one for one in ones if one} <= set(alive.items())
        assert sum(one is not None for one in ones) == sum(bool(walk.living_keys(keyspace, index)) for index in places)
        for start in {0, shards // 2, shards - 1}:
            in_use = list(walk.shards_in_use(keyspace, start))
            assert in_use == sorted(in_use, key=lambda index: (index - start) % shards)
            assert {index for index in places if walk.living_keys(keyspace, index)} <= set(in_use)
            assert is_frozen or len(in_use) == sum(map(bool, keyspace.layers[0]))
    assert len(keyspace) == len(KEYS), "something was removed"
