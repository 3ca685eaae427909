"""A table is a dict, whatever is done to it and to its forks; its scans meet what stays; and no step of it is a long one."""

from __future__ import annotations

import gc
import random
import sys
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from kvserver.containers import table
from kvserver.containers.table import FULL, Table

MEMBERS = [b"member%d" % number for number in range(150)]
some_members = st.builds(lambda start, length: MEMBERS[start : start + length], st.integers(0, 149), st.integers(1, 60))
values = st.sampled_from([None, b"", b"value", 1.5])


class Scan:
    """A scan that is under way: of members it must still give, and of those it may give."""

    def __init__(self, model: dict[bytes, object]) -> None:
        self.cursor = 0
        self.due = set(model)
        self.allowed = set(model)


class TableMachine(RuleBasedStateMachine):
    """Some tables, forks of each other, beside a dict for each, to which the same is done."""

    @initialize()
    def begin(self) -> None:
        self.pairs: list[tuple[Table, dict[bytes, object], list[Scan]]] = [(Table(), {}, [])]

    def choose(self, data: st.DataObject) -> tuple[Table, dict[bytes, object], list[Scan]]:
        return self.pairs[data.draw(st.integers(0, len(self.pairs) - 1))]

    @rule(data=st.data(), members=some_members, value=values, at_once=st.booleans())
    def set(self, data: st.DataObject, members: list[bytes], value: object, at_once: bool) -> None:
        found, model, scans = self.choose(data)
        if at_once:
            found.update((member, value) for member in members)
        else:
            assert [found.set(member, value) for member in members] == [member not in model for member in members]
        model.update(dict.fromkeys(members, value))
        for scan in scans:
            scan.allowed |= set(members)

    @rule(data=st.data(), members=some_members)
    def delete(self, data: st.DataObject, members: list[bytes]) -> None:
        found, model, scans = self.choose(data)
        assert [found.delete(member) for member in members] == [member in model for member in members]
        for member in members:
            model.pop(member, None)
        for scan in scans:
            scan.due -= set(members)

    @precondition(lambda self: len(self.pairs) < 4)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        found, model, _ = self.choose(data)
        self.pairs.append((found.fork(), dict(model), []))

    @precondition(lambda self: len(self.pairs) > 1)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self.pairs.remove(self.choose(data))

    @rule(data=st.data())
    def begin_scan(self, data: st.DataObject) -> None:
        _, model, scans = self.choose(data)
        scans.append(Scan(model))

    @rule(data=st.data(), calls=st.integers(1, 9))
    def go_on(self, data: st.DataObject, calls: int) -> None:
        found, model, scans = self.choose(data)
        for scan in scans.copy():
            for _ in range(calls):
                scan.cursor, members = found.scan(scan.cursor)
                assert set(members) <= model.keys() & scan.allowed
                scan.due -= set(members)
                if not scan.cursor:
                    assert not scan.due, "a member that was there all the time was not given"
                    scans.remove(scan)
                    break

    @rule(seed=st.integers(0, 99))
    def tables_are_the_dicts(self, seed: int) -> None:
        below = random.Random(seed).randrange
        for found, model, _ in self.pairs:
            assert len(found) == len(model)
            assert sorted(found) == sorted(model)
            assert dict(found.items()) == model
            assert [found.get(member) for member in MEMBERS] == [model.get(member) for member in MEMBERS]
            assert [member in found for member in MEMBERS] == [member in model for member in MEMBERS]
            assert not model or found.random(below) in model

    def teardown(self) -> None:
        if hasattr(self, "pairs"):
            self.tables_are_the_dicts(0)


@pytest.mark.patches_compiled
def test_tables_and_their_forks_are_dicts_and_scans_meet_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FULL", 4)
    monkeypatch.setattr(table, "PAGE_BITS", 2)
    monkeypatch.setattr(table, "IN_PAGE", 3)
    run_state_machine_as_test(
        TableMachine, settings=settings(max_examples=25, stateful_step_count=40, report_multiple_bugs=False)
    )


