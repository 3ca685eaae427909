"""Long collections of RDB files are made in steps, and are what they would be if they were made at once."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Generator
from math import inf, nan
from typing import Any

import pytest

import kvserver.types
from helpers import blocks
from kvserver._speedups.rdb_strings import write_length, write_string
from kvserver.data.kinds import all_kinds, kind_of, load_of_dump
from kvserver.errors import DumpInvalid
from kvserver.formats.rdb_chunks import LONG_HASHES, LONG_LISTS, LONG_SETS, LONG_ZSETS
from kvserver.formats.rdb_collections import (
    HASH,
    HASH_METADATA,
    HASH_METADATA_PRE_GA,
    LIST,
    LIST_QUICKLIST,
    LIST_QUICKLIST_2,
    SET,
    ZSET_2,
)
from kvserver.types.stream.group import Consumer, Group
from kvserver.types.stream.payload import STREAM_LISTPACKS_2, STREAM_TYPES, write_stream
from kvserver.types.stream.stream import Stream

DAMAGES = int(os.environ.get("KVSERVER_CHUNKS_DAMAGES", "1500"))
SEED = int(os.environ.get("KVSERVER_CHUNKS_DAMAGES_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
LIMIT = 1 << 20
assert kvserver.types


def table(count: int, parts: list[bytes]) -> bytes:
    return write_length(count) + b"".join(parts)


def strings(count: int, per: int = 1, start: int = 0, size: int = 1) -> bytes:
    parts = [write_string(b"%d:%b" % (number, b"x" * size)) for number in range(start, start + per * count)]
    return table(count, parts)


def pairs(scores: list[float], names: list[bytes] | None = None) -> bytes:
    names = names or [b"m%d" % number for number in range(len(scores))]
    return table(
        len(scores), [write_string(name) + struct.pack("<d", score) for name, score in zip(names, scores, strict=True)]
    )


def fields(count: int, *, every: int = 3) -> bytes:
    parts = (write_length(number + 1 if number % every == 0 else 0) + write_string(b"f%d" % number) for number in range(count))
    return table(count, [part + write_string(b"v" * 9) for part in parts])


def stream(entries: int, *, is_pending: bool) -> bytes:
    """A stream with a group, to whose two consumers all entries, or none, were delivered."""
    made = Stream()
    for number in range(1, entries + 1):
        made.entries.add((number, 0), [b"f", b"%d" % number], 100, 4096)
    made.last_id, made.added = (entries, 0), entries
    group = made.groups.add(b"g", Group((entries, 0)))
    for name in (b"c", b"d"):
        group.consumers.add(name, Consumer(name, 5))
    for number in range(1, entries + 1 if is_pending else 1):
        group.deliver((number, 0), b"cd"[number % 2 :][:1], 7, 1)
    return write_stream(made)[1:]


TIME = (1_700_000_000_000).to_bytes(8, "little")
BODIES = [
    (LIST, strings(5_000)),
    (LIST, strings(3, size=9_000)),
    (
        LIST_QUICKLIST,
        table(40, [write_string(blocks.ziplist([blocks.ziplist_string(b"%d" % number) for number in range(60)]))] * 40),
    ),
    (
        LIST_QUICKLIST_2,
        table(
            30, [b"\2" + write_string(blocks.listpack([blocks.listpack_string(b"a" * 50)] * 60)), b"\1" + strings(1)[1:]] * 15
        ),
    ),
    (SET, strings(5_000)),
    (SET, table(3_000, [write_string(b"%d" % number) for number in range(3_000)])),
    (SET, table(500, [write_string(b"%d" % number) for number in range(500)])),
    (HASH, strings(3_000, per=2)),
    (HASH, strings(5, per=2, size=5_000)),
    (HASH_METADATA, TIME + fields(3_000)),
    (HASH_METADATA, TIME + fields(100)),
    (HASH_METADATA_PRE_GA, fields(3_000, every=1)),
    (ZSET_2, pairs([float(number) for number in range(3_000, 0, -1)])),
    (ZSET_2, pairs([float(number) for number in range(3_000)])),
    (ZSET_2, pairs([float(number * 7919 % 3001) for number in range(3_000)])),
    (ZSET_2, pairs([1.0] * 3_000, sorted((b"m%d" % number for number in range(3_000)), reverse=True))),
    (ZSET_2, pairs([inf, 0.5, -0.0, -inf])),
    (STREAM_LISTPACKS_2, stream(3_000, is_pending=True)),
    (STREAM_LISTPACKS_2, stream(3_000, is_pending=False)),
]
# What no collection holds, or only one without members: behind many members, and among them.
REFUSED = [
    (LIST, strings(5_000) + b"x"),
    (LIST, write_length(0)),
    (
        LIST_QUICKLIST_2,
        table(2, [b"\2" + write_string(blocks.listpack([blocks.listpack_string(b"a")])), b"\1" + write_string(b"")]),
    ),
    (SET, table(1_001, [strings(1_000)[2:], write_string(b"7:x")])),
    (SET, write_length(5_001) + strings(5_000)[2:]),
    (HASH, table(1_001, [strings(1_000, per=2)[2:], write_string(b"8:x"), write_string(b"again")])),
    (HASH, write_length(0)),
    (HASH_METADATA, TIME + table(1_001, [fields(1_000)[2:], write_length(0), write_string(b"f3"), write_string(b"again")])),
    (HASH_METADATA, b"\xff" * 8 + fields(3_000)),
    (ZSET_2, pairs([5.0, nan, 3.0])),
    (ZSET_2, pairs([float(number) for number in range(3_000, 0, -1)], [b"m%d" % (number % 2_999) for number in range(3_000)])),
    (ZSET_2, pairs([float(number) for number in range(3_000)], [b"m%d" % (number % 2_999) for number in range(3_000)])),
    (ZSET_2, write_length(0)),
    (STREAM_LISTPACKS_2, stream(1_000, is_pending=True) + b"x"),
    (STREAM_LISTPACKS_2, stream(1_000, is_pending=True)[:-16]),
]


def driven(steps: Generator[None, None, Any]) -> tuple[Any, int]:
    """What steps return, and how many they are."""
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, count
        count += 1


def outcome(dump_type: int, body: bytes, *, in_steps: bool) -> object:
    """All that there is to a value, or why there is none."""
    load = load_of_dump(dump_type)
    assert load
    assert load.steps
    try:
        value = driven(load.steps(bytearray(body), LIMIT))[0] if in_steps else load.value(body, LIMIT)
    except DumpInvalid as error:
        return type(error), str(error)
    kind = kind_of(value)
    return kind.encoding(value), kind.json(value), type(value), getattr(value, "earliest_ms", None)


def test_long_types_are_those_whose_members_stand_one_by_one() -> None:
    loads = {number: load for kind in all_kinds() for number, load in kind.loads.items()}
    made_in_steps = {number for number, load in loads.items() if load.steps}
    assert made_in_steps == {*LONG_LISTS, *LONG_SETS, *LONG_ZSETS, *LONG_HASHES, *STREAM_TYPES}
    # The texts of scores before Redis 4 are all that is left out, and what is no collection.
    assert {load.shape for number, load in loads.items() if b"[" in load.shape and number not in made_in_steps} == {b"[st]"}


@pytest.mark.parametrize(("dump_type", "body"), BODIES)
def test_value_that_is_made_in_steps_is_the_same(dump_type: int, body: bytes) -> None:
    made = outcome(dump_type, body, in_steps=True)
    assert made == outcome(dump_type, body, in_steps=False)
    assert not isinstance(made[0], type), "it is a value"  # type: ignore[index]


@pytest.mark.parametrize(("dump_type", "body"), REFUSED)
def test_what_is_refused_at_once_is_refused_in_steps(dump_type: int, body: bytes) -> None:
    refusal = outcome(dump_type, body, in_steps=True)
    assert refusal == outcome(dump_type, body, in_steps=False)
    assert issubclass(refusal[0], DumpInvalid)  # type: ignore[index]


@pytest.mark.parametrize(
    ("dump_type", "body", "least"),
    [(LIST, strings(5_000), 39), (SET, strings(5_000), 39), (HASH, strings(3_000, per=2), 46), (ZSET_2, pairs([5.0]), 2)]
    + [(STREAM_LISTPACKS_2, stream(3_000, is_pending=is_pending), least) for is_pending, least in ((False, 30), (True, 100))],
)
def test_no_step_takes_more_than_some_members(dump_type: int, body: bytes, least: int) -> None:
    load = load_of_dump(dump_type)
    assert load
    assert load.steps
    assert driven(load.steps(body, LIMIT))[1] >= least


def test_damaged_body_has_the_same_outcome_in_steps() -> None:
    print(f"KVSERVER_CHUNKS_DAMAGES_SEED={SEED}")
    rng = random.Random(SEED)
    refused = 0
    for _ in range(DAMAGES):
        dump_type, body = rng.choice([*BODIES, *REFUSED])
        damaged = bytearray(body[: rng.randrange(1, 4_000)] if rng.random() < 0.5 else body)
        for _ in range(rng.randrange(3)):
            damaged[rng.randrange(min(len(damaged), 4_000))] = rng.randrange(256)
        made = outcome(dump_type, bytes(damaged), in_steps=True)
        assert made == outcome(dump_type, bytes(damaged), in_steps=False), (dump_type, damaged)
        refused += isinstance(made[0], type)  # type: ignore[index]
    assert refused > DAMAGES // 4
