"""keyspace: a dict with expiry that can be frozen, against a dict that is copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from helpers.documents import exact
from kvserver.data.encodings import JSONText
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.expiry import SWEEP_REST_MS
from kvserver.data.freeze import Cut
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import SHARDS, Access, Shard, drain, load_shards, new_shards, shard_of

KEYS = [b"key%d" % number for number in range(12)]
keys = st.sampled_from(KEYS)
values: st.SearchStrategy[Value] = st.sampled_from([b"a", b"b", JSONText(b"1"), JSONText(b"[]")])
times = st.sampled_from([0, 1, 50, 100])


class Clock:
    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


def contents(cut: Cut) -> dict[bytes, Entry]:
    return {key: entry for shard in cut.shards for key, entry in shard.items()}


def is_due(entry: Entry, now_ms: int) -> bool:
    return isinstance(entry, Expiring) and entry.expires_at_ms <= now_ms


class KeyspaceMachine(RuleBasedStateMachine):
    """Everything that can happen to a keyspace, with a dict that says what must be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.keyspace = Keyspace(self.clock)
        self.model: dict[bytes, Entry] = {}
        self.unfolded: list[tuple[Cut, dict[bytes, Entry]]] = []
        self.folds: list[tuple[Cut, Iterator[None]]] = []
        self.drains: list[Iterator[None]] = []
        self.frozen_by: Cut | None = None  # until it is folded to its end or its data is replaced

    # What commands do

    @rule(key=keys, value=values)
    def set(self, key: bytes, value: Value) -> None:
        self.keyspace.set(key, value)
        self.model[key] = value

    @rule(key=keys, value=values, expires_at_ms=times)
    def set_expiring(self, key: bytes, value: Value, expires_at_ms: int) -> None:
        self.keyspace.set_expiring(key, value, expires_at_ms)
        self.model[key] = Expiring(value, expires_at_ms)

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        assert self.keyspace.delete(key) == (key in self.model)
        self.model.pop(key, None)

    @rule(key=keys)
    def live(self, key: bytes) -> None:
        entry = self.model.get(key)
        expired = self.keyspace.expired
        if entry is not None and is_due(entry, self.clock.now_ms):
            del self.model[key]
            assert self.keyspace.live(key) is None
            assert self.keyspace.expired == expired + 1
        else:
            value = entry.value if isinstance(entry, Expiring) else entry
            assert exact(self.keyspace.live(key)) == exact(value)
            assert self.keyspace.expired == expired

    @rule(milliseconds=st.sampled_from([1, 49, 50]))
    def time_passes(self, milliseconds: int) -> None:
        self.clock.now_ms += milliseconds

    @rule(calls=st.sampled_from([1, 3, 10**9]))
    def sweep(self, calls: int) -> None:
        """Removes what is due and nothing else; when it says that it has finished, nothing due is left."""
        expired = self.keyspace.expired
        for _ in range(calls):
            if not self.keyspace.sweep():
                break
        left = {key for key, _ in self.keyspace.members()}
        gone = {key: entry for key, entry in self.model.items() if key not in left}
        assert all(is_due(entry, self.clock.now_ms) for entry in gone.values())
        assert self.keyspace.expired == expired + len(gone)
        for key in gone:
            del self.model[key]

    @precondition(lambda self: self.frozen_by is None)
    @rule()
    def sweep_when_all_have_rested(self) -> None:
        self.clock.now_ms += 1 + round(SWEEP_REST_MS * len(KEYS))
        self.sweep(10**9)
        assert not any(is_due(entry, self.clock.now_ms) for entry in self.model.values())

    @rule()
    def expiries_are_counted(self) -> None:
        assert self.keyspace.expiries()[0] == sum(isinstance(entry, Expiring) for entry in self.model.values())

    @rule(members=st.dictionaries(keys, values | st.builds(Expiring, values, times)))
    def replace(self, members: dict[bytes, Entry]) -> None:
        shards = new_shards()
        load_shards(shards, members.items())
        self.drains.append(drain(self.keyspace.replace(shards)))
        self.model = dict(members)
        self.frozen_by = None

    # What a snapshot does

    @rule()
    def cut(self) -> None:
        if self.frozen_by is not None:
            with pytest.raises(RuntimeError):
                self.keyspace.cut()
            return
        self.frozen_by = self.keyspace.cut()
        assert self.frozen_by.at_ms == self.clock.now_ms
        self.unfolded.append((self.frozen_by, dict(self.model)))

    @precondition(lambda self: self.unfolded)
    @rule(data=st.data())
    def begin_fold(self, data: st.DataObject) -> None:
        cut, _ = self.unfolded.pop(data.draw(st.integers(0, len(self.unfolded) - 1)))
        self.folds.append((cut, self.keyspace.fold(cut)))
        self.step_fold(data)

    @precondition(lambda self: self.folds)
    @rule(data=st.data())
    def step_fold(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.folds) - 1))
        cut, fold = self.folds[index]
        for _ in range(data.draw(st.sampled_from([1, 2, 10**9]))):
            if next(fold, StopIteration) is StopIteration:
                del self.folds[index]
                self.frozen_by = None if self.frozen_by is cut else self.frozen_by
                break

    @precondition(lambda self: self.drains)
    @rule()
    def free_what_was_replaced(self) -> None:
        for _ in self.drains.pop(0):
            pass

    # What always holds

    @invariant()
    def keyspace_is_the_model(self) -> None:
        assert len(self.keyspace) == len(self.model)
        members = list(self.keyspace.members())
        assert len(members) == len(self.model)
        assert {key: exact(entry) for key, entry in members} == {key: exact(entry) for key, entry in self.model.items()}
        for key in KEYS:
            entry = self.model.get(key)
            assert exact(self.keyspace.get(key)) == exact(entry)
            assert self.keyspace.expires_at_ms(key) == (entry.expires_at_ms if isinstance(entry, Expiring) else None)

    @invariant()
    def it_is_known_that_there_is_an_expiry(self) -> None:
        assert self.keyspace.deadlines.has_any or not any(isinstance(entry, Expiring) for entry in self.model.values())
        for key, entry in self.model.items():
            assert self.keyspace.deadlines.may_be_in(shard_of(key)) or not isinstance(entry, Expiring)

    @invariant()
    def cuts_are_the_model_at_their_instant(self) -> None:
        for cut, then in self.unfolded:
            assert len(cut) == len(then)
            found = contents(cut)
            assert {key: exact(entry) for key, entry in found.items()} == {key: exact(entry) for key, entry in then.items()}
            assert all(exact(cut.lookup(key)) == exact(entry) for key, entry in then.items())