# --- What is better said one by one ---


def filled(count: int) -> Table:
    made = Table()
    made.update((b"%d" % number, b"value of %d" % number) for number in range(count))
    return made


def scan_whole(made: Table) -> list[list[bytes]]:
    cursor, members = made.scan(0)
    calls = [members]
    while cursor:
        cursor, members = made.scan(cursor)
        calls.append(members)
    return calls


def test_table_that_grows_and_shrinks_at_its_real_size_is_a_dict() -> None:
    made = filled(12_000)
    assert dict(made.items()) == {b"%d" % number: b"value of %d" % number for number in range(12_000)}
    assert all(made.delete(b"%d" % number) for number in range(11_990))
    assert dict(made.items()) == {b"%d" % number: b"value of %d" % number for number in range(11_990, 12_000)}
    assert len(scan_whole(made)) == 1
    assert all(made.delete(b"%d" % number) for number in range(11_990, 12_000))
    assert (len(made), list(made), scan_whole(made)) == (0, [], [[]])


@pytest.mark.parametrize("count", [0, 1, FULL, FULL + 1, 3 * FULL, 40 * FULL])
def test_scan_of_what_does_not_change_gives_each_member_once_in_calls_of_some_hundred(count: int) -> None:
    calls = scan_whole(filled(count))
    assert sorted(member for call in calls for member in call) == sorted(b"%d" % number for number in range(count))
    assert max(map(len, calls)) < 3 * FULL
    assert len(calls) <= count // FULL + 1


@pytest.mark.parametrize("cursor", [1, 2**31, 2**32 - 1, 2**32, 2**64 - 1])
def test_any_cursor_is_taken(cursor: int) -> None:
    made = filled(5 * FULL)
    following, members = made.scan(cursor)
    assert 0 <= following < 2**32
    assert all(member in made for member in members)


@pytest.mark.parametrize(("count", "left"), [(20, 20), (6 * FULL - 50, 6 * FULL - 50), (8 * FULL, 3 * FULL)])
def test_random_gives_all_members_the_same_chance(count: int, left: int) -> None:
    made = filled(count)
    for number in range(left, count):
        made.delete(b"%d" % number)
    seed, draws = 7, 15 * left
    below = random.Random(seed).randrange
    found = Counter(made.random(below) for _ in range(draws))
    expected = draws / left
    chi_square = sum((found[member] - expected) ** 2 / expected for member in made)
    assert found.keys() <= set(made)
    # Its mean is the number of degrees of freedom, and its variance is twice that. Six deviations are once in some 1e8 times.
    assert abs(chi_square - (left - 1)) < 6 * (2 * (left - 1)) ** 0.5 + 10, f"seed {seed}"


def test_there_is_no_random_member_where_there_is_none() -> None:
    with pytest.raises(IndexError, match="no member"):
        Table().random(random.randrange)


def chunks_of(made: Table) -> list[dict[bytes, object]]:
    return [chunk for page in made._pages for chunk in page]


def test_first_change_behind_a_fork_copies_one_chunk_on_the_side_that_changes() -> None:
    made = filled(20 * FULL)
    fork = made.fork()
    second = fork.fork()
    before = dict(made.items())
    chunks = chunks_of(made)
    fork.set(b"5", b"other")
    fork.set(b"5", b"another")
    made.delete(b"6")
    for one in (fork, made):
        assert sum(chunk is not original for chunk, original in zip(chunks_of(one), chunks, strict=True)) == 1
    assert chunks_of(second) == chunks
    assert dict(second.items()) == before
    assert (made.get(b"5"), fork.get(b"5"), second.get(b"5")) == (b"value of 5", b"another", b"value of 5")
    assert (b"6" in made, b"6" in fork, b"6" in second) == (False, True, True)


