"""The statistics of the benchmarks are right: ratios by pairs, their spread, goals, and the order of turns."""

import pytest

from bench.failure import BenchFailed
from bench.figures import Case, Goal, Measurement, Metric, Ratio
from bench.kinds import BASELINE, ECHO, SUBJECT, ServerKind
from bench.latencies import Latencies
from bench.progress import Progress
from bench.turns import take_turns

COST = Metric("cost", "µs")


def case_of(ours: list[float], theirs: list[float], *goals: Goal) -> Case:
    rounds = {
        SUBJECT.name: [Measurement({"cost": value}) for value in ours],
        BASELINE.name: [Measurement({"cost": value}) for value in theirs],
    }
    return Case("case", (COST,), goals, rounds)


def test_ratio_is_taken_within_each_round() -> None:
    # The machine got ten times slower between the rounds; the ratio of the medians would be 20 / 15.
    assert Ratio.of_pairs([2.0, 20.0, 30.0], [1.0, 10.0, 15.0]) == Ratio(2.0, 2.0, 2.0)


def test_spread_is_the_lowest_and_the_highest_pair() -> None:
    assert Ratio.of_pairs([9.0, 1.0, 2.0], [1.0, 1.0, 1.0]) == Ratio(2.0, 1.0, 9.0)


def test_ratio_of_two_rounds_is_between_them() -> None:
    assert Ratio.of_pairs([1.0, 2.0], [1.0, 1.0]) == Ratio(1.5, 1.0, 2.0)


def test_ratio_of_nothing_is_none() -> None:
    assert Ratio.of_pairs([], []) is None
    assert Ratio.of_pairs([1.0], []) is None
    assert Ratio.of_pairs([1.0], [0.0]) is None


def test_median_of_a_server_that_took_no_part_is_none() -> None:
    case = case_of([1.0], [1.0])
    assert case.median(ECHO.name, "cost") is None
    assert case.ratio(ECHO.name, "cost") is None
    assert case.median(SUBJECT.name, "other") is None


@pytest.mark.parametrize(
    ("goal", "holds"),
    [
        (Goal("cost", 2.0), True),
        (Goal("cost", 1.9), False),
        (Goal("cost", 2.0, at_least=True), True),
        (Goal("cost", 2.1, at_least=True), False),
        (Goal("cost", 6.0, is_ratio=False), True),
        (Goal("cost", 5.9, is_ratio=False), False),
    ],
)
def test_goal_is_held_against_the_median(goal: Goal, holds: bool) -> None:
    (verdict,) = case_of([4.0, 6.0, 8.0], [2.0, 3.0, 4.0], goal).verdicts()
    assert verdict.holds is holds
    assert verdict.value == (2.0 if goal.is_ratio else 6.0)


def test_goal_of_a_ratio_is_not_judged_without_the_baseline() -> None:
    goals = Goal("cost", 1.0), Goal("cost", 1.0, is_ratio=False)
    assert [verdict.goal for verdict in case_of([1.0], [], *goals).verdicts()] == [goals[1]]


def test_turns_alternate() -> None:
    order: list[ServerKind] = []

    def measure(kind: ServerKind) -> Measurement:
        order.append(kind)
        return Measurement({"cost": len(order)})

    kinds = (SUBJECT, BASELINE, ECHO)
    case = take_turns(Case("case", (COST,)), 3, {kind: kind for kind in kinds}, measure, Progress())
    assert order == [*kinds, *kinds[::-1], *kinds]
    assert case.values(SUBJECT.name, "cost") == [1, 6, 7]
    assert all(0 <= one.stolen_share <= 1 for rounds in case.rounds.values() for one in rounds)


def test_server_that_fails_leaves_the_case_and_the_others_go_on() -> None:
    calls: list[ServerKind] = []

    def measure(kind: ServerKind) -> Measurement:
        calls.append(kind)
        if kind is ECHO and calls.count(ECHO) == 2:
            raise BenchFailed("gone")
        return Measurement({"cost": 1.0})

    case = take_turns(Case("case", (COST,)), 4, {SUBJECT: SUBJECT, ECHO: ECHO}, measure, Progress())
    assert case.failed == {ECHO.name: "gone"}
    assert len(case.rounds[SUBJECT.name]) == 4
    assert len(case.rounds[ECHO.name]) == 1
    assert calls.count(ECHO) == 2


def test_percentiles_are_latencies_that_were_seen() -> None:
    figures = Latencies.of_seconds([0.001] * 989 + [0.010] * 10 + [5.0]).figures()
    assert figures == pytest.approx({"p50": 1.0, "p99": 10.0, "p99.9": 10.0, "max": 5000.0}, rel=2e-3)


def test_percentiles_of_nothing_are_missing() -> None:
    assert Latencies().figures() == {}


def test_histogram_comes_back_from_text_and_adds_up() -> None:
    first, second = Latencies.of_seconds([0.001] * 3), Latencies.of_seconds([0.002])
    merged = Latencies.decode(first.encode())
    merged.add(Latencies.decode(second.encode()))
    assert merged.count == 4
    assert merged.figures() == pytest.approx({"p50": 1.0, "p99": 2.0, "p99.9": 2.0, "max": 2.0}, rel=2e-3)
