"""Rows by id, against a dict: in many runs, with forks, loaded and freed in steps."""

from __future__ import annotations

from bisect import bisect_left
from random import Random
from time import perf_counter

import pytest

from kvserver.containers import lazyfree, pages
from kvserver.containers.runs import Runs
from kvserver.types.stream.ids import LAST, Id
from kvserver.types.stream.rows import Row, Rows

Model = dict[Id, Row]


def contents(rows: Rows) -> Model:
    found = {(row[0], row[1]): row[2:] for row in rows.rows()}
    assert list(found) == sorted(found)
    assert len(rows) == len(found)
    assert (rows.first_id(), rows.last_id()) == (min(found, default=None), max(found, default=None))
    return found


@pytest.mark.patches_compiled
@pytest.mark.parametrize(("load", "kinds"), [(2, "Oq"), (4, ""), (128, "OqQ")])
def test_rows_are_a_sorted_dict_whatever_happens(monkeypatch: pytest.MonkeyPatch, load: int, kinds: str) -> None:
    monkeypatch.setattr(Rows, "LOAD", load)
    monkeypatch.setattr(Runs, "GROUP_BITS", 1)
    monkeypatch.setattr(Runs, "MOST_FLAT", 3)
    monkeypatch.setattr(pages, "PAGE", 2)
    removed = 0
    for seed in range(5):
        rng, rows, model = Random(seed), Rows(kinds), Model()
        others: list[tuple[Rows, Model]] = []
        ids = [(rng.randrange(9), rng.randrange(9)) for _ in range(40)] + [LAST]
        ids.sort()
        for step in range(300):
            # Ids mostly come in order, and go from the front.
            identity = ids[min(step * 41 // 300, 40)] if rng.random() < 0.5 else rng.choice(ids)
            values = tuple({"O": b"name", "q": -step, "Q": 1 << 63}[kind] for kind in kinds)
            match rng.randrange(10):
                case 0 | 1 | 2 | 3 | 4:
                    assert rows.put(identity, *values) == model.get(identity), seed
                    model[identity] = values
                case 5 | 6 | 7:
                    assert rows.discard(identity) == model.pop(identity, None), seed
                case 8 if step % 20 == 0:
                    others.append((rows.fork(), dict(model)))
                case 8:
                    # Ids that follow each other, or not.
                    there = sorted(model)
                    place, count = bisect_left(there, identity), rng.randrange(1, 4)
                    block = [*there[place : place + count], *([identity] if rng.random() < 0.2 else [])]
                    columns = rows.discard_all(block) if block else None
                    if columns is not None:
                        assert list(zip(*columns, strict=True)) == [model[each] for each in block] or not kinds, seed
                        for each in block:
                            del model[each]
                        removed += len(block)
                case 9 if others and rng.random() < 0.1:
                    other, before = others.pop()
                    others.append((rows, model))
                    rows, model = other, before
            assert rows.get(identity) == model.get(identity), seed
            if step % 10:
                continue
            assert contents(rows) == model, seed
            behind = {(row[0], row[1]): row[2:] for row in rows.rows(identity)}
            assert behind == {each: model[each] for each in model if each >= identity}, seed
        assert all(contents(other) == before for other, before in others), seed
    assert removed > 20


def test_rows_that_are_loaded_are_those_that_are_put() -> None:
    loaded, put = Rows("q"), Rows("q")
    for start in range(0, 1000, 90):
        numbers = range(start, min(start + 90, 1000))
        loaded.load([[7] * len(numbers), list(numbers), [-number for number in numbers]])
        for number in numbers:
            put.put((7, number), -number)
    assert contents(loaded) == contents(put)
    assert loaded.get((7, 500)) == (-500,)


def test_many_rows_fork_in_a_short_step_and_are_freed_in_many() -> None:
    rows = Rows("OqQ")
    for start in range(0, 300_000, 256):
        numbers = range(start, min(start + 256, 300_000))
        rows.load([numbers, [0] * len(numbers), [b"a"] * len(numbers), [5] * len(numbers), [1] * len(numbers)])
    took = []
    for number in range(5):
        began = perf_counter()
        other = rows.fork()
        other.put((number, 0), b"b", 1, 1)
        took.append(perf_counter() - began)
    # A copy of all rows takes some ten milliseconds.
    assert min(took) < 0.003
    assert rows.get((4, 0)) == (b"a", 5, 1)
    assert 11_000_000 < rows.size_bytes() < 18_000_000
    lazyfree.begin()
    del rows, other
    steps = 0
    while lazyfree.free_some():
        steps += 1
    lazyfree.end()
    assert steps > 300
