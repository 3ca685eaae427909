"""The table of who may hold which keys: what it counts, which key goes first, and that it is freed in steps."""

from __future__ import annotations

import pytest

from kvserver.state.readers import KEYS_A_STEP, Readers


@pytest.fixture
def readers() -> Readers:
    return Readers()


def test_reader_is_counted_once_for_each_key(readers: Readers) -> None:
    assert [readers.add(b"k", number) for number in (7, 7, 3, 3, 5, 7)] == [1, 1, 2, 2, 3, 3]
    assert readers.add(b"l", 7) == 1
    assert (len(readers), readers.item_count) == (2, 4)
    assert readers.pop(b"k") == [3, 5, 7]
    assert readers.pop(b"k") == []
    assert readers.pop(b"l") == [7]
    assert (len(readers), readers.item_count) == (0, 0)


def test_those_who_are_gone_are_dropped(readers: Readers) -> None:
    for number in range(10):
        readers.add(b"k", number)
    readers.keep(b"k", lambda number: number in (2, 8))
    assert readers.item_count == 2
    assert readers.pop(b"k") == [2, 8]


def test_key_that_was_first_read_goes_first(readers: Readers) -> None:
    count = KEYS_A_STEP + 10
    for number in range(count):
        readers.add(b"%d" % number, 1)
    readers.pop(b"1")
    # It was read anew.
    readers.pop(b"0")
    readers.add(b"0", 1)
    went = []
    while readers:
        went.append(readers.next_to_forget())
        assert readers.pop(went[-1]) == [1]
    assert went == [*(b"%d" % number for number in range(2, count)), b"0"]


def test_key_that_went_and_was_read_anew_does_not_go_next(readers: Readers) -> None:
    for key in (b"a", b"b"):
        readers.add(key, 1)
    assert readers.next_to_forget() == b"a"
    readers.pop(b"a")
    readers.add(b"a", 1)
    assert readers.next_to_forget() == b"b"


def test_what_was_forgotten_at_once_is_freed_in_steps(readers: Readers) -> None:
    assert not readers.free()
    readers.clear()
    assert not readers.free()
    for number in range(2 * KEYS_A_STEP + 1):
        readers.add(b"%d" % number, 1)
    readers.next_to_forget()
    readers.clear()
    assert (len(readers), readers.item_count) == (0, 0)
    readers.add(b"new", 1)
    assert readers.next_to_forget() == b"new"
    steps = 0
    while readers.free():
        steps += 1
    assert steps == 3
    assert len(readers) == 1
