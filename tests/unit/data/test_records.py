"""Records of all databases stand in one order, with the database of each, and a SELECT where they are taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.data.databases import Databases
from kvserver.data.records import Records


def record(records: Records, number: int, word: bytes) -> None:
    one, _ = records.recorders(number)
    one([word])


def test_records_of_one_database_need_no_word_more() -> None:
    records = Records()
    record(records, 0, b"a")
    record(records, 0, b"b")
    assert (records.position, records.changes, records.has_any) == (2, 2, True)
    assert records.take() == [[b"a"], [b"b"]]
    assert (records.position, records.changes, records.has_any, records.take()) == (2, 2, False, [])


@given(st.lists(st.lists(st.integers(0, 3), max_size=8), max_size=4), st.integers(0, 12))
def test_each_take_begins_and_ends_in_database_0_and_has_each_record_in_its_own(ticks: list[list[int]], since: int) -> None:
    records = Records()
    made: list[tuple[int, list[bytes]]] = []
    for tick in ticks:
        taken = len(made)
        for number in tick:
            made.append((number, [b"%d" % len(made)]))
            if len(made) % 2:
                record(records, *made[-1][:1], made[-1][1][0])
            else:
                _, several = records.recorders(number)
                several([made[-1][1]])
        assert records.since(since) == made[max(since, taken) :]
        assert (records.position, records.has_any) == (len(made), bool(tick))
        selected, found = 0, []
        for request in records.take():
            if request[0] == b"SELECT":
                assert int(request[1]) != selected, "a SELECT that changes nothing"
                selected = int(request[1])
            else:
                found.append((selected, request))
        assert selected == 0
        assert found == made[taken:]


class Noting:
    """An observer that notes what it is told."""

    def __init__(self, records: Records) -> None:
        self.seen: list[object] = []
        self._records = records

    def before_taking(self) -> None:
        self.seen.append(self._records.since(0))

    def before_replacing(self, number: int) -> None:
        self.seen.append(("before", number))

    def after_replacing(self, number: int) -> None:
        self.seen.append(("after", number))

    def wrote_beside(self, number: int, key: bytes) -> None:
        self.seen.append((number, key))


def test_whoever_observes_is_told_before_records_are_taken() -> None:
    records = Records()
    observer = Noting(records)
    records.attend(observer)
    record(records, 2, b"a")
    records.take()
    assert observer.seen == [[(2, [b"a"])]]


class Leaving(Noting):
    """An observer that leaves with the first thing it is told."""

    def before_taking(self) -> None:
        super().before_taking()
        self._records.leave(self)


def test_one_that_leaves_while_all_are_told_keeps_nobody_from_being_told() -> None:
    records = Records()
    one, other = Leaving(records), Noting(records)
    records.attend(one)
    records.attend(other)
    records.attend(other)
    for _ in range(2):
        record(records, 0, b"a")
        records.take()
    assert (len(one.seen), len(other.seen)) == (1, 2)
    assert records.observers == (other,)


@pytest.mark.parametrize("number", [0, 3])
def test_key_and_database_that_were_written_beside_are_told(number: int) -> None:
    databases = Databases(lambda: 0)
    keyspace, target = databases[number], databases[5]
    keyspace.put(b"k", b"v")
    observer = Noting(databases.records)
    databases.records.attend(observer)
    keyspace.put_copy(b"k", b"beside", b"v", target)
    keyspace.put_copy(b"k", b"here", b"v", keyspace)
    keyspace.move(b"k", b"v", target)
    databases.swap(number, 5)
    databases[5].clear()
    swapped = [("before", number), ("before", 5), ("after", number), ("after", 5)]
    assert observer.seen == [(5, b"beside"), (5, b"k"), *swapped, ("before", 5), ("after", 5)]


def test_what_is_kept_back_is_taken_later_with_its_databases() -> None:
    records = Records()
    record, _ = records.recorders(0)
    record_in_3, _ = records.recorders(3)
    record([b"a"])
    record_in_3([b"b"])
    position = records.position
    record_in_3([b"c"])
    record([b"d"])
    records.keep_from(position)
    assert records.has_any
    assert records.take() == [[b"a"], [b"SELECT", b"3"], [b"b"], [b"SELECT", b"0"]]
    assert not records.has_any
    assert records.take() == []
    record_in_3([b"e"])
    assert records.since(position) == [(3, [b"c"]), (0, [b"d"]), (3, [b"e"])]
    records.keep_from(None)
    taken = [[b"SELECT", b"3"], [b"c"], [b"SELECT", b"0"], [b"d"], [b"SELECT", b"3"], [b"e"], [b"SELECT", b"0"]]
    assert records.take() == taken
    assert (records.has_any, records.position) == (False, 5)
