"""The stalls of clients during a flush, a restore, a compaction and one long value, beside redis-server's forked BGSAVE.

Owns the phases. Paced clients send PING and SET by turns, and latency counts from the time at which a command was due, so that
a stall can't hide behind clients that wait for it. Each phase is held against an idle one just before it, of the same server.
On a machine of few cores the server, its flush and the generator share processors; the generator's own delay is part of every
latency and shown, as is what the host of a virtual machine withholds.
"""

import functools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.dataset import FILLER, Dataset
from bench.figures import Case, Goal, Measurement, Metric
from bench.flush_action import LongValue, bgsave, bgsave_until_compaction, restore, save, wait_until_settled
from bench.kinds import Ability
from bench.latencies import Latencies
from bench.load import Batch
from bench.phase import AFTERMATH_S, QUICK_AFTERMATH_S, PhaseResult, run_phase
from bench.process import ServerProcess
from bench.request import encode_request
from bench.scenario import Run, Scenario
from bench.workload import Workload

CLIENTS = 20
RATE_PER_S = 2000
PING, SET = "PING", "SET"
EACH, GROWTH, DELAY = "each", "memory growth", "generator p99"
P99_TO_IDLE, BEYOND_IDLE = "p99 / idle", "max - idle max"
# One frame is kept, so that each flush leaves something to compact.
COMPACTING = ("--keep-frames", "1")


def of(command: str, what: str) -> str:
    return f"{command} {what}"


LATENCY_METRICS = tuple(
    metric
    for command in (PING, SET)
    for metric in (
        Metric(of(command, "p99"), "ms"),
        Metric(of(command, "p99.9"), "ms", is_compared=False),
        Metric(of(command, "max"), "ms", is_compared=False),
    )
)
IDLE_METRICS = (*LATENCY_METRICS, Metric(DELAY, "ms", is_compared=False))
FLUSH_METRICS = (
    Metric(EACH, "s"),
    *LATENCY_METRICS,
    *(Metric(of(command, P99_TO_IDLE), is_compared=False) for command in (PING, SET)),
    *(Metric(of(command, BEYOND_IDLE), "ms", is_compared=False) for command in (PING, SET)),
    Metric(GROWTH, "%", 1, is_compared=False),
    Metric(DELAY, "ms", is_compared=False),
)
STALL_GOALS = tuple(
    goal
    for command in (PING, SET)
    for goal in (
        Goal(of(command, P99_TO_IDLE), 2.0, is_ratio=False),
        Goal(of(command, BEYOND_IDLE), 10.0, is_ratio=False),
    )
)
GROWTH_GOAL = Goal(GROWTH, 10.0, is_ratio=False)


@dataclass(frozen=True)
class Phase:
    """An action that is repeated while clients are watched, and the goals for what they see."""

    name: str
    action: Callable[[ServerProcess], None]
    # So many SETs come beside those that clients send by turns.
    writes_per_s: int = 0
    needs: Ability = Ability.NONE
    goals: tuple[Goal, ...] = (*STALL_GOALS, GROWTH_GOAL)


PHASES = (
    Phase("BGSAVE", bgsave),
    # There is no goal for memory: clients that write make a flush hold both what was and what is.
    Phase("BGSAVE under writes", bgsave, RATE_PER_S, goals=STALL_GOALS),
    Phase("SAVE", save, needs=Ability.SAVE_BESIDE_CLIENTS),
    # A restore holds two stores by design.
    Phase("RESTORE", restore, needs=Ability.RESTORE, goals=STALL_GOALS),
)
# There is no goal for memory: a value of this length is most of it.
LONG_VALUE_BYTES = 100_000_000
# So many keys stand beside the long value.
LONG_VALUE_KEYS = 1000


def long_value_phases(value: bytes) -> tuple[Phase, ...]:
    """The phases of one long value, in this order: each is about the value that the one before left."""
    size, long = f"{len(value) // 1_000_000} MB", LongValue(value)
    return (
        Phase(f"SET of {size}", long.set, goals=STALL_GOALS),
        Phase(f"GET of {size}", long.get, goals=STALL_GOALS),
        Phase(f"BGSAVE of {size}", bgsave, goals=STALL_GOALS),
        Phase(f"RESTORE of {size}", restore, needs=Ability.RESTORE, goals=STALL_GOALS),
    )


