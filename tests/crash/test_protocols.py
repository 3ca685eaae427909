"""The protocols by which nodes share a log keep what they promise, on a simulated clock and engine, and others do not.

That the wrong ones break proves that the judge sees. KVSERVER_PROTOCOL_SEEDS is the count of seeds of each right protocol, and
KVSERVER_PROTOCOL_SEED a single one. A seed reproduces exactly.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from helpers.protocols import RIGHT, WRONG, simulate

SEEDS = int(os.environ.get("KVSERVER_PROTOCOL_SEEDS", "300"))
ONE_SEED = os.environ.get("KVSERVER_PROTOCOL_SEED")
# The seeds are split into so many tests, so that all cores have some.
PARTS = 3
# What is wrong in rare cases alone shows in one of so many seeds.
MOST_SEEDS = 400
# Of so many seeds of what is wrong at large, so many break at least.
FEW_SEEDS = 40
LEAST_BROKEN = {
    "names, deleted behind snapshots": 20,
    "a chain whose fences are deleted": 5,
    "a sequence with several in flight": 2,
    "no condition": 35,
}


@pytest.mark.timeout(60 + SEEDS // 4)
@pytest.mark.parametrize("part", range(1 if ONE_SEED else PARTS))
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_protocol_breaks_on_no_seed(name: str, part: int) -> None:
    counts: Counter[str] = Counter()
    for seed in [int(ONE_SEED)] if ONE_SEED else range(part, SEEDS, PARTS):
        verdict = simulate(RIGHT[name], seed)
        assert not verdict.broken, f"KVSERVER_PROTOCOL_SEED={seed} of {name}: {verdict.broken}"
        counts += verdict.counts
    print(name, dict(counts))
    if not ONE_SEED and SEEDS >= 100 * PARTS:
        assert min(counts[what] for what in ("write", "read", "takeovers", "snapshots")) > SEEDS // PARTS, counts


@pytest.mark.parametrize("name", LEAST_BROKEN)
def test_a_wrong_protocol_breaks_on_many_seeds(name: str) -> None:
    verdicts = [simulate(WRONG[name], seed) for seed in range(FEW_SEEDS)]
    kinds = Counter(kind for verdict in verdicts for kind in verdict.broken)
    broken = sum(bool(verdict.broken) for verdict in verdicts)
    print(f"{name}: {broken} of {FEW_SEEDS} seeds broken: {dict(kinds)}")
    assert broken >= LEAST_BROKEN[name]


@pytest.mark.parametrize("name", [name for name in WRONG if name not in LEAST_BROKEN])
def test_a_protocol_that_is_wrong_in_rare_cases_breaks_on_a_seed(name: str) -> None:
    for seed in range(MOST_SEEDS):
        if broken := simulate(WRONG[name], seed).broken:
            print(f"{name}: the seed {seed} shows {broken}")
            return
    raise AssertionError(f"{name}: none of {MOST_SEEDS} seeds is broken")


@pytest.mark.parametrize("name", RIGHT)
def test_a_seed_reproduces_exactly(name: str) -> None:
    assert simulate(RIGHT[name], 7) == simulate(RIGHT[name], 7)
