"""Databases share their records, their clock and one cut, and are made when they are asked for."""

from __future__ import annotations

import pytest

from helpers.keyspaces import Clock, Noting, contents
from kvserver.data.clocks import Recency
from kvserver.data.databases import Databases
from kvserver.data.entries import Expiring
from kvserver.data.shards import load_shards, new_shards


def filled(*numbers: int) -> Databases:
    databases = Databases(lambda: 0)
    for number in numbers:
        databases[number].put(b"k", b"%d" % number)
    databases.records.take()
    return databases


def test_database_is_made_when_it_is_asked_for_and_stays() -> None:
    databases = Databases(lambda: 0)
    assert [keyspace.number for keyspace in databases] == [0]
    later = databases[7]
    assert databases[7] is later
    assert databases[3] is not later
    assert [keyspace.number for keyspace in databases] == [0, 3, 7]
    assert databases.key_count == 0


def test_cut_has_all_databases_at_one_instant_whatever_is_written_swapped_or_made_later() -> None:
    databases = filled(0, 1, 2)
    frozen = databases.cut()
    with pytest.raises(RuntimeError, match="frozen"):
        databases.cut()
    databases[1].put(b"k", b"new")
    databases.swap(0, 2)
    databases[2].put(b"k", b"newer")
    databases[9].put(b"k", b"later")
    assert [(cut.number, contents(cut)) for cut in frozen.cuts] == [(n, {b"k": b"%d" % n}) for n in (0, 1, 2)]
    assert len(frozen) == 3
    for _ in frozen.fold():
        pass
    found = {keyspace.number: keyspace.get(b"k") for keyspace in databases}
    assert found == {0: b"2", 1: b"new", 2: b"newer", 9: b"later"}
    assert len(databases.cut()) == 4


def test_database_without_keys_is_in_no_cut_and_can_be_filled_beside_it() -> None:
    databases = filled(0, 3)
    databases[1].remove(b"k")
    frozen = databases.cut()
    assert [cut.number for cut in frozen.cuts] == [0, 3]
    databases[1].put(b"k", b"v")
    fold = frozen.fold()
    # Database 3 is thawed first.
    for _ in fold:
        with pytest.raises(RuntimeError, match="frozen"):
            databases.cut()
    assert len(databases.cut()) == 3


def test_other_data_replaces_that_of_all_databases() -> None:
    databases = filled(0, 1)
    shards = new_shards()
    load_shards(shards, [(b"loaded", b"v")])
    unused = databases.replace({5: shards})
    assert sum(map(len, unused)) == 2
    assert {keyspace.number: dict(keyspace.members()) for keyspace in databases} == {0: {}, 1: {}, 5: {b"loaded": b"v"}}
    assert not databases.records.has_any


def test_clear_and_swap_are_recorded_once() -> None:
    databases = filled(0, 1)
    databases.swap(1, 1)
    databases.swap(0, 1)
    assert (databases[0].get(b"k"), databases[1].get(b"k")) == (b"1", b"0")
    databases[1].remove(b"k")
    databases.clear()
    wanted = [[b"SWAPDB", b"0", b"1"], [b"SELECT", b"1"], [b"DEL", b"k"], [b"SELECT", b"0"], [b"FLUSHALL"]]
    assert databases.records.take() == wanted


def test_all_expire_by_one_clock_and_are_held_together() -> None:
    clock = Clock()
    databases = Databases(clock)
    databases[0].set_expiring(b"k", b"v", 10)
    databases[1].set_expiring(b"k", b"v", 10)
    databases.stop_clock(5)
    databases[2].set_expiring(b"k", b"v", 10)
    clock.now_ms = 10
    assert [keyspace.live(b"k") for keyspace in databases] == [b"v"] * 3
    databases.start_clock()
    databases.hold(True)
    databases[3].set_expiring(b"k", b"v", 10)
    assert databases.is_held
    assert [keyspace.live(b"k") for keyspace in databases] == [None] * 4
    assert databases.key_count == 4
    assert not databases.sweep()
    databases.hold(False)
    while databases.sweep():
        pass
    assert databases.key_count == 0
    assert databases.records.changes == 0