@pytest.mark.parametrize("shards", [SHARDS, 3, 1])
def test_keyspace_is_a_dict_and_a_cut_its_copy_whatever_happens(monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", shards)
    # Building a thousand dicts for each example is what takes the time. Compiled, there are always so many.
    examples = 40 if len(new_shards()) == SHARDS else 300
    one_at_a_time = settings(max_examples=examples, stateful_step_count=30, report_multiple_bugs=False)
    run_state_machine_as_test(KeyspaceMachine, settings=one_at_a_time)


# --- What is better said one by one ---


def filled(count: int) -> Keyspace:
    keyspace = Keyspace(lambda: 0)
    for number in range(count):
        keyspace.set(b"%d" % number, b"old")
    return keyspace


def test_cut_of_many_keys_stays_as_it_was_while_all_are_rewritten_and_folded() -> None:
    count = 5_000
    keyspace = filled(count)
    cut = keyspace.cut()
    for number in range(0, count, 2):
        keyspace.set(b"%d" % number, b"new")
    for number in range(1, count, 2):
        keyspace.delete(b"%d" % number)
    for number in range(count, count + 100):
        keyspace.set(b"%d" % number, b"more")
    assert contents(cut) == {b"%d" % number: b"old" for number in range(count)}
    steps = 0
    for _ in keyspace.fold(cut):
        steps += 1
        assert len(keyspace) == count // 2 + 100
        assert keyspace.get(b"0") == b"new"
        assert keyspace.get(b"1") is None
    assert steps > 900, "a fold in few steps stalls the event loop"
    expected = {b"%d" % number: b"new" for number in range(0, count, 2)}
    expected |= {b"%d" % number: b"more" for number in range(count, count + 100)}
    assert dict(keyspace.members()) == expected


def test_writes_between_the_steps_of_a_fold_are_kept() -> None:
    keyspace = filled(3_000)
    cut = keyspace.cut()
    for number in range(3_000):
        keyspace.set(b"%d" % number, b"frozen")
    expected = dict.fromkeys((b"%d" % number for number in range(3_000)), b"frozen")
    for number, _ in enumerate(keyspace.fold(cut)):
        key = b"%d" % number
        if number % 2:
            assert keyspace.delete(key)
            del expected[key]
        else:
            keyspace.set(key, b"folding")
            expected[key] = b"folding"
    assert dict(keyspace.members()) == expected
    assert len(keyspace) == len(expected)


def test_second_cut_is_refused_until_the_first_is_folded_to_its_end() -> None:
    keyspace = filled(100)
    cut = keyspace.cut()
    with pytest.raises(RuntimeError, match="frozen"):
        keyspace.cut()
    for number in range(100):
        keyspace.set(b"%d" % number, b"new")
    fold = keyspace.fold(cut)
    next(fold)
    with pytest.raises(RuntimeError, match="frozen"):
        keyspace.cut()
    for _ in fold:
        pass
    assert len(keyspace.cut()) == 100


def test_replace_while_a_cut_is_written_leaves_the_cut_whole() -> None:
    keyspace = filled(1_000)
    cut = keyspace.cut()
    keyspace.set(b"0", b"new")
    unused = keyspace.replace(new_shards())
    for _ in drain(unused):
        pass
    assert len(keyspace) == 0
    assert contents(cut) == {b"%d" % number: b"old" for number in range(1_000)}
    for _ in keyspace.fold(cut):
        pass
    assert len(keyspace) == 0


def test_replace_leaves_an_empty_cut_empty() -> None:
    keyspace = Keyspace(lambda: 0)
    cut = keyspace.cut()
    keyspace.set(b"later", b"1")
    keyspace.replace(new_shards())
    assert contents(cut) == {}


def test_fold_that_the_data_was_replaced_under_ends_no_later_cut() -> None:
    keyspace = filled(1)
    first = keyspace.cut()
    keyspace.set(b"0", b"new")
    fold = keyspace.fold(first)
    next(fold)
    for _ in drain(keyspace.replace(new_shards())):
        pass
    second = keyspace.cut()
    for _ in fold:
        pass
    keyspace.set(b"later", b"1")
    assert contents(second) == {}
    assert keyspace.get(b"later") == b"1"


def test_replace_gives_back_everything_that_was_there() -> None:
    keyspace = filled(1_000)
    unused = keyspace.replace(new_shards())
    assert sum(map(len, unused)) == 1_000
    steps = sum(1 for _ in drain(unused))
    assert steps == SHARDS
    assert not unused


def test_replace_while_frozen_gives_back_what_was_written_since_and_leaves_the_rest_to_the_fold() -> None:
    keyspace = filled(1_000)
    cut = keyspace.cut()
    for number in range(100):
        keyspace.set(b"new%d" % number, b"v")
    assert sum(map(len, keyspace.replace(new_shards()))) == 100
    assert len(cut) == 1_000
    for _ in keyspace.fold(cut):
        pass
    assert len(cut) == 0


def test_replace_while_folding_gives_back_what_is_folded_and_what_is_not() -> None:
    keyspace = filled(1_000)
    cut = keyspace.cut()
    for number in range(1_000):
        keyspace.set(b"new%d" % number, b"v")
    fold = keyspace.fold(cut)
    for _ in range(10):
        next(fold)
    unused = keyspace.replace(new_shards())
    assert sum(map(len, unused)) == 2_000
    assert len({id(shard) for shard in unused}) == len(unused), "a folded shard was given back twice"


def test_entry_is_gone_from_its_very_millisecond_on() -> None:
    clock = Clock()
    keyspace = Keyspace(clock)
    keyspace.set(b"k", Expiring(b"v", 100))
    clock.now_ms = 99
    assert keyspace.live(b"k") == b"v"
    clock.now_ms = 100
    assert keyspace.live(b"k") is None
    assert len(keyspace) == 0
    assert keyspace.expired == 1


def test_set_drops_the_expiry_that_was_there() -> None:
    keyspace = Keyspace(lambda: 0)
    keyspace.set(b"k", Expiring(b"v", 100))
    keyspace.set(b"k", b"w")
    assert keyspace.expires_at_ms(b"k") is None


def test_key_that_expires_while_frozen_is_still_in_the_cut() -> None:
    clock = Clock()
    keyspace = Keyspace(clock)
    keyspace.set(b"k", Expiring(b"v", 100))
    cut = keyspace.cut()
    clock.now_ms = 100
    assert keyspace.live(b"k") is None
    assert cut.lookup(b"k") == Expiring(b"v", 100)
    for _ in keyspace.fold(cut):
        pass
    assert keyspace.get(b"k") is None


class Recorder:
    """A witness that notes what it sees."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def wrap(self, plain: Access) -> Access:
        def get(key: bytes) -> Any:
            self.seen.append(("get", key))
            return plain.get(key)

        def set_(key: bytes, entry: Any) -> None:
            self.seen.append(("set", key))
            plain.set(key, entry)

        def delete(key: bytes) -> bool:
            self.seen.append(("delete", key))
            return plain.delete(key)

        return Access(get, set_, delete, plain.peek)

    def restart(self) -> list[Shard]:
        self.seen.append("restart")
        return [{b"unused": 1}]


def test_witness_sees_each_access_and_no_more_when_it_is_let_go() -> None:
    clock = Clock()
    keyspace, recorder = Keyspace(clock), Recorder()
    keyspace.set(b"before", b"v")
    keyspace.attend(recorder)
    keyspace.set(b"k", b"v")
    keyspace.live(b"k")
    keyspace.peek_live(b"k")
    cut = keyspace.cut()
    keyspace.delete(b"k")
    keyspace.set_expiring(b"e", b"v", 1)
    keyspace.expires_at_ms(b"e")
    for _ in keyspace.fold(cut):
        pass
    clock.now_ms = 1
    assert keyspace.sweep()
    assert {b"unused": 1} in keyspace.replace(new_shards())
    keyspace.get(b"k")
    wanted = [("set", b"k"), ("get", b"k"), ("delete", b"k"), ("set", b"e"), ("delete", b"e"), "restart", ("get", b"k")]
    assert recorder.seen == wanted
    keyspace.attend(None)
    keyspace.set(b"k", b"v")
    assert recorder.seen == wanted


def test_lookup_of_a_key_that_is_not_in_the_cut_raises() -> None:
    with pytest.raises(KeyError):
        filled(1).cut().lookup(b"missing")
