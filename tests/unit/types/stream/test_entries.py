"""The entries of a stream behave as a list of them; nodes are those of Redis (the case file compares DUMP)."""

from __future__ import annotations

import random

import pytest

from kvserver.containers.runs import Runs
from kvserver.types.stream.entries import Entries
from kvserver.types.stream.ids import FIRST, LAST, Id
from kvserver.types.stream.node import Item

NODE = 4


class Model:
    """What the entries should be."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def between(self, start: Id, end: Id) -> list[Item]:
        return [item for item in self.items if start <= item[0] <= end]


def check(entries: Entries, model: Model, rng: random.Random) -> None:
    items = model.items
    assert entries.count == len(items) == sum(entries.sizes)
    assert entries.range() == items
    assert entries.first() == (items[0][0] if items else None)
    assert entries.last() == (items[-1][0] if items else None)
    for _ in range(3):
        start, end = (((rng.randint(0, 130), rng.randint(0, 2)) if rng.random() < 0.9 else bound) for bound in (FIRST, LAST))
        found, count = model.between(start, end), rng.randint(0, 9)
        assert entries.range(start, end) == found
        assert entries.range(start, end, count) == found[:count]
        assert entries.range(start, end, is_backward=True) == found[::-1]
        assert entries.range(start, end, count, is_backward=True) == found[::-1][:count]
        span = entries.span(start, count)
        assert (
            span is None
            or (span[0].items(*span[1:]) if span[1] < span[2] else []) == model.between(start, LAST)[: count or None]
        )
        some = sorted({(rng.randint(0, 130), rng.randint(0, 2)) for _ in range(rng.choice((3, 90)))})
        assert entries.have(some) == [any(item[0] == identity for item in items) for identity in some]
        assert entries.has(start) == any(item[0] == start for item in items)
        assert entries.get(start) == next((strings for identity, strings in items if identity == start), None)
    assert entries.size_bytes() > 0


def step(entries: Entries, model: Model, rng: random.Random, number: int) -> None:
    kind = rng.random()
    if kind < 0.6:
        strings = rng.choice(([b"f", b"%d" % number], [b"f", b"\0"], [b"g", b"1", b"h", b"2"], [b"f", b"x" * 2000]))
        entries.add((number, number % 3), strings, NODE, 4096)
        model.items.append(((number, number % 3), strings))
    elif kind < 0.85:
        identity = rng.choice(model.items)[0] if model.items and rng.random() < 0.8 else (rng.randint(0, number), 1)
        was_there = any(item[0] == identity for item in model.items)
        assert entries.remove(identity) == was_there
        model.items = [item for item in model.items if item[0] != identity]
    elif kind < 0.92:
        length, is_exact = rng.randint(0, len(model.items) + 2), rng.random() < 0.5
        removed = entries.trim_to_length(length, is_exact=is_exact, limit=0 if is_exact else rng.choice((0, 5, 20)))
        assert removed <= max(len(model.items) - length, 0)
        assert removed == max(len(model.items) - length, 0) or not is_exact
        del model.items[:removed]
    else:
        least, is_exact = (rng.randint(0, number + 1), 1), rng.random() < 0.5
        below = sum(item[0] < least for item in model.items)
        removed = entries.trim_to_id(least, is_exact=is_exact, limit=0 if is_exact else rng.choice((0, 5, 20)))
        assert removed == below if is_exact else removed <= below
        del model.items[:removed]


def test_random_steps_do_what_they_do_to_a_list() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        entries, model, forks = Entries(), Model(), []
        for number in range(1, 120):
            step(entries, model, rng, number)
            if rng.random() < 0.05:
                forks.append((entries.fork(), model.items.copy()))
                if rng.random() < 0.5:
                    other, items = forks.pop()
                    forks.append((entries, model.items.copy()))
                    entries, model.items = other, items
            if not number % 5:
                check(entries, model, rng)
        for fork, items in forks:
            assert fork.range() == items, f"seed {seed}"


def test_long_stream_has_pages_of_nodes() -> None:
    class Small(Entries):
        MOST_FLAT = 8

    entries = Small()
    for number in range(1, 2_000):
        entries.add((number, 0), [b"f", b"v"], 2, 4096)
    assert not isinstance(entries.runs, list)
    fork = entries.fork()
    assert [identity for identity, _ in entries.range((1_000, 0), count=3)] == [(1_000, 0), (1_001, 0), (1_002, 0)]
    assert entries.trim_to_length(900, is_exact=False) == 1_098
    assert entries.first() == (1_099, 0)
    assert entries.remove((1_500, 0))
    assert not entries.has((1_500, 0))
    assert fork.count == 1_999
    assert fork.first() == (1, 0)
    assert fork.has((1_500, 0))
    assert issubclass(Small, Runs)


def test_entries_may_have_ids_again_that_deleted_ones_had() -> None:
    entries = Entries()
    for number in (1, 5, 6):
        entries.add((number, 0), [b"f", b"v"], NODE, 4096)
    entries.remove((5, 0))
    entries.remove((6, 0))
    fork = entries.fork()
    entries.forget_behind((1, 5))
    entries.add((5, 0), [b"f", b"w"], NODE, 4096)
    assert entries.range() == [((1, 0), [b"f", b"v"]), ((5, 0), [b"f", b"w"])]
    assert [identity for identity, _, _ in next(fork.nodes()).every()] == [(1, 0), (5, 0), (6, 0)]
    alone = Entries()
    for number in (4, 5, 6):
        alone.add((number, 0), [b"f", b"v"], NODE, 4096)
    alone.remove((6, 0))
    assert alone.trim_to_id((6, 0), is_exact=True) == 2
    assert alone.node_count == 1
    assert alone.first() is alone.last() is None
    alone.forget_behind((2, 0))
    alone.add((3, 0), [b"f", b"w"], NODE, 4096)
    assert alone.range() == [((3, 0), [b"f", b"w"])]


def test_entries_that_come_together_are_divided_into_the_same_nodes() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    together, one_by_one = Entries(), Entries()
    added_together, milliseconds = 0, 5
    for _ in range(200):
        milliseconds += rng.choice((1, 1, 200, 1 << 20))
        fields = rng.choice(([b"f"], [b"f"], [b"g", b"7"]))
        length = rng.choice((3, 3, 64, 130))
        first = rng.choice((0, 0, 100, 5000))
        ids = [(milliseconds, first + number) for number in range(rng.randint(1, 40))]
        rows = [[part for field in fields for part in (field, rng.choice((b"-12", b"x" * length)))] for _ in ids]
        for identity, row in zip(ids, rows, strict=True):
            one_by_one.add(identity, row, 50, 1500)
        added = 0
        while added < len(ids):
            count = together.add_alike(ids[added:], rows[added:], 50, 1500)
            added_together += count
            if not count:
                together.add(ids[added], rows[added], 50, 1500)
            added += count or 1
        if rng.random() < 0.1:
            assert together.remove(ids[-1])
            assert one_by_one.remove(ids[-1])
    assert together.range() == one_by_one.range()
    assert [len(node) for node in together.nodes()] == [len(node) for node in one_by_one.nodes()]
    assert added_together > 500


@pytest.mark.parametrize("most_entries", [0, 5000])
def test_no_node_gets_more_than_a_thousand_entries(most_entries: int) -> None:
    entries, ids = Entries(), [(7, number) for number in range(2_500)]
    for identity in ids[:1_200]:
        entries.add(identity, [b"f", b"v"], most_entries, 0)
    for start in range(1_200, 2_500, 50):
        if not entries.add_alike(ids[start : start + 50], [[b"f", b"v"]] * 50, most_entries, 0):
            entries.add(ids[start], [b"f", b"v"], most_entries, 0)
    assert max(map(len, entries.nodes())) == 1_000
    assert entries.node_count >= 2
