"""The phases of one server process, and what they prove.

Owns the verdicts: each phase with a flush, a restore or a compaction is held against the idle phase that opened the
session. Must never judge two servers by different rules, and must never pass what was not measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.phase import PING, SET, Action, PhaseResult
from bench.throughput import MB

MAX_P99_RATIO = 2.0
MAX_BEYOND_IDLE_MS = 10.0
MAX_MEMORY_GROWTH = 0.10
# The two idle phases of a session should agree better than this; if not, the verdicts rest on sand.
NOISY_RATIO = 1.5


@dataclass(frozen=True)
class PlannedPhase:
    name: str
    action: Action | None = None
    with_writes: bool = False
    is_flush: bool = False  # memory is judged in flushes; a restore holds two stores by design


@dataclass
class Session:
    """One server process with its phases; the first is the idle one that the others are judged against."""

    title: str
    key_memory_bytes: float  # what one key costs this server
    phases: list[tuple[PlannedPhase, PhaseResult]] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    what: str
    holds: bool
    detail: str


def noise(session: Session) -> Iterator[str]:
    """A line for each command whose latency moved between the first and the last phase, both without any action."""
    quiet = [result for planned, result in session.phases if planned.action is None and not planned.with_writes]
    if len(quiet) < 2:
        return
    for command in (PING, SET):
        first_ms, last_ms = (result.latency[command].p99_ms for result in (quiet[0], quiet[-1]))
        if max(first_ms, last_ms) > NOISY_RATIO * min(first_ms, last_ms):
            yield (
                f"Noisy: {session.title}, idle p99 of {command} moved from {first_ms:.2f} to {last_ms:.2f} ms; "
                "other programs were at work, repeat the run"
            )


def verdicts(session: Session) -> Iterator[Verdict]:
    for reason in session.not_measured:
        yield Verdict(f"{session.title}, measured", holds=False, detail=reason)
    if not session.phases:
        return
    idle = session.phases[0][1]
    for planned, result in session.phases[1:]:
        if planned.action is None:
            continue
        where = f"{session.title}, {planned.name}"
        for command in (PING, SET):
            ratio = result.latency[command].p99_ms / idle.latency[command].p99_ms
            yield Verdict(
                f"{where}: p99 of {command} at most {MAX_P99_RATIO:g}x idle", ratio <= MAX_P99_RATIO, f"{ratio:.2f}x"
            )
            beyond_ms = result.latency[command].max_ms - idle.latency[command].max_ms
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
