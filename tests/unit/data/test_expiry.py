"""Keys that are due are found, in small steps, and looking where nothing is due is not paid for."""

from __future__ import annotations

import random
from itertools import count, islice, pairwise
from typing import Any
from unittest import mock

import pytest

from helpers.keyspaces import Clock, filled
from kvserver._speedups.places import items_between
from kvserver.data.entries import Expiring
from kvserver.data.expiry import ENTRIES_A_STEP, SWEEP_REST_MS, Deadlines, Lapses
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import SHARDS, Shard, load_shards, new_shards, shard_of


def test_sweep_removes_shard_by_shard_what_is_due() -> None:
    clock = Clock()
    keyspace = Keyspace(clock)
    for number in range(5_000):
        keyspace.set_expiring(b"%d" % number, b"v", 1)
        keyspace.set_expiring(b"later%d" % number, b"v", 10_000)
    clock.now_ms = 1
    calls = 0
    while keyspace.sweep():
        calls += 1
    assert len(keyspace) == keyspace.expired == keyspace.expiries()[0] == 5_000
    assert calls > 900, "few long calls stall the event loop"
    clock.now_ms = 10_000
    while keyspace.sweep():
        pass
    assert len(keyspace) == 0
    assert not keyspace.deadlines.has_any


@pytest.mark.patches_compiled
def test_sweep_removes_some_keys_a_step() -> None:
    clock, most, due_ms = Clock(), 4, 10
    keyspace = Keyspace(clock)
    keys = 3 * most * keyspace.shard_count // 2
    for number in range(keys):
        keyspace.set_expiring(b"%d" % number, b"v", due_ms)
    keyspace.set(b"stays", b"v")
    clock.now_ms = due_ms
    sizes, renewed = [len(keyspace)], set[bytes]()
    with mock.patch("kvserver.data.expiry.MOST_DUE", most):
        while keyspace.sweep():
            sizes.append(len(keyspace))
            if sizes[-2] - sizes[-1] == most and not renewed:
                # What is left of a shard may be renewed before its turn comes.
                renewed = {key for key, _ in keyspace.shard_members(keyspace.deadlines._position)} - {b"stays"}
                for key in renewed:
                    keyspace.set_expiring(key, b"w", due_ms + 5)
    assert max(before - after for before, after in pairwise(sizes)) == most
    assert renewed
    assert {key for key, _ in keyspace.members()} == {b"stays", *renewed}
    assert keyspace.expired == keys - len(renewed)
    clock.now_ms += 1_000_000
    while keyspace.sweep():
        pass
    assert len(keyspace) == 1


def test_swept_shard_rests_the_longer_the_more_entries_it_has() -> None:
    clock = Clock()
    keyspace = Keyspace(clock)
    of_one_shard = (key for number in count() if shard_of(key := b"%d" % number) == 0)
    for number, key in enumerate(islice(of_one_shard, 100)):
        keyspace.set_expiring(key, b"v", 1 + number)
    swept_at = []
    while len(keyspace):
        clock.now_ms += 1
        while keyspace.sweep():
            swept_at.append(clock.now_ms)
    assert swept_at[:2] == [1, 51]
    assert len(swept_at) < 10


def test_sweep_that_has_nothing_to_remove_looks_at_no_entry() -> None:
    keyspace = filled(100)
    assert not keyspace.sweep()
    keyspace.set_expiring(b"k", b"v", 1)
    assert not keyspace.sweep()


def test_replaced_data_is_swept_once_to_learn_what_expires() -> None:
    keyspace = Keyspace(lambda: 5)
    shards = new_shards()
    load_shards(shards, [(b"dead", Expiring(b"v", 1)), (b"living", Expiring(b"v", 9)), (b"plain", b"v")])
    keyspace.replace(shards)
    assert keyspace.deadlines.has_any
    while keyspace.sweep():
        pass
    assert {key for key, _ in keyspace.members()} == {b"living", b"plain"}
    assert keyspace.deadlines.has_any
    keyspace.set(b"living", b"v")
    keyspace.replace(new_shards())
    assert not keyspace.deadlines.has_any


def test_expiries_of_many_keys_are_estimated() -> None:
    keyspace = filled(40_000)
    for number in range(0, 40_000, 4):
        keyspace.set_expiring(b"%d" % number, b"v", 1 + number)
    count, left_ms = keyspace.expiries()
    assert 8_500 < count < 11_500
    assert 18_000 < left_ms < 22_000


