"""The phases of one server process, and what they prove.

Owns the verdicts: each phase with a flush, a restore or a compaction is held against the idle phases just before and
just behind it. Must never judge two servers by different rules, and must never pass what was not measured.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.phase import PING, SET, Action, PhaseResult
from bench.throughput import MB

MAX_P99_RATIO = 2.0
MAX_BEYOND_IDLE_MS = 10.0
MAX_MEMORY_GROWTH = 0.10
# The idle phases before and behind a phase should agree better than this; if not, its verdicts rest on sand.
NOISY_RATIO = 1.5


@dataclass(frozen=True)
class PlannedPhase:
    name: str
    action: Action | None = None
    with_writes: bool = False
    is_flush: bool = False  # memory is judged in flushes; a restore holds two stores by design

    @property
    def is_idle(self) -> bool:
        return self.action is None and not self.with_writes


@dataclass
class Session:
    """One server process with its phases, the idle ones that the others are judged against among them."""

    title: str
    key_memory_bytes: float  # what one key costs this server
    phases: list[tuple[PlannedPhase, PhaseResult]] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    what: str
    holds: bool
    detail: str


def idle_beside(session: Session, position: int) -> list[PhaseResult]:
    """The nearest idle phases before and behind the phase at this position."""
    before = [result for planned, result in session.phases[:position] if planned.is_idle]
    behind = [result for planned, result in session.phases[position + 1 :] if planned.is_idle]
    return before[-1:] + behind[:1]


def noise(session: Session) -> Iterator[str]:
    """A line for each phase whose idle neighbours do not agree."""
    for position, (planned, _) in enumerate(session.phases):
        if planned.action is None:
            continue
        for command in (PING, SET):
            p99s_ms = [result.latency[command].p99_ms for result in idle_beside(session, position)]
            if max(p99s_ms) > NOISY_RATIO * min(p99s_ms):
                yield (
                    f"Noisy: {session.title}, {planned.name}: idle p99 of {command} moved from {p99s_ms[0]:.2f} to "
                    f"{p99s_ms[-1]:.2f} ms; other programs or machines were at work, repeat the run"
                )


def verdicts(session: Session) -> Iterator[Verdict]:
    for reason in session.not_measured:
        yield Verdict(f"{session.title}, measured", holds=False, detail=reason)
    for position, (planned, result) in enumerate(session.phases):
        if planned.action is None:
            continue
        idle = idle_beside(session, position)
        where = f"{session.title}, {planned.name}"
        for command in (PING, SET):
            idle_p99_ms = statistics.fmean(one.latency[command].p99_ms for one in idle)
            ratio = result.latency[command].p99_ms / idle_p99_ms
            yield Verdict(
                f"{where}: p99 of {command} at most {MAX_P99_RATIO:g}x idle", ratio <= MAX_P99_RATIO, f"{ratio:.2f}x"
            )
            beyond_ms = result.latency[command].max_ms - max(one.latency[command].max_ms for one in idle)
            yield Verdict(
                f"{where}: no {command} later than {MAX_BEYOND_IDLE_MS:g} ms beyond the idle maximum",
                beyond_ms <= MAX_BEYOND_IDLE_MS,
                f"{beyond_ms:+.2f} ms",
            )
        if planned.is_flush:
            yield _memory_verdict(where, result, session.key_memory_bytes)
        if result.errors:
            detail = f"{result.errors}, first: {result.first_error}"
            yield Verdict(f"{where}: no error replies", holds=False, detail=detail)


def _memory_verdict(where: str, result: PhaseResult, key_memory_bytes: float) -> Verdict:
    # What clients write is counted at what a key costs this server, each key that they may have written once.
    written_bytes = result.keys_written * key_memory_bytes
    allowed_bytes = MAX_MEMORY_GROWTH * result.memory_before_bytes + written_bytes
    return Verdict(
        f"{where}: memory grows below {MAX_MEMORY_GROWTH:.0%} plus what clients write",
        result.memory_growth_bytes < allowed_bytes,
        f"{result.memory_growth_bytes / MB:.1f} MB of {allowed_bytes / MB:.1f} MB allowed",
    )