def test_standby_keeps_what_is_due_until_it_leads() -> None:
    clock = Clock()
    databases = Databases(clock)
    databases[0].set_expiring(b"k", b"v", 10)
    clock.now_ms = 10
    databases.follow()
    databases[1].set_expiring(b"k", b"v", 10)
    assert [keyspace.live(b"k") for keyspace in databases] == [None] * 2
    # A pause that ends meanwhile changes nothing.
    databases.hold(True)
    databases.hold(False)
    assert databases.is_held
    assert not databases.sweep()
    # A replay finds all as it was when its records were written.
    databases.stop_clock()
    assert [keyspace.live(b"k") for keyspace in databases] == [b"v"] * 2
    databases.start_clock()
    assert databases.key_count == 2
    assert not databases.records.has_any
    databases.hold(True)
    databases.lead()
    assert databases.is_held, "clients are paused"
    databases.hold(False)
    assert databases[0].live(b"k") is None
    assert databases[0].expired == 1


def test_database_that_is_made_later_has_a_witness_too() -> None:
    databases = filled(0)
    clocks = {number: Recency(0) for number in (0, 1)}
    databases.attend(lambda keyspace: Noting(clocks[keyspace.number]))
    databases[1].put(b"k", b"v")
    for clock in clocks.values():
        clock.tick(100)
    assert databases[0].get(b"k") == b"0"
    assert [clock.score(b"k") for clock in clocks.values()] == [0, 100]
    databases.attend(lambda keyspace: None)
    assert databases[1].get(b"k") == b"v"
    assert clocks[1].score(b"k") == 100


def test_expiry_goes_with_a_key_that_moves() -> None:
    databases = Databases(lambda: 0)
    databases[0].set_expiring(b"k", b"v", 10)
    databases[0].move(b"k", b"v", databases[1])
    assert dict(databases[1].members()) == {b"k": Expiring(b"v", 10)}
    assert databases[1].deadlines.has_any
    assert databases.records.take() == [[b"MOVE", b"k", b"1"]]


def test_empty_database_costs_nothing_when_all_data_is_replaced() -> None:
    databases = filled(0, 1)
    empty = databases[2]
    shards = empty.layers[0]
    assert sum(map(len, databases.clear())) == 2
    assert empty.layers[0] is shards
    shards = new_shards()
    load_shards(shards, [(b"loaded", b"v")])
    databases.replace({2: shards})
    assert databases[2].get(b"loaded") == b"v"


def test_databases_take_turns_when_they_are_swept() -> None:
    clock = Clock()
    databases = Databases(clock)
    for number in (0, 1, 5):
        for key in range(2_000):
            databases[number].set_expiring(b"%d" % key, b"v", 10)
    clock.now_ms = 10
    for _ in range(300):
        assert databases.sweep()
        # There is always something to do in database 0.
        databases[0].set_expiring(b"again", b"v", 10)
    lengths = [len(keyspace) for keyspace in databases]
    assert max(lengths) - min(lengths) < 100


def test_keys_that_are_due_are_found_while_they_are_kept() -> None:
    clock = Clock()
    clock.now_ms = 100
    databases = Databases(clock)
    databases[0].set_expiring(b"k", b"v", 10)
    databases.keep_due(50)
    databases[1].set_expiring(b"k", b"v", 10)
    assert [keyspace.now_ms() for keyspace in databases] == [50, 50]
    assert [keyspace.live(b"k") for keyspace in databases] == [b"v", b"v"]
    assert [keyspace.own(b"k") for keyspace in databases] == [b"v", b"v"]
    databases.stop_clock(50)
    assert databases[0].live(b"k") is None
    databases.keep_due(50)
    databases.start_clock()
    assert databases[1].live(b"k") is None
