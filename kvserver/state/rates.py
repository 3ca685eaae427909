"""How much there is of something per second, as INFO's instantaneous fields tell it. Pure: the clock is passed in."""

from __future__ import annotations

from collections import deque
from typing import Final

SAMPLES: Final = 16  # as in Redis: the mean of these, one for each 100 ms


class Rate:
    """What a number that only grows has grown by lately."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._last_ms = 0
        self._last_total = 0

    def sample(self, total: int, now_ms: int) -> None:
        """Note the number; some times a second."""
        passed_ms = now_ms - self._last_ms
        # Less than before: it has started again from nothing.
        if self._last_ms and passed_ms > 0 and total >= self._last_total:
            self._samples.append((total - self._last_total) * 1000 / passed_ms)
        self._last_ms, self._last_total = now_ms, total

    @property
    def per_second(self) -> float:
        return sum(self._samples) / SAMPLES
