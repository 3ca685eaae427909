"""Servers measured in turn, round by round.

Owns the order: ABBA, so that a machine that gets slower hurts all alike, and the record of what was stolen meanwhile. A
server that fails leaves the case, with the reason, and the others go on. Must never give one server a round, a warm-up or a
pause that the others do not get.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from bench.failure import BenchFailed
from bench.figures import Case, Measurement
from bench.procfs import stolen_time_s
from bench.progress import Progress

Subject = TypeVar("Subject")


class Named(Protocol):
    """A server, or a library."""

    @property
    def name(self) -> str: ...


KindT = TypeVar("KindT", bound=Named)


def take_turns(
    case: Case,
    rounds: int,
    subjects: Mapping[KindT, Subject],
    measure: Callable[[Subject], Measurement],
    progress: Progress,
) -> Case:
    """Fill the case with a measurement of each subject in each round, and return it."""
    order = list(subjects)
    for number in range(rounds):
        for kind in order if number % 2 == 0 else order[::-1]:
            if kind.name in case.failed:
                continue
            progress.show(f"{case.name}, round {number + 1} of {rounds}: {kind.name}")
            try:
                measurement = _measure_one(subjects[kind], measure)
            except (BenchFailed, OSError) as error:
                case.failed[kind.name] = str(error)
            else:
                case.rounds.setdefault(kind.name, []).append(measurement)
    progress.clear()
    return case


def _measure_one(subject: Subject, measure: Callable[[Subject], Measurement]) -> Measurement:
    stolen_before_s, started_at = stolen_time_s(), time.perf_counter()
    measurement = measure(subject)
    elapsed_s = time.perf_counter() - started_at
    stolen_share = (stolen_time_s() - stolen_before_s) / elapsed_s / (os.cpu_count() or 1)
    return dataclasses.replace(measurement, stolen_share=stolen_share)
