"""The figures that were measured, and the comparison of the servers: medians, ratios by pairs, goals.

Owns the arithmetic. A ratio is taken within each round, of two runs that stood next to each other, and then the median of
the rounds is given with the lowest and the highest: a machine that gets slower from round to round changes no ratio, and one
that is noisy shows as a wide spread. Must never drop a round, nor know what a figure means.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.kinds import BASELINE, SUBJECT


@dataclass(frozen=True)
class Metric:
    """A kind of figure: its name and unit, and the digits behind the point that are shown."""

    name: str
    unit: str = ""
    digits: int = 2
    more_is_better: bool = False
    # The figure is shown as a ratio to the baseline's, too.
    is_compared: bool = True


@dataclass(frozen=True)
class Goal:
    """A limit that kvserver has to keep: with its ratio to a baseline, or with its own figure if `is_ratio` is false.

    `baseline` is the name of what it is compared with, if that is another one than the case's.
    """

    metric: str
    limit: float
    is_ratio: bool = True
    at_least: bool = False
    baseline: str = ""

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Measurement:
    """One run of one server."""

    # The figures by the name of the metric.
    figures: Mapping[str, float]
    # A histogram of the run, as `latencies` encodes it.
    latencies: str | None = None
    # The share of all cores' time that the host of a virtual machine withheld meanwhile.
    stolen_share: float = 0.0


@dataclass(frozen=True)
class Ratio:
    """The ratios of all rounds: their median, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of_pairs(cls, ours: Sequence[float], theirs: Sequence[float]) -> "Ratio | None":
        """The ratios of two servers' rounds, or None if there is nothing to divide by, or no round that both have."""
        pairs = [mine / other for mine, other in zip(ours, theirs, strict=False) if other]
        return cls(statistics.median(pairs), min(pairs), max(pairs)) if pairs else None


@dataclass(frozen=True)
class Verdict:
    """A goal and the value that a run has reached."""

    goal: Goal
    value: float

    @property
    def holds(self) -> bool:
        return self.goal.holds(self.value)


@dataclass
class Case:
    """One thing that is measured, of each server that takes part, in each round. Servers go by their names."""

    name: str
    metrics: Sequence[Metric]
    goals: Sequence[Goal] = ()
    rounds: dict[str, list[Measurement]] = field(default_factory=dict)
    # The reason why a server's rounds are not complete.
    failed: dict[str, str] = field(default_factory=dict)
    # A chart finds the case by these.
    tags: Mapping[str, str | int] = field(default_factory=dict)
    # The names of what ratios are taken to, and of what has the goals.
    baseline: str = BASELINE.name
    subject: str = SUBJECT.name

    def values(self, server: str, metric: str) -> list[float]:
        return [one.figures[metric] for one in self.rounds.get(server, []) if metric in one.figures]

    def median(self, server: str, metric: str) -> float | None:
        values = self.values(server, metric)
        return statistics.median(values) if values else None

    def ratio(self, server: str, metric: str, baseline: str = "") -> Ratio | None:
        return Ratio.of_pairs(self.values(server, metric), self.values(baseline or self.baseline, metric))

    def stolen_share(self, server: str) -> float:
        return statistics.fmean(one.stolen_share for one in self.rounds[server])

    def verdicts(self) -> list[Verdict]:
        """The verdicts on the goals that this run can judge."""
        found = []
        for goal in self.goals:
            ratio = self.ratio(self.subject, goal.metric, goal.baseline) if goal.is_ratio else None
            value = ratio.median if ratio is not None else self.median(self.subject, goal.metric)
            if value is not None and (ratio is not None or not goal.is_ratio):
                found.append(Verdict(goal, value))
        return found
