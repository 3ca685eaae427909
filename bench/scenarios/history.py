"""The history: what `--history` costs a SET, reads in the past, a restore beside live clients, and what is kept on the disk.

What a history costs is seen on one server, which keeps one by turns: two servers differ by more than that, whatever they do.
Each turn has a snapshot at its end, whose cost counts. A moment is the time of the server's own clock. KVS.RESTORE goes
between two moments whose data differs, so that each restore changes what clients see.
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bench.dataset import Dataset
from bench.figures import Case, Goal, Measurement, Metric
from bench.flush_action import ActionFailed, bgsave
from bench.kinds import KVSERVER
from bench.load import Batch, Load, LoadPlan
from bench.process import ServerProcess
from bench.scenario import Run, Scenario
from bench.scenarios.flush_stall import FLUSH_METRICS, STALL_GOALS, Phase, Watch
from bench.scenarios.throughput import CPU, METRICS, PIPELINES, measure_load
from bench.workload import Workload

WITH = replace(KVSERVER, name="history")
OPTIONS = {WITH: ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0", "--history", "7d")}
FIRST, AGAIN, OTHER = "first read", "same moment", "later moment"
READ_METRICS = (Metric(FIRST, "s"), Metric(AGAIN, "ms"), Metric(OTHER, "ms"))
DAY_S = 86_400
RATE_PER_S = 1_000
DAY, PER_SET = "a day", "a SET"
DISK_METRICS = (Metric(DAY, "GB"), Metric(PER_SET, "bytes", 1))
READS = 20


def now_ms(server: ServerProcess) -> int:
    """The time of the server's clock, which is over when this returns."""
    with server.control() as control:
        seconds, microseconds = map(int, control.call("TIME"))  # type: ignore[call-overload]
    time.sleep(0.002)
    return int(seconds) * 1000 + int(microseconds) // 1000


def timed_s(call: Callable[[], object]) -> float:
    started_at = time.perf_counter()
    call()
    return time.perf_counter() - started_at


@dataclass(frozen=True)
class Keeping:
    """What the server keeps in a turn, as CONFIG SET takes it."""

    name: str
    history: str


WITHOUT_ANY, WITH_ONE = Keeping("no history", "0"), Keeping(WITH.name, "7d")


def measure_turn(keeping: Keeping, server: ServerProcess, batches: Sequence[Batch], seconds: float) -> Measurement:
    with server.control() as control:
        control.call("CONFIG", "SET", "history", keeping.history)
    return measure_load(server, batches, seconds, aftermath=bgsave)


def measure_costs(run: Run) -> Iterator[Case]:
    dataset = Dataset(run.pick(100_000, 2_000))
    keepings = {keeping: keeping for keeping in (WITHOUT_ANY, WITH_ONE)}
    with run.servers(options=OPTIONS, fill=dataset) as servers:
        for server in servers.values():
            for pipeline in run.pick(PIPELINES, PIPELINES[1:2]):
                workload = Workload.named("SET", dataset, pipeline)
                goals = (Goal(CPU, 1.02),)
                case = Case(workload.title, METRICS, goals, baseline=WITHOUT_ANY.name, subject=WITH_ONE.name)
                measure = functools.partial(
                    measure_turn, server=server, batches=run.batches(workload), seconds=run.pick(2.0, 0.1)
                )
                yield run.measure(case, run.rounds(15), keepings, measure)


def measure_reads(server: ServerProcess, dataset: Dataset) -> Measurement:
    key = dataset.key(0)
    # No past is in memory then.
    server.restart()
    with server.control() as control:
        control.call("SET", key, "before")
        moment = now_ms(server)
        control.call("SET", key, "after")
        later = now_ms(server)

        def read(at: int, expected: bytes) -> None:
            if (found := control.call("KVS.AT", at, "GET", key)) != expected:
                raise ActionFailed(f"KVS.AT answered {found!r}")

        first_s = timed_s(lambda: read(moment, b"before"))
        again_s = min(timed_s(lambda: read(moment, b"before")) for _ in range(READS))
        other_s = timed_s(lambda: read(later, b"after"))
    return Measurement({FIRST: first_s, AGAIN: again_s * 1e3, OTHER: other_s * 1e3})


class Restores:
    """KVS.RESTORE to one of two moments by turns."""

    def __init__(self, server: ServerProcess, dataset: Dataset) -> None:
        self._moments = []
        for value in ("before", "after"):
            with server.control() as control:
                control.call("SET", dataset.key(0), value)
            self._moments.append(now_ms(server))

    def restore(self, server: ServerProcess) -> None:
        self._moments.reverse()
        with server.control() as control:
            control.call("KVS.RESTORE", self._moments[0])


def measure_disk(run: Run, server: ServerProcess, dataset: Dataset) -> Measurement:
    """The bytes that a day of SETs leaves, by those of some seconds with a snapshot behind them."""
    batches = run.batches(Workload.named("SET", dataset))
    seconds = run.pick(20.0, 1.0)
    bgsave(server)
    before_bytes = server.data_bytes()
    load = Load(LoadPlan(server.port, 10, batches, RATE_PER_S, seconds=seconds))
    load.connect()
    samples = load.run()
    bgsave(server)
    per_set = (server.data_bytes() - before_bytes) / samples.commands
    return Measurement({PER_SET: per_set, DAY: per_set * RATE_PER_S * DAY_S / 1e9})


def measure_history(run: Run) -> Iterator[Case]:
    only = replace(run, kinds=(WITH,))
    yield from measure_costs(only)
    dataset = Dataset(run.pick(1_000_000, 20_000))
    with only.servers(options=OPTIONS, fill=dataset) as servers:
        for server in servers.values():
            bgsave(server)
        case = Case(f"KVS.AT, {dataset.keys} keys", READ_METRICS, baseline="", subject=WITH.name)
        yield run.measure(case, run.rounds(3, 1), servers, lambda server: measure_reads(server, dataset))
        watch = Watch(run, dataset)
        restores = {server: Restores(server, dataset) for server in servers.values()}
        phase = Phase("KVS.RESTORE", lambda server: restores[server].restore(server))
        case = Case(phase.name, FLUSH_METRICS, STALL_GOALS, baseline="", subject=WITH.name)
        yield run.measure(case, run.rounds(2, 1), servers, functools.partial(watch.measure, phase=phase))
    dataset = Dataset(run.pick(100_000, 2_000))
    with only.servers(options=OPTIONS, fill=dataset) as servers:
        case = Case(
            f"disk, {RATE_PER_S} SETs/s of 64 bytes, {dataset.keys} keys", DISK_METRICS, baseline="", subject=WITH.name
        )
        yield run.measure(case, run.rounds(2, 1), servers, lambda server: measure_disk(run, server, dataset))


SCENARIO = Scenario(
    "history",
    "what --history costs a SET, reads of and restores to earlier moments at 1,000,000 keys, disk a day",
    measure_history,
)
