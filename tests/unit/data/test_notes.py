"""Notes tell which keys were looked for in vain and which were made, in order, while they are open."""

from __future__ import annotations

from helpers.sessions import Clock
from kvserver.data.databases import Databases
from kvserver.data.keyspace import Keyspace
from kvserver.data.notes import Notes


def noting() -> tuple[Keyspace, Notes, Clock]:
    clock = Clock()
    keyspace, notes = Keyspace(clock), Notes()
    keyspace.take_notes(notes)
    notes.open()
    return keyspace, notes, clock


def test_key_is_made_where_none_is_or_where_its_time_has_come() -> None:
    keyspace, notes, clock = noting()
    keyspace.put(b"new", b"v")
    keyspace.put(b"new", b"w")
    keyspace.put(b"due", b"v", clock.now_ms + 1)
    assert notes.made == {(0, b"new"): False, (0, b"due"): False}
    notes.open()
    clock.now_ms += 1
    keyspace.put(b"new", b"x")
    keyspace.put(b"due", b"x")
    assert notes.made == {(0, b"due"): True}


def test_key_that_is_removed_and_not_there_counts_as_made() -> None:
    keyspace, notes, _ = noting()
    keyspace.remove(b"k")
    assert notes.made == {(0, b"k"): False}


def test_missed_keys_stand_between_the_records() -> None:
    keyspace, notes, clock = noting()
    keyspace.put(b"due", b"v", clock.now_ms + 1)
    clock.now_ms += 1
    keyspace.read(b"a")
    keyspace.peek_read(b"due")
    keyspace.live(b"b")
    keyspace.note_miss(b"c")
    assert notes.missed == [(1, (0, b"a")), (2, (0, b"due")), (2, (0, b"c"))]


def test_nothing_is_noted_while_notes_are_closed_or_not_taken() -> None:
    keyspace, notes, _ = noting()
    keyspace.put(b"a", b"v")
    keyspace.read(b"b")
    notes.close()
    keyspace.put(b"c", b"v")
    keyspace.read(b"d")
    keyspace.take_notes(None)
    notes.open()
    keyspace.put(b"e", b"v")
    keyspace.read(b"f")
    assert (notes.made, notes.missed) == ({}, [])


def test_notes_are_taken_while_the_data_is_frozen_and_behind_it() -> None:
    keyspace, notes, _ = noting()
    cut = keyspace.cut()
    keyspace.put(b"a", b"v")
    for _ in keyspace.fold(cut):
        pass
    keyspace.put(b"b", b"v")
    assert list(notes.made) == [(0, b"a"), (0, b"b")]


def test_notes_of_several_databases_have_their_present_numbers() -> None:
    databases, notes = Databases(Clock()), Notes()
    databases.take_notes(notes)
    notes.open()
    databases[1].put(b"a", b"v")
    databases.swap(1, 2)
    databases[1].put(b"a", b"v")
    databases[2].read(b"b")
    assert list(notes.made) == [(1, b"a")]
    assert notes.missed == [(3, (2, b"b"))]
    databases.take_notes(None)
    databases[3].put(b"c", b"v")
    assert len(notes.made) == 1
