"""The growth of the log that one who follows has seen."""

from __future__ import annotations

import random

from kvserver.failover.growth import MOST_PLACES, Amount, Growth


def test_amount_behind_an_entry() -> None:
    growth = Growth()
    assert growth.behind(7) == (0, 0)
    growth.add(8, 10, 1)
    growth.add(9, 0, 0)
    growth.add(10, 5, 2)
    assert growth.behind(7) == (15, 3)
    assert growth.behind(8) == growth.behind(9) == (5, 2)
    assert growth.behind(10) == growth.behind(99) == (0, 0)


def test_long_log_takes_no_more_memory_and_little_is_told_too_much() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    growth = Growth()
    totals = [Amount()]
    for number in range(1, 20 * MOST_PLACES):
        byte_count, records = rng.choice(((0, 0), (rng.randrange(1, 1000), 1), (rng.randrange(1, 100_000), 9)))
        growth.add(number, byte_count, records)
        totals.append(Amount(totals[-1].byte_count + byte_count, totals[-1].records + records))
        assert len(growth._numbers) <= MOST_PLACES
    for number in rng.sample(range(len(totals)), 1000):
        told = growth.behind(number)
        true = Amount(*(total - before for total, before in zip(totals[-1], totals[number], strict=True)))
        assert true <= told
        assert told.records >= true.records
        assert told.byte_count - true.byte_count < totals[-1].byte_count / 200 + 100_000