COMPACTION = Phase("BGSAVE with compaction", bgsave_until_compaction, needs=Ability.COMPACTION)


class Watch:
    """The view of a server, phase by phase, that clients of one data set have."""

    def __init__(self, run: Run, dataset: Dataset) -> None:
        self._seconds = run.pick(3.0, 0.1)
        self._aftermath_s = run.pick(AFTERMATH_S, QUICK_AFTERMATH_S)
        self._sets = run.batches(Workload.named(SET, dataset))
        self._ping = Batch(PING, encode_request(PING))

    def measure_idle(self, server: ServerProcess) -> Measurement:
        return Measurement(latency_figures(self._phase(server)))

    def measure(self, server: ServerProcess, phase: Phase) -> Measurement:
        idle = latency_figures(self._phase(server))
        result = self._phase(server, phase.writes_per_s, functools.partial(phase.action, server))
        figures = latency_figures(result)
        for command in (PING, SET):
            p99, most = of(command, "p99"), of(command, "max")
            figures[of(command, P99_TO_IDLE)] = figures[p99] / idle[p99]
            figures[of(command, BEYOND_IDLE)] = figures[most] - idle[most]
        figures[EACH] = statistics.median(result.action_s)
        figures[GROWTH] = result.memory_growth * 100
        return Measurement(figures)

    def _phase(self, server: ServerProcess, writes_per_s: int = 0, action: Callable[[], None] | None = None) -> PhaseResult:
        batches = self._by_turns(1 + 2 * writes_per_s // RATE_PER_S)
        return run_phase(server, CLIENTS, RATE_PER_S + writes_per_s, batches, self._seconds, action, self._aftermath_s)

    def _by_turns(self, sets_per_ping: int) -> list[Batch]:
        """The batches in turns: a PING from each client, then so many SETs from each, and so on."""
        step = CLIENTS * sets_per_ping
        turns = [self._sets[start : start + step] for start in range(0, len(self._sets) - step + 1, step)]
        return [batch for turn in turns for batch in ([self._ping] * CLIENTS + turn)]


def latency_figures(result: PhaseResult) -> dict[str, float]:
    figures = {DELAY: Latencies.of_seconds(result.samples.generator_delays_s).percentile_ms(99.0)}
    for command in (PING, SET):
        found = Latencies.of_seconds(result.samples.latencies_s[command]).figures()
        figures |= {of(command, name): value for name, value in found.items()}
    return figures


def measure_flush_stall(run: Run) -> Iterator[Case]:
    dataset = Dataset(run.pick(1_000_000, 20_000))
    watch = Watch(run, dataset)
    rounds = run.rounds(2, 1)
    with run.servers(Ability.PERSISTENCE | Ability.MILLIONS, fill=dataset) as servers:
        yield run.measure(Case(f"idle, {dataset.keys} keys", IDLE_METRICS), rounds, servers, watch.measure_idle)
        for phase in PHASES:
            able = {kind: servers[kind] for kind in run.able(phase.needs, servers)}
            measure = functools.partial(watch.measure, phase=phase)
            yield run.measure(Case(phase.name, FLUSH_METRICS, phase.goals), rounds, able, measure)
        able = {kind: servers[kind] for kind in run.able(COMPACTION.needs, servers)}
        for server in able.values():
            server.restart(COMPACTING)
            wait_until_settled(server)
        measure = functools.partial(watch.measure, phase=COMPACTION)
        yield run.measure(Case(COMPACTION.name, FLUSH_METRICS, COMPACTION.goals), rounds, able, measure)
    dataset = Dataset(LONG_VALUE_KEYS)
    watch = Watch(run, dataset)
    length = run.pick(LONG_VALUE_BYTES, LONG_VALUE_BYTES // 20)
    value = (FILLER * (length // len(FILLER) + 1))[:length]
    with run.servers(Ability.PERSISTENCE | Ability.MILLIONS, fill=dataset) as servers:
        for phase in long_value_phases(value):
            able = {kind: servers[kind] for kind in run.able(phase.needs, servers)}
            measure = functools.partial(watch.measure, phase=phase)
            yield run.measure(Case(phase.name, FLUSH_METRICS, phase.goals), rounds, able, measure)


SCENARIO = Scenario(
    "flush_stall",
    "what clients notice of a flush at 1,000,000 keys of 64 bytes, and of one value of 100 MB",
    measure_flush_stall,
)
