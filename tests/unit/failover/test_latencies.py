"""Durations of the last minute."""

from __future__ import annotations

from kvserver.failover.latencies import MOST, WINDOW_S, Latencies


def test_percentiles_are_those_of_the_last_minute() -> None:
    now = 0.0
    latencies = Latencies(lambda: now)
    assert latencies.percentile_us(50) == 0
    latencies.note(5.0)
    now = WINDOW_S
    for number in range(100):
        latencies.note(number / 1e6)
    assert latencies.percentile_us(100) == 5_000_000
    now += 1
    assert latencies.percentile_us(50) == 50
    assert latencies.percentile_us(99) == 99
    assert latencies.percentile_us(100) == 99


def test_memory_is_bounded() -> None:
    latencies = Latencies(lambda: 0.0)
    for number in range(MOST + 5):
        latencies.note(float(number))
    assert latencies.percentile_us(0) == 5_000_000
