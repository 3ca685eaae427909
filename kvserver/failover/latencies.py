"""The time that appends took in the last minute, for INFO."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 60.0
# As many as an engine acknowledges in a minute, where one takes 7 ms. Of more, those are looked at that came last.
MOST: Final = 8192


class Latencies:
    """Durations, by the time at which they were noted. `note` may be called by several threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._noted: deque[tuple[float, float]] = deque(maxlen=MOST)

    def note(self, took_s: float) -> None:
        """Note a duration in seconds."""
        self._noted.append((self._clock(), took_s))

    def percentile_us(self, percent: float) -> int:
        """The duration in microseconds that so many percent of those of the last minute do not exceed; 0 if there are none."""
        since = self._clock() - WINDOW_S
        recent = sorted(took_s for noted_at, took_s in list(self._noted) if noted_at >= since)
        if not recent:
            return 0
        return round(recent[min(len(recent) - 1, int(len(recent) * percent / 100))] * 1e6)
