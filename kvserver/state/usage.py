"""How often each command was called, how it ended, and how long it took: INFO's commandstats, errorstats, latencystats.

The hot path only notes names, which are counted later (`fold`), so that calls are exact at nearly no cost. Time is taken
by wrapped handlers (dispatch/timing), of commands that take no time worth measuring only now and then: their total is
extrapolated from those samples. Pure: who measures, passes durations in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from kvserver.errors import CommandError, Refusal

NOT_COUNTED: Final = b""  # what a refused command's name becomes, so that it is not counted as a call
FREQUENT: Final = 2  # names that `fold` looks for before all others
STEPS_PER_OCTAVE: Final = 8  # of the histogram: durations are known to an eighth


class Usage:
    """What became of one command."""

    __slots__ = ("calls", "durations_ns", "failed", "histogram", "name", "rejected", "timed", "timed_ns")

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        self.calls = 0
        self.rejected = 0  # before they ran
        self.failed = 0
        self.durations_ns: list[int] = []  # measured, and not folded yet
        self.timed = 0  # of the calls, how many were measured
        self.timed_ns = 0
        self.histogram: Counter[int] = Counter()  # by `_bucket`

    def fold(self) -> None:
        durations_ns, self.durations_ns = self.durations_ns, []
        self.timed += len(durations_ns)
        self.timed_ns += sum(durations_ns)
        self.histogram.update(map(_bucket, durations_ns))

    @property
    def usec(self) -> int:
        """Microseconds that all calls took."""
        if self.timed >= self.calls:
            return self.timed_ns // 1000
        return self.timed_ns * self.calls // self.timed // 1000 if self.timed else 0

    def percentile_us(self, percent: float) -> float:
        """Microseconds that so many percent of the calls took at most."""
        wanted = percent / 100 * self.histogram.total()
        seen = 0
        for bucket in sorted(self.histogram):
            seen += self.histogram[bucket]
            if seen >= wanted:
                return _bucket_end_ns(bucket) / 1000
        return 0.0

    def distribution(self) -> dict[int, int]:
        """Powers of two in microseconds, and how many calls took that long or less; where the number grows."""
        counts: Counter[int] = Counter()
        for bucket, count in self.histogram.items():
            end_us = -(-_bucket_end_ns(bucket) // 1000)
            counts[1 << (end_us - 1).bit_length() if end_us > 1 else 1] += count
        measured, seen, found = self.histogram.total(), 0, {}
        for end_us in sorted(counts):
            seen += counts[end_us]
            found[end_us] = max(self.calls, measured) * seen // measured
        return found


def _bucket(duration_ns: int) -> int:
    octave = max(duration_ns.bit_length() - 4, 0)
    return octave * STEPS_PER_OCTAVE + (duration_ns >> octave)


def _bucket_end_ns(bucket: int) -> int:
    """The longest duration in a bucket."""
    if bucket < 2 * STEPS_PER_OCTAVE:
        return bucket
    octave, step = divmod(bucket, STEPS_PER_OCTAVE)
    octave, step = octave - 1, step + STEPS_PER_OCTAVE
    return ((step + 1) << octave) - 1


class Usages:
    """The usage of all commands, given their full names (`get`, `config|get`), in the order in which INFO tells them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.by_name = {name.encode(): Usage(name) for name in names}
        self.executed: list[bytes] = []  # names as clients spell them; the writer appends, `fold` clears
        self.batch: list[list[bytes]] = []  # what the writer runs now, and appends when it is through
        self.noted = 0  # how much of that is appended already
        self.errors: Counter[str] = Counter()  # by their first word
        self._containers = {name.partition(b"|")[0] for name in self.by_name if b"|" in name}
        self._frequent: list[bytes] = []

    def of(self, args: list[bytes]) -> Usage | None:
        """The usage of the command or subcommand that these words call; None where there is none."""
        name = args[0].lower()
        if name in self._containers and len(args) > 1:
            name += b"|" + args[1].lower()
        return self.by_name.get(name)

    def fail(self, args: list[bytes], error: CommandError) -> None:
        """Note that these words were answered by an error."""
        usage = self.of(args)
        if not isinstance(error, Refusal):
            if usage:
                usage.failed += 1
            return
        if usage:
            usage.rejected += 1
        args[0] = NOT_COUNTED

    def count_error(self, text: str) -> None:
        """Note an error that was sent."""
        self.errors[text.partition(" ")[0]] += 1

    def fold(self) -> None:
        """Count what was executed since the last time."""
        names = self.executed[:]
        self.executed.clear()
        counts: dict[bytes, int] = {}
        missing = len(names)
        # Most of the time it is the same few: looking for them is several times faster than counting every name.
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
            if usage and lower not in self._containers:  # what is in a container is counted where its time is taken
                usage.calls += count

    def fold_all(self, args: list[bytes] | None = None) -> None:
        """Count all that was noted; to be called now and then, and before usages are read: with the words that read them,
        so that what came before these in the same batch is counted, too."""
        if args is not None:
            before = next((place for place, words in enumerate(self.batch) if words is args), self.noted)
            self.executed += [words[0] for words in self.batch[self.noted : before]]
            self.noted = before
        self.fold()
        for usage in self.by_name.values():
            if usage.durations_ns:
                usage.fold()

    @property
    def calls(self) -> int:
        """Of all commands."""
        return sum(usage.calls for usage in self.by_name.values())

    def reset(self, args: list[bytes]) -> None:
        """Start again from nothing, at these words."""
        self.fold_all(args)
        self.errors.clear()
        for usage in self.by_name.values():
            usage.reset()
