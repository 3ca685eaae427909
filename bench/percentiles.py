"""The percentiles of measured latencies.

Owns how a percentile is taken: nearest rank, so every figure is a latency that was really seen. Must never interpolate,
drop outliers or average.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Percentiles:
    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float

    @classmethod
    def of_seconds(cls, latencies_s: Iterable[float]) -> "Percentiles":
        ordered = sorted(latencies_s)
        if not ordered:
            raise ValueError("no latency was measured")

        def rank_ms(per_mille: int) -> float:
            return ordered[math.ceil(len(ordered) * per_mille / 1000) - 1] * 1000

        return cls(len(ordered), rank_ms(500), rank_ms(900), rank_ms(990), rank_ms(999), ordered[-1] * 1000)
