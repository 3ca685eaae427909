"""The events that took long, by kind and second, which LATENCY shows, and its graph. Pure: callers measure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

# The samples that are kept of each kind.
SAMPLES: Final = 160
GRAPH_COLUMNS: Final = 80
GRAPH_ROWS: Final = 4
# The marks of each row, from low to high.
GRAPH_MARKS: Final = "_o#"


class Sample(NamedTuple):
    """The longest event of a second."""

    at_s: int  # Unix time
    duration_ms: int


class Series:
    """The events of one kind. `longest_ms` is of all of them, also of those whose samples are not kept any more."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=SAMPLES)
        self.longest_ms = 0

    def add(self, at_s: int, duration_ms: int) -> None:
        """Note an event that ended in this second (Unix time)."""
        self.longest_ms = max(self.longest_ms, duration_ms)
        if self.samples and self.samples[-1].at_s == at_s:
            duration_ms = max(self.samples.pop().duration_ms, duration_ms)
        self.samples.append(Sample(at_s, duration_ms))


class LatencyMonitor:
    """All kinds of events that were long enough, by their names."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}

    def add(self, event: str, at_s: int, duration_ms: int) -> None:
        """Note an event of this name that ended in this second (Unix time)."""
        self.series.setdefault(event, Series()).add(at_s, duration_ms)

    def reset(self, events: Sequence[str]) -> int:
        """Forget the events of these names, or all if none is named. Returns how many names had events."""
        found = [event for event in events or list(self.series) if event in self.series]
        for event in set(found):
            del self.series[event]
        return len(set(found))


def graph(event: str, series: Series, now_s: int) -> str:
    """Redis's drawing of a series that is not empty: a column of marks for each sample, and its age below."""
    durations = [sample.duration_ms for sample in series.samples]
    high, low = max(durations), min(durations)
    head = f"{event} - high {high} ms, low {low} ms (all time high {series.longest_ms} ms)\n"
    text = head + "-" * GRAPH_COLUMNS + "\n"
    steps = len(GRAPH_MARKS) * GRAPH_ROWS
    columns = []
    for sample in series.samples:
        step = min((sample.duration_ms - low) * steps // ((high - low) or 1), steps - 1)
        row, mark = divmod(step, len(GRAPH_MARKS))
        drawn = " " * (GRAPH_ROWS - 1 - row) + GRAPH_MARKS[mark] + "|" * row
        columns.append(drawn + " " + _age(now_s - sample.at_s))
    pieces = []
    for start in range(0, len(columns), GRAPH_COLUMNS):
        part = columns[start : start + GRAPH_COLUMNS]
        height = max(map(len, part))
        rows = zip(*(column.ljust(height) for column in part), strict=True)
        pieces.append("".join("".join(row) + "\n" for row in rows))
    return text + "\n".join(pieces) + "\n"


def _age(seconds: int) -> str:
    for limit, unit_s, letter in ((60, 1, "s"), (3600, 60, "m"), (24 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds // unit_s}{letter}"
    return f"{seconds // 86400}d"
