"""The overlay of a freeze is a dict like any other, and the shards below it stay as they were until they are folded."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from kvserver.data.entries import Entry
from kvserver.data.freeze import TOMBSTONE, WRITES_A_FOLD, Overlay
from kvserver.data.keyspace import Keyspace
from kvserver.data.shards import Shard, load_shards, new_shards, shard_of
from kvserver.data.uses import Uses

KEYS = [b"key%d" % number for number in range(12)]


def loaded(members: dict[bytes, Entry]) -> list[Shard]:
    shards = new_shards()
    load_shards(shards, members.items())
    return shards


@pytest.mark.patches_compiled
@pytest.mark.parametrize(("count", "writes"), [(1, 256), (1, 2), (3, 1), (50, 256)])
def test_overlay_is_a_dict_however_far_it_is_folded(monkeypatch: pytest.MonkeyPatch, count: int, writes: int) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", count)
    monkeypatch.setattr("kvserver.data.freeze.WRITES_A_FOLD", writes)
    for seed in range(200):
        rng = random.Random(seed)
        model: dict[bytes, Entry] = dict.fromkeys(rng.sample(KEYS, 6), b"frozen")
        shards = loaded(model)
        frozen = [dict(shard) for shard in shards]
        overlay = Overlay(shards)
        access = overlay.access(Uses(len(new_shards()), 0))
        folded: set[int] = set()
        begun = -1
        for step in range(60):
            key = rng.choice(KEYS)
            if rng.random() < 0.5:
                access.set(key, b"%d" % step)
                model[key] = b"%d" % step
            else:
                assert access.delete(key) == (model.pop(key, None) is not None), seed
            if step >= 30 and len(folded) < count:
                begun = index = len(folded)
                told = list(overlay.members(index))
                if overlay.fold(index):
                    folded.add(index)
                    assert overlay.layer[index] is shards[index]
                assert list(overlay.members(index)) == told, "a member has another place"
            if begun in folded:
                begun = -1
            assert all(shard == frozen[index] for index, shard in enumerate(shards) if index not in {*folded, begun}), seed
            assert {key: access.get(key) for key in KEYS if access.get(key) is not None} == model, seed
            assert dict(pair for index in range(count) for pair in overlay.members(index)) == model, seed
            assert sum(map(len, shards)) + overlay.growth == len(model), seed
            unfolded = [writes for index, writes in enumerate(overlay.layer) if index not in folded and writes]
            assert overlay.unfolded() == unfolded, seed
        for index in range(len(folded), count):
            while not overlay.fold(index):
                pass
        assert {key: entry for shard in shards for key, entry in shard.items()} == model, seed
        assert overlay.growth == 0
        assert not overlay.unfolded()


@pytest.mark.patches_compiled
def test_members_stand_in_the_order_that_they_have_when_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 1)
    shards = loaded({b"a": b"1", b"b": b"2", b"c": b"3"})
    overlay = Overlay(shards)
    access = overlay.access(Uses(len(new_shards()), 0))
    access.set(b"new", b"4")
    access.delete(b"a")
    access.set(b"b", b"5")
    told = list(overlay.members(0))
    assert told == [(b"b", b"5"), (b"c", b"3"), (b"new", b"4")]
    overlay.fold(0)
    assert list(shards[0].items()) == told


def test_deletion_is_a_tombstone_only_where_there_is_something_to_bury() -> None:
    overlay = Overlay(loaded({b"frozen": b"1"}))
    access = overlay.access(Uses(len(new_shards()), 0))
    access.set(b"new", b"2")
    assert access.delete(b"new")
    assert not access.delete(b"new")
    assert access.delete(b"frozen")
    assert not access.delete(b"frozen")
    assert overlay.layer[shard_of(b"frozen")][b"frozen"] is TOMBSTONE
    assert b"new" not in overlay.layer[shard_of(b"new")]
    assert overlay.growth == -1


@pytest.mark.patches_compiled
@pytest.mark.parametrize("count", [1, 1021])
def test_step_of_a_fold_brings_back_some_writes_however_many_a_shard_has(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", count)
    keyspace = Keyspace(lambda: 0)
    keys = [b"key:%d" % number for number in range(4_000)]
    for key in keys:
        keyspace.set(key, b"value")
    cut = keyspace.cut()
    for key in keys:
        keyspace.set(key, b"other")
    shards, overlays = keyspace.layers
    sizes = [len(keys)]
    for _ in keyspace.fold(cut):
        sizes.append(sum(len(writes) for shard, writes in zip(shards, overlays, strict=True) if writes is not shard))
    assert sizes[-1] == 0
    assert max(before - after for before, after in pairwise(sizes)) <= WRITES_A_FOLD
    assert {key: keyspace.get(key) for key in keys} == dict.fromkeys(keys, b"other")