def test_chunk_that_a_split_or_a_merge_makes_is_not_copied_again() -> None:
    made = filled(8 * FULL).fork()
    made.set(b"that splits", None)
    chunks = chunks_of(made)
    made.update([(member, None) for member in [*chunks[0], *chunks[8]]])
    assert chunks_of(made)[0] is chunks[0]
    assert chunks_of(made)[8] is chunks[8]
    made = made.fork()
    members = iter(list(made))
    while len(chunks_of(made)) == len(chunks):
        made.delete(next(members))
    merged = chunks_of(made)[0]
    made.update([(member, None) for member in list(merged)])
    assert chunks_of(made)[0] is merged


@pytest.mark.patches_compiled
def test_merge_takes_no_chunk_out_of_a_page_that_a_fork_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FULL", 4)
    monkeypatch.setattr(table, "PAGE_BITS", 2)
    monkeypatch.setattr(table, "IN_PAGE", 3)
    made = filled(200)
    fork = made.fork()
    before = dict(fork.items())
    in_last_page = {member for chunk in made._pages[-1] for member in chunk}
    for member in before.keys() - in_last_page:
        made.delete(member)
    assert len(chunks_of(made)) < len(chunks_of(fork))
    assert dict(fork.items()) == before
    assert set(made) == in_last_page


def test_delete_of_a_missing_member_copies_nothing() -> None:
    made = filled(10)
    fork = made.fork()
    assert not made.delete(b"missing")
    assert chunks_of(made)[0] is chunks_of(fork)[0]


@pytest.mark.parametrize("count", [0, 10, FULL, 3 * FULL, 5 * FULL, 40 * FULL])
@pytest.mark.parametrize("value", [None, b"v", b"v" * 100])
def test_size_is_that_of_the_objects(count: int, value: bytes | None) -> None:
    made = Table()
    made.update((b"member:%06d" % number, value and b"%d" % number + value) for number in range(count))
    objects = [one for pair in made.items() for one in pair if one is not None]
    actual = sum(map(sys.getsizeof, [*objects, *chunks_of(made)]))
    assert 0.8 * actual - 50 < made.size_bytes() < 1.25 * actual + 50


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="since Python 3.14 the garbage collector tracks all dicts")
@pytest.mark.parametrize("value", [None, b"value", 1.5])
def test_garbage_collector_looks_at_no_chunk(value: object) -> None:
    made = Table()
    for number in range(20 * FULL):
        made.set(b"%d" % number, value)
    fork = made.fork()
    for number in range(19 * FULL):
        fork.delete(b"%d" % number)
    assert not any(map(gc.is_tracked, [*chunks_of(made), *chunks_of(fork)]))


def test_chunks_hold_each_member_once() -> None:
    table = Table()
    table.update((b"%d" % number, None) for number in range(2_000))
    chunks = [list(chunk) for chunk in table.chunks()]
    assert [member for chunk in chunks for member in chunk] == list(table)
    assert max(map(len, chunks)) < 5 * FULL


@pytest.mark.parametrize("count", [0, 1, FULL, FULL + 1, 2 * FULL + 1, 1_000, 5 * FULL, 40_000])
def test_table_that_is_filled_at_once_is_the_one_that_grew(count: int) -> None:
    pairs = [(b"member:%d" % number, b"%d" % number) for number in range(count)]
    grown, filled, emptied = Table(), Table(), Table()
    for member, value in pairs:
        grown.set(member, value)
        emptied.set(member, None)
    for member, _ in pairs:
        emptied.delete(member)
    for made in (filled, emptied):
        made.update(iter([*pairs, *pairs[:3]]))
        assert [list(chunk.items()) for page in made._pages for chunk in page] == [
            list(chunk.items()) for page in grown._pages for chunk in page
        ]
        assert list(map(len, made._pages)) == list(map(len, grown._pages))
        assert (len(made), made._chunk_count, made._high) == (count, grown._chunk_count, grown._high)
        assert len(made._owned_pages) == len(made._pages)
        assert abs(made.size_bytes() - grown.size_bytes()) <= grown.size_bytes() // 10
        made.set(b"one more", b"")
        assert len(made) == count + 1
