"""The keyspace is a dict with expiry that can be frozen, against a dict that is copied."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from helpers.keyspaces import Clock, KeyspaceMachine, contents, filled
from helpers.small_chunks import divide_small_collections
from kvserver.data.entries import Expiring
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import SHARDS, Access, Shard, drain, new_shards
from kvserver.types.list.value import List


@pytest.mark.parametrize("shards", [SHARDS, 3, 1])
def test_keyspace_is_a_dict_and_a_cut_its_copy_whatever_happens(monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", shards)
    divide_small_collections(monkeypatch)
    # Building a thousand dicts for each example is what takes the time. Compiled, there are always so many.
    examples = 30 if len(new_shards()) == SHARDS else 150
    one_at_a_time = settings(max_examples=examples, stateful_step_count=30, report_multiple_bugs=False)
    run_state_machine_as_test(KeyspaceMachine, settings=one_at_a_time)


# --- What is better said one by one ---


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
    for _ in drain(unused):
        pass
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


def test_value_without_an_expiry_that_is_to_be_changed_is_forked_once_where_it_is_frozen() -> None:
    keyspace = Keyspace(Clock())
    keyspace.set(b"k", List([b"a"], is_value=True))
    present = keyspace.get(b"k")
    assert keyspace.own_plain(b"k", present) is present
    cut = keyspace.cut()
    owned = keyspace.own_plain(b"k", present)
    assert owned is not present
    assert keyspace.get(b"k") is owned
    assert keyspace.own_plain(b"k", owned) is owned
    assert cut.lookup(b"k") is present
