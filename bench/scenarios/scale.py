"""The cost of keys and of connections against their number: how each grows from small stores to large ones.

Owns the sizes, and the life of a server at one of them: it is filled, read and written, saved, started again, and flushed
and emptied beside clients. Each life is a server of its own, one at a time, so that a large store needs its memory once. A
size that the machine has no memory for, or a number of connections that it has no files for, is left out with a note.

Latency counts from the time at which a command was due (`load`). The longest PING of a phase is one sample: the host of a
virtual machine is in it, too.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.figures import Case, Goal, Measurement, Metric
from bench.flush_action import Action, bgsave, save
from bench.idle_connections import affordable_connections
from bench.kinds import Ability, ServerKind
from bench.latencies import Latencies
from bench.load import Batch, Load, LoadFailed, LoadPlan
from bench.phase import AFTERMATH_S, QUICK_AFTERMATH_S, PhaseResult, run_phase
from bench.process import ServerProcess
from bench.procfs import available_memory_bytes
from bench.request import encode_request
from bench.scenario import Run, Scenario
from bench.scenarios.snapshot import check_keys
from bench.scenarios.throughput import CPU, SPARE_FILES, measure_load
from bench.workload import POOL_REQUESTS, QUICK_REQUESTS, Workload

NEEDS = Ability.DATA | Ability.MILLIONS | Ability.PERSISTENCE | Ability.THOUSANDS_OF_CLIENTS
SIZES, QUICK_SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000), (1_000,)
CONNECTIONS, QUICK_CONNECTIONS = (10, 100, 1_000, 10_000), (100,)
MB, KB = 1_000_000, 1_000
LEAST_JUDGED_KEYS = 1_000_000
# A chart finds the cases by these, which have their number.
KEYS, CONNECTIONS_TAG = "keys", "connections"
# A server with its data, what its forked child copies, and the file in the page cache, by the key.
NEEDED_BYTES_PER_KEY = 500
# A size takes this pipeline: without one, the kernel's share would hide what the store costs.
PIPELINE = 16
# So many clients send GETs and PINGs by turns during a flush.
CLIENTS, RATE_PER_S = 20, 2_000
# All connections together send so many commands.
TOTAL_RATE_PER_S = 5_000
# A phase without an end of its own is done once, and watched for a while behind it.
ONCE_S = 0.001
# A server that frees in the background is done when its memory has stayed the same for so long.
SETTLED_S, QUICK_SETTLED_S = 0.4, 0.05
SETTLE_DEADLINE_S = 60.0
# A server that frees or forks a large store in one step owes replies for that long.
DRAIN_S = 60.0

PER_KEY, FILLED, GET_CPU, SET_CPU = "bytes per key", "filled", "CPU per GET", "CPU per SET"
SAVE_TIME, SAVE_SPEED, START_TIME = "SAVE", "SAVE per s", "start"
SAVE_PER_MILLION, START_PER_MILLION = "SAVE per 1,000,000", "start per 1,000,000"
FLUSH_TIME, GROWTH, IDLE_P99, P99, P99_TO_IDLE, MOST = "BGSAVE", "growth", "idle p99", "GET p99", "p99 / idle", "PING max"
EMPTY_TIME, EMPTY_MOST = "FLUSHALL", "PING max, FLUSHALL"
PER_CONNECTION, LOAD_P99, LOAD_MOST, DELAY = "memory per connection", "p99", "max", "generator p99"


@dataclass(frozen=True)
class Table:
    """Some of the figures of each life, which stand in one table."""

    name: str
    metrics: Sequence[Metric]
    goals: Sequence[Goal] = ()

    def of(self, life: Case) -> Case:
        """The case of a life with the figures of this table alone."""
        names = {metric.name for metric in self.metrics}
        rounds = {
            server: [
                dataclasses.replace(one, figures={name: value for name, value in one.figures.items() if name in names})
                for one in lives
            ]
            for server, lives in life.rounds.items()
        }
        # What a server needs without any data decides the figures of small ones.
        goals = self.goals if int(life.tags[KEYS]) >= LEAST_JUDGED_KEYS else ()
        return Case(f"{life.name}: {self.name}", self.metrics, goals, rounds, life.failed, life.tags)


TABLES = (
    Table(
        "held",
        (
            Metric(PER_KEY, "", 0),
            Metric(FILLED, "MB", 0),
            Metric(GET_CPU, "µs"),
            Metric(SET_CPU, "µs"),
        ),
        (Goal(FILLED, 1.3),),
    ),
    Table(
        "saved and loaded, no clients",
        (
            Metric(SAVE_TIME, "s"),
            Metric(SAVE_PER_MILLION, "s", is_compared=False),
            Metric(SAVE_SPEED, "MB", 0, more_is_better=True, is_compared=False),
            Metric(START_TIME, "s"),
            Metric(START_PER_MILLION, "s", is_compared=False),
        ),
        (Goal(SAVE_TIME, 1.3), Goal(START_TIME, 1.3)),
    ),
    Table(
        "flushed beside clients",
        (
            Metric(FLUSH_TIME, "s"),
            Metric(GROWTH, "%", 1, is_compared=False),
            Metric(IDLE_P99, "ms", is_compared=False),
            Metric(P99, "ms"),
            Metric(P99_TO_IDLE, is_compared=False),
            Metric(MOST, "ms"),
        ),
        (Goal(P99_TO_IDLE, 2.0, is_ratio=False),),
    ),
    Table("emptied beside clients", (Metric(EMPTY_TIME, "s", 3), Metric(EMPTY_MOST, "ms"))),
)
CONNECTION_METRICS = (
    Metric(PER_CONNECTION, "kB", 1),
    Metric(CPU, "µs", 1),
    Metric(LOAD_P99, "ms"),
    Metric(LOAD_MOST, "ms", is_compared=False),
    Metric(DELAY, "ms", is_compared=False),
)


class Life:
    """The lives of servers that hold the same data set, each from an empty server to one that was emptied."""

    def __init__(self, run: Run, dataset: Dataset) -> None:
        self._run = run
        self._dataset = dataset
        self._seconds = run.pick(1.0, 0.05)
        self._phase_s = run.pick(2.0, 0.05)
        self._aftermath_s = run.pick(AFTERMATH_S, QUICK_AFTERMATH_S)
        self._settled_s = run.pick(SETTLED_S, QUICK_SETTLED_S)
        # More requests than a second takes: a few keys that come again and again would be in the processor's caches.
        requests = run.pick(8 * POOL_REQUESTS, QUICK_REQUESTS)
        self._gets = Workload.named("GET", dataset, PIPELINE).batches(requests)
        self._sets = Workload.named("SET", dataset, PIPELINE).batches(requests)
        ping = Batch("PING", encode_request(b"PING"))
        gets = Workload.named("GET", dataset).batches(run.pick(POOL_REQUESTS, QUICK_REQUESTS))
        turns = [gets[start : start + CLIENTS] for start in range(0, len(gets) - CLIENTS + 1, CLIENTS)]
        self._by_turns = [batch for turn in turns for batch in (*turn, *[ping] * CLIENTS)]

    def measure(self, kind: ServerKind) -> Measurement:
        keys = self._dataset.keys
        with ServerProcess(kind, (), self._run.folder) as server:
            with server.control() as control:
                empty_bytes = server.proc.rss_bytes()
                self._dataset.fill(control)
            filled_bytes = server.proc.rss_bytes()
            figures = {PER_KEY: (filled_bytes - empty_bytes) / keys, FILLED: filled_bytes / MB}
            figures[GET_CPU] = measure_load(server, self._gets, self._seconds).figures[CPU]
            figures[SET_CPU] = measure_load(server, self._sets, self._seconds).figures[CPU]
            before_bytes, started_at = server.data_bytes(), time.perf_counter()
            save(server)
            figures[SAVE_TIME] = time.perf_counter() - started_at
            figures[SAVE_SPEED] = (server.data_bytes() - before_bytes) / MB / figures[SAVE_TIME]
            # What it starts with is the one snapshot.
            server.restart()
            check_keys(server, keys)
            figures[START_TIME] = server.startup_s
            figures[SAVE_PER_MILLION], figures[START_PER_MILLION] = (
                figures[name] * 1_000_000 / keys for name in (SAVE_TIME, START_TIME)
            )
            for stage in (self._flush, self._empty):
                try:
                    figures |= stage(server)
                except BenchFailed as error:
                    # What was measured before is not lost.
                    self._run.note(f"the rest of {kind} with {keys:,} keys: {error}")
                    break
            return Measurement(figures)

    def _flush(self, server: ServerProcess) -> dict[str, float]:
        idle, _ = latency_figures(self._phase(server, self._phase_s))
        flush = self._phase(server, self._phase_s, functools.partial(bgsave, server))
        p99, most = latency_figures(flush)
        figures = {FLUSH_TIME: statistics.median(flush.action_s), GROWTH: 100 * flush.memory_growth}
        return figures | {IDLE_P99: idle, P99: p99, P99_TO_IDLE: p99 / idle, MOST: most}

    def _empty(self, server: ServerProcess) -> dict[str, float]:
        replied_s: list[float] = []

        def flushall() -> None:
            with server.control() as control:
                started_at = time.perf_counter()
                control.call("FLUSHALL")
                replied_s.append(time.perf_counter() - started_at)
            self._wait_until_freed(server)

        _, most = latency_figures(self._phase(server, ONCE_S, flushall))
        return {EMPTY_TIME: replied_s[0], EMPTY_MOST: most}

    def _phase(self, server: ServerProcess, seconds: float, action: Action | None = None) -> PhaseResult:
        return run_phase(server, CLIENTS, RATE_PER_S, self._by_turns, seconds, action, self._aftermath_s, DRAIN_S)

    def _wait_until_freed(self, server: ServerProcess) -> None:
        """Wait until the memory of the server has stayed the same for a while, since it may free beside its clients."""
        deadline, last_bytes = time.perf_counter() + SETTLE_DEADLINE_S, 0
        while time.perf_counter() < deadline and (now_bytes := server.proc.rss_bytes()) != last_bytes:
            last_bytes = now_bytes
            time.sleep(self._settled_s)


def latency_figures(result: PhaseResult) -> tuple[float, float]:
    """The p99 of GETs and the longest PING, in milliseconds."""
    gets, pings = (Latencies.of_seconds(result.samples.latencies_s[name]) for name in ("GET", "PING"))
    return gets.percentile_ms(99.0), pings.percentile_ms(100.0)


def affordable_sizes(run: Run) -> Iterator[int]:
    """The sizes that this machine has memory for now; a note tells of the others."""
    for keys in run.pick(SIZES, QUICK_SIZES):
        needed, available = keys * NEEDED_BYTES_PER_KEY, available_memory_bytes()
        if needed <= available:
            yield keys
        else:
            run.note(f"{keys:,} keys: they may need {needed / MB:,.0f} MB, and {available / MB:,.0f} MB of memory are free")


def affordable_numbers(run: Run) -> Iterator[int]:
    """The numbers of connections that this machine has files for; a note tells of the others."""
    for number in run.pick(CONNECTIONS, QUICK_CONNECTIONS):
        if (possible := affordable_connections(number, SPARE_FILES)) == number:
            yield number
        else:
            run.note(f"{number:,} connections: the system lets a process have {possible:,} (ulimit -Hn)")


def measure_connections(kind: ServerKind, run: Run, number: int, dataset: Dataset, batches: Sequence[Batch]) -> Measurement:
    """The cost of so many connections that send GETs in turn, at a rate that they have together."""
    with ServerProcess(kind, ("--maxclients", str(number + SPARE_FILES // 2)), run.folder) as server:
        with server.control() as control:
            dataset.fill(control)
        server.proc.reset_peak()
        before_bytes = server.proc.rss_bytes()
        # Each sends something at least.
        seconds = max(run.pick(3.0, 0.05), number / TOTAL_RATE_PER_S)
        load = Load(LoadPlan(server.port, number, batches, TOTAL_RATE_PER_S, seconds=seconds))
        load.connect()
        before_s = server.proc.cpu_time_s()
        samples = load.run()
        cpu_s = server.proc.cpu_time_s() - before_s
        peak_bytes = server.proc.peak_rss_bytes()
    if samples.errors:
        raise LoadFailed(f"{samples.errors} error replies, first: {samples.first_error}")
    latencies = Latencies.of_seconds(samples.latencies_s["GET"])
    figures: Mapping[str, float] = {
        PER_CONNECTION: (peak_bytes - before_bytes) / KB / number,
        CPU: cpu_s * 1e6 / samples.commands,
        LOAD_P99: latencies.percentile_ms(99.0),
        LOAD_MOST: latencies.percentile_ms(100.0),
        DELAY: Latencies.of_seconds(samples.generator_delays_s).percentile_ms(99.0),
    }
    return Measurement(figures, latencies.encode())


def measure_scale(run: Run) -> Iterator[Case]:
    kinds = {kind: kind for kind in run.able(NEEDS)}
    dataset = Dataset(run.pick(100_000, 1_000))
    batches = run.batches(Workload.named("GET", dataset))
    for number in affordable_numbers(run):
        measure = functools.partial(measure_connections, run=run, number=number, dataset=dataset, batches=batches)
        case = Case(f"{number:,} busy connections", CONNECTION_METRICS, tags={CONNECTIONS_TAG: number})
        yield run.measure(case, run.rounds(1, 1), kinds, measure)
    lives = []
    for keys in affordable_sizes(run):
        life = Life(run, Dataset(keys))
        # The tables show the figures: a life has too many for one.
        case = Case(f"{keys:,} keys", (), tags={KEYS: keys})
        lives.append(run.measure(case, run.rounds(1, 1), kinds, life.measure))
    for table in TABLES:
        yield from map(table.of, lives)


SCENARIO = Scenario("scale", "cost of 100,000 to 10,000,000 keys and of 10 to 10,000 busy connections", measure_scale)
