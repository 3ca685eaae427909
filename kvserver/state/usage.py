"""The usage of each command: its calls, its failures, its durations, for INFO's commandstats, errorstats and latencystats.

The hot path only notes names, and `fold` counts them later, so that calls are exact at nearly no cost. The handlers that
dispatch/timing wraps measure the durations: of quick commands only now and then, and the total is extrapolated from those
samples. Pure: callers pass the durations. Changes no request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import Final

from kvserver.errors import CommandError, Refusal
from kvserver.resp.request import Request

# `fold` looks for so many names before all others.
FREQUENT: Final = 2
# The histogram knows durations to an eighth.
STEPS_PER_OCTAVE: Final = 8


class Usage:
    """The usage of one command.

    - `rejected` calls were refused before they ran, `failed` ones were answered by an error.
    - `durations_ns` were measured and are not folded yet. `timed` calls were measured and took `timed_ns` together.
    - `histogram` counts the measured calls by `_bucket`.
    """

    __slots__ = ("calls", "durations_ns", "failed", "histogram", "name", "rejected", "timed", "timed_ns")

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget all that is known."""
        self.calls = 0
        self.rejected = 0
        self.failed = 0
        self.durations_ns: list[int] = []
        self.timed = 0
        self.timed_ns = 0
        # A dict, since a server has hundreds of these, and a Counter takes forty times as long to make.
        self.histogram: dict[int, int] = {}

    def fold(self) -> None:
        """Count the durations that were measured since the last time."""
        durations_ns, self.durations_ns = self.durations_ns, []
        self.timed += len(durations_ns)
        self.timed_ns += sum(durations_ns)
        for bucket, count in Counter(map(_bucket, durations_ns)).items():
            self.histogram[bucket] = self.histogram.get(bucket, 0) + count

    @property
    def usec(self) -> int:
        """The microseconds that all calls took, extrapolated from those that were measured."""
        if self.timed >= self.calls:
            return self.timed_ns // 1000
        return self.timed_ns * self.calls // self.timed // 1000 if self.timed else 0

    def percentile_us(self, percent: float) -> float:
        """The microseconds that so many percent of the measured calls took at most."""
        wanted = percent / 100 * sum(self.histogram.values())
        seen = 0
        for bucket in sorted(self.histogram):
            seen += self.histogram[bucket]
            if seen >= wanted:
                return _bucket_end_ns(bucket) / 1000
        return 0.0

    def distribution(self) -> dict[int, int]:
        """The number of calls that took so many microseconds or less, by powers of two, but for those that add no call."""
        counts: Counter[int] = Counter()
        for bucket, count in self.histogram.items():
            end_us = -(-_bucket_end_ns(bucket) // 1000)
            counts[1 << (end_us - 1).bit_length() if end_us > 1 else 1] += count
        measured, seen, found = sum(self.histogram.values()), 0, {}
        for end_us in sorted(counts):
            seen += counts[end_us]
            found[end_us] = max(self.calls, measured) * seen // measured
        return found


def _bucket(duration_ns: int) -> int:
    octave = max(duration_ns.bit_length() - 4, 0)
    return octave * STEPS_PER_OCTAVE + (duration_ns >> octave)


def _bucket_end_ns(bucket: int) -> int:
    """The longest duration in a bucket, in nanoseconds."""
    if bucket < 2 * STEPS_PER_OCTAVE:
        return bucket
    octave, step = divmod(bucket, STEPS_PER_OCTAVE)
    octave, step = octave - 1, step + STEPS_PER_OCTAVE
    return ((step + 1) << octave) - 1


class Usages:
    """The usage of all commands, given their full names (`get`, `config|get`), in the order in which INFO tells them.

    - `executed` are names as clients spell them, of refused and queued commands, too. The writer appends them, and `fold`
      removes them.
    - `batch` are the requests that the writer runs now and whose names it appends at the end; the names of the first `noted`
      of them are appended already. `remaining` are those of them that have not begun.
    - `errors` counts the errors that were sent by their first words.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.by_name = {name.encode(): Usage(name) for name in names}
        self.executed: list[bytes] = []
        self.batch: list[Request] = []
        self.remaining: Iterator[Request] = iter(())
        self.noted = 0
        self.errors: Counter[str] = Counter()
        self._containers = {name.partition(b"|")[0] for name in self.by_name if b"|" in name}
        self._frequent: list[bytes] = []

    def of(self, request: Request) -> Usage | None:
        """The usage of the command or subcommand that these words call, or None if there is no such command."""
        name = request[0].lower()
        if name in self._containers and len(request) > 1:
            name += b"|" + request[1].lower()
        return self.by_name.get(name)

    def fail(self, request: Request, error: CommandError) -> None:
        """Note that these words were answered by an error."""
        usage = self.of(request)
        if not isinstance(error, Refusal):
            if usage:
                usage.failed += 1
            return
        if usage:
            usage.rejected += 1
        self.take_back(request)

    def take_back(self, request: Request) -> None:
        """Take back the count of a request, since it was refused or queued. Its name is, or will be, in `executed`."""
        name = request[0].lower()
        usage = self.by_name.get(name)
        if usage and name not in self._containers:
            usage.calls -= 1

    def count_error(self, text: str) -> None:
        """Note an error that was sent."""
        self.errors[text.partition(" ")[0]] += 1

    def fold(self) -> None:
        """Count what was executed since the last time."""
        names = self.executed[:]
        self.executed.clear()
        counts: dict[bytes, int] = {}
        missing = len(names)
        # Most names are the same few: to look for these is several times faster than to count every name.
        for name in self._frequent:
            counts[name] = names.count(name)
            missing -= counts[name]
        if missing:
            counter = Counter(names)
            self._frequent = [name for name, _ in counter.most_common(FREQUENT)]
            counts = dict(counter)
        for name, count in counts.items():
            lower = name.lower()
            usage = self.by_name.get(lower)
            # A subcommand is counted where its time is measured.
            if usage and lower not in self._containers:
                usage.calls += count

    def fold_all(self) -> None:
        """Count all that has run until now. The server calls this now and then, and commands before they read usages.

        Of the batch, that is what came before the request that runs: the last one that has begun.
        """
        before = max(len(self.batch) - length_hint(self.remaining) - 1, self.noted)
        self.executed += [words[0] for words in self.batch[self.noted : before]]
        self.noted = before
        self.fold()
        for usage in self.by_name.values():
            if usage.durations_ns:
                usage.fold()

    @property
    def calls(self) -> int:
        """The calls of all commands together."""
        return sum(usage.calls for usage in self.by_name.values())

    def reset(self) -> None:
        """Forget all that has run until now."""
        self.fold_all()
        self.errors.clear()
        for usage in self.by_name.values():
            usage.reset()
