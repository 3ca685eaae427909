"""Server CPU per command and commands per second, of clients that wait for their replies.

Owns the choice of commands, pipelines and values, and of what is there besides: nothing, a journal, idle connections. CPU is
user and system time of all of the server's threads over the run, by the number of commands. It is the figure to trust, since
the generator shares the machine's processors and caps the throughput.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.dataset import Dataset
from bench.figures import Case, Goal, Measurement, Metric
from bench.idle_connections import IdleConnections, affordable_connections
from bench.kinds import ECHO, KVSERVER, REDIS, Ability, ServerKind
from bench.load import Batch, Load, LoadFailed, LoadPlan
from bench.process import ServerProcess
from bench.scenario import Run, Scenario
from bench.workload import Workload

CLIENTS = 50
CPU, SPEED = "CPU per command", "commands/s"
METRICS = (Metric(CPU, "µs", 2), Metric(SPEED, "", 0, more_is_better=True))
GOALS = (Goal(CPU, 1.0), Goal(SPEED, 1.0, at_least=True))
GOAL_COMMANDS = ("GET", "SET")
EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
JOURNALS: Mapping[ServerKind, Sequence[str]] = {KVSERVER: EVERYSEC, REDIS: EVERYSEC}
PIPELINES = (1, 16, 64)
IDLE_CONNECTIONS = 10_000
# The files that a server opens besides its clients' connections.
SPARE_FILES = 100


@dataclass(frozen=True)
class Grid:
    """Commands, each of which is measured at each pipeline, with values of one size."""

    commands: Sequence[str]
    dataset: Dataset

    def workloads(self) -> Iterator[Workload]:
        for pipeline in PIPELINES:
            for command in self.commands:
                yield Workload.named(command, self.dataset, pipeline)


SMALL, LARGE = Dataset(100_000, 64), Dataset(10_000, 4096)
QUICK = Grid(("GET", "SET"), Dataset(2_000, 64))


def measure_load(
    server: ServerProcess,
    batches: Sequence[Batch],
    seconds: float,
    aftermath: Callable[[ServerProcess], object] = lambda server: None,
) -> Measurement:
    """Measure a load. The CPU time of what comes behind it (`aftermath`) is counted as the load's."""
    load = Load(LoadPlan(server.port, CLIENTS, batches, None, seconds=seconds))
    load.connect()
    before_s = server.proc.cpu_time_s()
    samples = load.run()
    aftermath(server)
    cpu_s = server.proc.cpu_time_s() - before_s
    if samples.errors:
        raise LoadFailed(f"{samples.errors} error replies, first: {samples.first_error}")
    return Measurement({CPU: cpu_s * 1e6 / samples.commands, SPEED: samples.commands / samples.elapsed_s})


def measure_grid(run: Run, grid: Grid, servers: Mapping[ServerKind, ServerProcess]) -> Iterator[Case]:
    for workload in grid.workloads():
        batches = run.batches(workload)
        goals = GOALS if workload.name in GOAL_COMMANDS else ()
        case = Case(workload.title, METRICS, goals, tags=workload.tags)
        measure = functools.partial(measure_load, batches=batches, seconds=run.pick(0.35, 0.1))
        yield run.measure(case, run.rounds(5), servers, measure)


def without_journal(run: Run) -> Iterator[Case]:
    for grid in run.pick(
        (Grid(("GET", "SET", "INCR", "MSET", "mixed"), SMALL), Grid(("GET", "SET", "MSET", "mixed"), LARGE)), (QUICK,)
    ):
        options = {ECHO: ("--value-bytes", str(grid.dataset.value_bytes))}
        with run.servers(options=options, fill=grid.dataset) as servers:
            yield from measure_grid(run, grid, servers)


def with_journal(run: Run) -> Iterator[Case]:
    for grid in run.pick((Grid(("GET", "SET", "INCR", "MSET", "mixed"), SMALL), Grid(("SET",), LARGE)), (QUICK,)):
        with run.servers(Ability.PERSISTENCE, JOURNALS, grid.dataset) as servers:
            yield from measure_grid(run, grid, servers)


def with_idle_connections(run: Run) -> Iterator[Case]:
    connections = affordable_connections(run.pick(IDLE_CONNECTIONS, 1000), CLIENTS + SPARE_FILES)
    if connections < run.pick(IDLE_CONNECTIONS, 1000):
        run.note(f"{connections} idle connections: the system lets a process open no more files (ulimit -Hn)")
    most = ("--maxclients", str(connections + CLIENTS + SPARE_FILES // 2))
    grid = run.pick(Grid(("GET", "SET"), SMALL), QUICK)
    with (
        run.servers(Ability.THOUSANDS_OF_CLIENTS, {KVSERVER: most, REDIS: most}, grid.dataset) as servers,
        contextlib.ExitStack() as stack,
    ):
        for server in servers.values():
            stack.enter_context(IdleConnections(server.port, connections))
        yield from measure_grid(run, grid, servers)


SCENARIOS = (
    Scenario("throughput", "CPU per command and commands per second: 50 clients, no journal", without_journal),
    Scenario("throughput_journal", "the same with appendonly yes, appendfsync everysec", with_journal),
    Scenario("throughput_idle", "the same beside 10,000 connections that send nothing, no journal", with_idle_connections),
)
