"""Latencies as an HdrHistogram, and the figures that are read off it.

Owns the bounds and the precision: 0.1 µs to 1000 s, three significant digits. Must never interpolate, drop outliers or
average: a figure is a latency that was seen, within that precision.
"""

from collections.abc import Iterable

from hdrh.histogram import HdrHistogram

from bench.figures import Metric

TICKS_PER_S = 10_000_000
HIGHEST_S = 1000
SIGNIFICANT_DIGITS = 3
PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9}
LATENCY_METRICS = (
    Metric("p50", "ms", 3),
    Metric("p99", "ms", 3),
    Metric("p99.9", "ms", 3),
    Metric("max", "ms", 3, is_compared=False),
)


class Latencies:
    """The latencies of one or several runs."""

    def __init__(self, histogram: HdrHistogram | None = None) -> None:
        self._histogram = histogram or HdrHistogram(1, HIGHEST_S * TICKS_PER_S, SIGNIFICANT_DIGITS)

    @classmethod
    def of_seconds(cls, samples_s: Iterable[float]) -> "Latencies":
        latencies = cls()
        for sample_s in samples_s:
            latencies._histogram.record_value(max(1, round(sample_s * TICKS_PER_S)))
        return latencies

    @classmethod
    def decode(cls, text: str) -> "Latencies":
        return cls(HdrHistogram.decode(text))

    def encode(self) -> str:
        """Return HdrHistogram's own compressed form, which its tools in all languages read."""
        encoded: bytes = self._histogram.encode()
        return encoded.decode()

    def add(self, other: "Latencies") -> None:
        self._histogram.add(other._histogram)

    @property
    def count(self) -> int:
        return int(self._histogram.get_total_count())

    def percentile_ms(self, percentile: float) -> float:
        return float(self._histogram.get_value_at_percentile(percentile)) * 1000 / TICKS_PER_S

    def figures(self) -> dict[str, float]:
        """The figures by the names of LATENCY_METRICS, or none if nothing was recorded."""
        if not self.count:
            return {}
        found = {name: self.percentile_ms(percentile) for name, percentile in PERCENTILES.items()}
        return found | {"max": self.percentile_ms(100.0)}
