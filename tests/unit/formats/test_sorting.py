"""Batches hold every member once, sorted by name, whatever the keys and values are; shards stay equal and sorted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import cut_of, entries, keys
from kvserver._speedups.choice import TWINS
from kvserver.data.entries import Entry, Expiring
from kvserver.data.freeze import Cut
from kvserver.formats.codec import JSONText
from kvserver.formats.sorting import BATCH_BYTES, BATCH_KEYS, LONG_VALUE_BYTES, Batch, in_order
from kvserver.formats.tags import Mapping, Tagged
from kvserver.types import PLAIN, TAGGED


def batches_of(cut: Cut, mapping: Mapping = TAGGED) -> list[Batch]:
    return [batch for batch in in_order(cut, mapping) if batch is not None]


def names_of(batches: list[Batch]) -> list[bytes]:
    return [member.split(b"\0")[0] if batch.has_values else member for batch in batches for member in batch.members]


def expected_names(contents: dict[bytes, Entry]) -> list[bytes]:
    return sorted(TAGGED.encode_key(key).encode("utf-8", "surrogatepass") for key in contents)


@settings(max_examples=60)
@given(st.dictionaries(keys | st.binary(max_size=4), entries, max_size=40))
def test_every_member_comes_once_and_in_the_order_of_the_names(contents: dict[bytes, Entry]) -> None:
    assert names_of(batches_of(cut_of(contents))) == expected_names(contents)


@pytest.mark.parametrize("count", [1, BATCH_KEYS, 5_000, 40_000])
def test_values_travel_beside_their_names(count: int) -> None:
    source = random.Random(count)
    strings = {b"key:%d" % source.randrange(10**9): b"%d" % number for number in range(count)}
    contents: dict[bytes, Entry] = {**strings}
    batches = batches_of(cut_of(contents))
    assert all(batch.has_values and 0 < len(batch.members) <= BATCH_KEYS for batch in batches)
    members = [member for batch in batches for member in batch.members]
    assert members == [b"%b\0%b" % member for member in sorted(strings.items())]


@pytest.mark.parametrize("seed", range(8))
def test_batch_keeps_both_limits_whatever_is_long(seed: int) -> None:
    source = random.Random(seed)
    contents: dict[bytes, Entry] = {b"%d" % number: b"x" * source.choice((1, 1, 1, 500, 1000)) for number in range(3_000)}
    contents |= {b"%d" % number + b"y" * source.choice((0, 0, 0, 5_000)): b"" for number in range(1_000)}
    contents[b"one" + b"z" * 2 * BATCH_BYTES] = b""
    batches = batches_of(cut_of(contents))
    assert all(0 < len(batch.members) <= BATCH_KEYS for batch in batches)
    assert all(len(batch.members) == 1 or sum(map(len, batch.members)) <= BATCH_BYTES for batch in batches)
    assert names_of(batches) == expected_names(contents)


def test_value_that_is_no_short_string_is_to_be_looked_up() -> None:
    contents: dict[bytes, Entry] = {
        b"a": b"short",
        b"b": b"x" * LONG_VALUE_BYTES,
        b"c": b"x" * (LONG_VALUE_BYTES + 1),
        b"d": JSONText(b"1"),
        b"e": Expiring(b"v", 1),
    }
    (batch,) = batches_of(cut_of(contents))
    assert batch.members == [b"a\0short", b"b\0" + b"x" * LONG_VALUE_BYTES, b"c\0\0", b"d\0\0", b"e\0\0"]


def test_a_nul_in_a_name_leaves_the_names_alone() -> None:
    """Else `a`, NUL, `c` would stand behind `a NUL b`, NUL, …, although its name is the shorter one."""
    (batch,) = batches_of(cut_of({b"a": b"c", b"a\0b": b"v", b"a!": b"v"}))
    assert batch == Batch([b"a", b"a\0b", b"a!"], False)


@pytest.mark.parametrize("mapping", [PLAIN, TAGGED])
def test_shards_are_equal_and_in_order_afterwards_and_stay_as_they_are_the_next_time(mapping: Mapping) -> None:
    source = random.Random(3)
    contents: dict[bytes, Entry] = {b"key:%d" % source.randrange(10**9): b"v" for _ in range(30_000)}
    contents[b""] = b"v"
    cut = cut_of(contents)
    before = [dict(shard) for shard in cut.shards]
    batches_of(cut, mapping)
    assert cut.shards == before
    assert all(list(shard) == sorted(shard) for shard in cut.shards)
    shards = list(cut.shards)
    batches_of(cut, mapping)
    assert all(now is then for now, then in zip(cut.shards, shards, strict=True))


def test_sorting_is_divided_into_steps() -> None:
    cut = cut_of({b"key:%d" % number: b"v" for number in range(50_000)})
    steps = list(in_order(cut, TAGGED))
    assert steps.count(None) > 3 * 50_000 / BATCH_KEYS


class CountingTags(Tagged):
    """Tags that count the names and the keys that are asked for."""

    asked = 0

    def encode_key(self, key: bytes, number: int = 0) -> str:
        self.asked += 1
        return super().encode_key(key, number)

    def decode_key(self, name: str) -> tuple[int, bytes]:
        self.asked += 1
        return super().decode_key(name)


def test_step_makes_few_names_of_keys_that_are_no_text() -> None:
    source, tags = random.Random(5), CountingTags()
    contents: dict[bytes, Entry] = {b"\xff%b" % source.randbytes(8): b"v" for _ in range(3_000)}
    cut = Cut([contents], [0])
    most = before = 0
    found = []
    for batch in in_order(cut, tags):
        most, before = max(most, tags.asked - before), tags.asked
        found += [batch] if batch else []
    assert names_of(found) == expected_names(cut.shards[0])
    assert tags.asked >= 3 * 3_000
    assert most <= 64


class CountedKey(bytes):
    """A key that counts how often one is compared with another."""

    comparisons = 0

    def __lt__(self, other: bytes) -> bool:
        CountedKey.comparisons += 1
        return bytes.__lt__(self, other)


@pytest.mark.parametrize("count", [5_000, 30_000])
def test_step_compares_no_more_names_however_many_keys_a_shard_has(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    # What is written in C compares without a call.
    for name in ("sort_strings", "sorted_members"):
        monkeypatch.setattr(f"kvserver.formats.sorting.{name}", TWINS[name])
    source = random.Random(count)
    shard: dict[bytes, Entry] = {CountedKey(b"%d" % source.randrange(10**9)): b"v" for _ in range(count)}
    cut = Cut([shard], [0])
    most = before = CountedKey.comparisons = 0
    found: list[bytes] = []
    for batch in in_order(cut, TAGGED):
        most, before = max(most, CountedKey.comparisons - before), CountedKey.comparisons
        found += batch.members if batch else ()
    assert found == [b"%b\0v" % key for key in sorted(map(bytes, cut.shards[0]))]
    assert most < 25_000
    assert not shard, "what refers to the entries was let go all at once"
