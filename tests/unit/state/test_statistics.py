"""Rates are the mean of the last samples."""

from __future__ import annotations

from kvserver.state.statistics import SAMPLES, Counters, Rate, Rates


def test_steady_growth_is_its_own_rate() -> None:
    rate = Rate()
    for tick in range(SAMPLES + 1):
        rate.sample(tick * 50, 1_000 + tick * 100)
    assert rate.per_second == 500


def test_first_sample_and_a_reset_count_for_nothing() -> None:
    rate = Rate()
    rate.sample(1_000_000, 1_000)
    assert rate.per_second == 0
    rate.sample(0, 1_100)
    assert rate.per_second == 0
    rate.sample(16, 1_200)
    assert rate.per_second == 10


def test_clock_that_stands_or_goes_back_is_no_error() -> None:
    rate = Rate()
    for now_ms in (1_000, 1_000, 900):
        rate.sample(5, now_ms)
    assert rate.per_second == 0


def test_what_was_long_ago_is_forgotten() -> None:
    rate = Rate()
    for tick in range(3 * SAMPLES):
        rate.sample(1000 * min(tick, SAMPLES), 1_000 + tick * 100)
    assert rate.per_second == 0


def test_rates_are_nil_when_nothing_has_come_or_gone_for_all_of_the_samples() -> None:
    rates, counters, now_ms = Rates(), Counters(), 1_000
    rates.sample(counters, now_ms)
    assert rates.are_nil
    counters.output_bytes += 1
    for _ in range(SAMPLES):
        now_ms += 100
        rates.sample(counters, now_ms)
        assert not rates.are_nil
    rates.sample(counters, now_ms + 100)
    assert rates.are_nil