def test_average_of_what_expiries_have_left_is_of_those_that_live() -> None:
    clock = Clock()
    keyspace = Keyspace(clock)
    assert keyspace.expiries() == (0, 0)
    for number in range(3):
        keyspace.set_expiring(b"%d" % number, b"v", 100 * number + 100)
    keyspace.set(b"k", b"v")
    assert keyspace.expiries() == (3, 200)
    clock.now_ms = 100
    assert keyspace.expiries() == (3, 150)
    clock.now_ms = 300
    assert keyspace.expiries() == (3, 0)


def test_nothing_that_is_due_goes_while_held() -> None:
    clock = Clock()
    keyspace = Keyspace(clock)
    keyspace.set_expiring(b"k", b"v", 10)
    clock.now_ms = 10
    keyspace.is_held = True
    assert keyspace.live(b"k") is keyspace.peek_live(b"k") is None
    assert not keyspace.sweep()
    assert (len(keyspace), keyspace.expired) == (1, 0)
    keyspace.is_held = False
    assert keyspace.live(b"k") is None
    assert (len(keyspace), keyspace.expired) == (0, 1)


def test_sweep_waits_while_frozen() -> None:
    keyspace = Keyspace(lambda: 5)
    keyspace.set_expiring(b"k", b"v", 1)
    cut = keyspace.cut()
    assert not keyspace.sweep()
    for _ in keyspace.fold(cut):
        pass
    assert keyspace.sweep()
    assert len(keyspace) == 0


def test_shards_that_may_have_something_due_take_turns() -> None:
    shards = new_shards()
    for due in (3, 5, 8):
        shards[due][b"k"] = Expiring(b"v", 1)
    deadlines = Deadlines(shards)
    found: list[int] = []
    while (index := deadlines.shard_to_sweep(1)) is not None:
        assert deadlines.take_due(index, shards[index], 1) == [b"k"]
        shards[index].clear()
        found.append(index)
    assert found == [3, 5, 8]
    for again in (3, 8):
        shards[again][b"k"] = Expiring(b"v", 1)
    deadlines.restart(shards)
    assert (deadlines.shard_to_sweep(1), deadlines.shard_to_sweep(1)) == (3, 8), "it went on behind the last one"
    shards[5][b"k"] = Expiring(b"v", 1)
    deadlines.restart(shards)
    assert [deadlines.shard_to_sweep(1) for _ in range(3)] == [3, 5, 8]


def test_stored_expiry_is_known_of_its_shard_alone() -> None:
    deadlines = Deadlines(new_shards())
    stored: dict[bytes, object] = {}
    set_expiring = deadlines.setter(stored.__setitem__)
    assert not deadlines.has_any
    set_expiring(b"k", b"v", 7)
    set_expiring(b"k", b"w", 9)
    assert stored == {b"k": Expiring(b"w", 9)}
    assert [index for index in range(SHARDS) if deadlines.may_be_in(index)] == [shard_of(b"k")]
    assert deadlines.shard_to_sweep(6) is None
    assert deadlines.shard_to_sweep(7) == shard_of(b"k"), "the later one put the earlier one out of mind"
    deadlines.forget(shard_of(b"k"))
    assert not deadlines.has_any


def test_swept_shard_is_known_by_its_first_entry_that_is_left() -> None:
    shards = new_shards()
    load_shards(shards, [(b"k", Expiring(b"v", 100))])
    deadlines = Deadlines(shards)
    index = shard_of(b"k")
    assert deadlines.shard_to_sweep(0) == index, "nobody has looked yet"
    assert deadlines.take_due(index, shards[index], 0) == []
    rested = 100 + SWEEP_REST_MS
    assert deadlines.shard_to_sweep(99) is None
    assert deadlines.shard_to_sweep(round(rested + 1)) == index


def test_lapses_give_each_key_once_when_it_is_due() -> None:
    lapses = Lapses()
    for key, first_ms in ((b"k", 7), (b"l", 5), (b"k", 9), (b"l", 3)):
        lapses.expect(key, first_ms)
    assert lapses.take_due(2) is None
    assert lapses.take_due(3) == b"l"
    assert [lapses.take_due(8) for _ in range(2)] == [b"k", None]


def test_lapses_of_other_data_are_unknown_in_the_shards_that_have_any() -> None:
    lapses, shards = Lapses(), new_shards()
    lapses.expect(b"k", 1)
    shards[3][b"k"] = b"v"
    lapses.restart(shards)
    assert lapses.unknown == [3]
    assert lapses.take_due(1) is None


def test_clock_that_was_set_back_lets_keys_expire() -> None:
    clock = Clock()
    keyspace = Keyspace(clock)
    clock.now_ms = 1_000_000
    for number in range(5_000):
        keyspace.set_expiring(b"%d" % number, b"v", 1_000_000)
    while keyspace.sweep():
        pass
    clock.now_ms = 500_000
    for number in range(5_000):
        keyspace.set_expiring(b"%d" % number, b"v", 500_000)
    while keyspace.sweep():
        pass
    assert len(keyspace) == 0


@pytest.mark.patches_compiled
def test_step_looks_at_some_entries_however_many_a_shard_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 1)
    looks: list[int] = []

    def counted(shard: Shard, start: int, stop: int) -> list[tuple[bytes, Any]]:
        looks.append(stop - start)
        return items_between(shard, start, stop)

    for module in ("expiry", "keyspace"):
        monkeypatch.setattr(f"kvserver.data.{module}.items_between", counted)
    clock = Clock()
    keyspace = Keyspace(clock)
    shards = new_shards()
    load_shards(shards, [(b"%d" % number, Expiring(b"v", 1 + number % 2)) for number in range(5_000)])
    keyspace.replace(shards)
    clock.now_ms = 1
    while keyspace.sweep():
        pass
    assert len(keyspace) == 2_500
    assert sum(looks) == 2 * 5_000, "each entry is looked at for its members and for its time"
    assert max(looks) <= ENTRIES_A_STEP


@pytest.mark.patches_compiled
@pytest.mark.parametrize("due_ms", [1, 50])
def test_shard_that_gets_another_order_amid_a_sweep_is_looked_at_again(monkeypatch: pytest.MonkeyPatch, due_ms: int) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 1)
    monkeypatch.setattr("kvserver.data.expiry.ENTRIES_A_STEP", 3)
    clock = Clock()
    keyspace = Keyspace(clock)
    shards = new_shards()
    load_shards(
        shards,
        [*((b"%d" % number, Expiring(b"v", due_ms)) for number in range(3)), *((key, b"v") for key in (b"a", b"b", b"c"))],
    )
    keyspace.replace(shards)
    clock.now_ms = 1
    while not keyspace.deadlines._stop:
        assert keyspace.sweep()
    cut = keyspace.cut()
    cut.reorder(0, dict(reversed(cut.shards[0].items())))
    for _ in keyspace.fold(cut):
        pass
    while keyspace.sweep():
        pass
    clock.now_ms = due_ms
    while keyspace.sweep():
        pass
    assert keyspace.expired == 3


@pytest.mark.patches_compiled
def test_nothing_due_is_forgotten_whatever_comes_between_the_steps_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 1)
    monkeypatch.setattr("kvserver.data.expiry.ENTRIES_A_STEP", 3)
    monkeypatch.setattr("kvserver.data.expiry.MOST_DUE", 2)
    for seed in range(100):
        source, clock = random.Random(seed), Clock()
        keyspace = Keyspace(clock)
        for _ in range(120):
            key, what = b"%d" % source.randrange(20), source.random()
            if what < 0.4:
                keyspace.set_expiring(key, b"v", clock.now_ms + source.randrange(-2, 30))
            elif what < 0.5:
                keyspace.delete(key)
            elif what < 0.6:
                keyspace.set(key, b"v")
            elif what < 0.65:
                cut = keyspace.cut()
                keys = source.sample(list(cut.shards[0]), len(cut.shards[0]))
                cut.reorder(0, {key: cut.shards[0][key] for key in keys})
                for _ in keyspace.fold(cut):
                    pass
            else:
                clock.now_ms += source.choice((0, 0, 1, 5, -3))
                keyspace.sweep()
        # A shard that was being looked at rests before it is looked at again.
        for _ in range(2):
            clock.now_ms += 1_000
            while keyspace.sweep():
                pass
        assert not any(type(entry) is Expiring for _, entry in keyspace.members()), seed
        clock.now_ms += 1_000_000
        assert not keyspace.sweep()
        assert not keyspace.deadlines.has_any, seed
