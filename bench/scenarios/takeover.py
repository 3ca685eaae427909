"""The take-over of a running redis-server: all its data, then its stream of commands, then the pause of the switch.

Owns the source, which is started once. A redis-server as a replica is the baseline of what a server does for it; while that
one loads all data it answers nobody, so that what clients see meanwhile is measured of kvserver alone.
"""

import functools
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType

from bench.control import Control
from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.figures import Case, Measurement, Metric
from bench.kinds import KVSERVER, REDIS
from bench.latencies import Latencies
from bench.load import Batch, Load, LoadPlan
from bench.phase import run_phase
from bench.process import ServerProcess
from bench.request import encode_request
from bench.scenario import Run, Scenario
from bench.scenarios.flush_stall import CLIENTS, PING, RATE_PER_S, SET
from bench.scenarios.throughput import CPU
from bench.workload import Workload

SOURCE = replace(REDIS, name="source")
# The source begins at once when somebody asks for all data, and remembers all that is written in a round.
SOURCE_OPTIONS = ("--repl-diskless-sync-delay", "0", "--repl-backlog-size", "1gb")
DEADLINE_S = 120.0
POLL_S = 0.005
EACH, SYNC_CPU = "each", "CPU"
SYNC_METRICS = (Metric(EACH, "s"), Metric(SYNC_CPU, "s"))
PING_METRICS = (Metric(EACH, "s"), Metric("p99", "ms"), Metric("p99.9", "ms"), Metric("max", "ms"))
STREAM_METRICS = (Metric(CPU, "µs", 2),)
PIPELINE = 16
PAUSE = "paused"
PAUSE_METRICS = (Metric(PAUSE, "ms", 0),)
PAUSED = re.compile(r"writes were paused for (\d+) ms")


class Following:
    """A target that follows the source, with all its data, while a `with` statement runs."""

    def __init__(self, target: ServerProcess, source: ServerProcess) -> None:
        self._target = target
        self._source = source

    def __enter__(self) -> None:
        with self._target.control() as control:
            control.call("REPLICAOF", "127.0.0.1", self._source.port)
            wait_for_offset(control, 0)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._target.control() as control:
            control.call("REPLICAOF", "NO", "ONE")


def wait_for_offset(target: Control, offset: int) -> None:
    """Wait until the target follows, and has come to this offset of the stream."""
    ends_at = time.perf_counter() + DEADLINE_S
    while time.perf_counter() < ends_at:
        facts = target.info("replication")
        if facts.get("master_link_status") == "up" and int(facts["slave_repl_offset"]) >= offset:
            return
        time.sleep(POLL_S)
    raise BenchFailed(f"the target did not come to the offset {offset} in {DEADLINE_S:.0f} s")


def sync(target: ServerProcess, source: ServerProcess) -> None:
    with Following(target, source):
        pass


def measure_sync(target: ServerProcess, source: ServerProcess) -> Measurement:
    started_at, before_s = time.perf_counter(), target.proc.cpu_time_s()
    sync(target, source)
    return Measurement({EACH: time.perf_counter() - started_at, SYNC_CPU: target.proc.cpu_time_s() - before_s})


def measure_pings(target: ServerProcess, source: ServerProcess, seconds: float) -> Measurement:
    """The latencies of clients of a target while it takes all data."""
    pings = [Batch(PING, encode_request(PING))]
    result = run_phase(target, CLIENTS, RATE_PER_S, pings, seconds, functools.partial(sync, target, source))
    figures = Latencies.of_seconds(result.samples.latencies_s[PING]).figures()
    return Measurement({EACH: sum(result.action_s) / len(result.action_s)} | figures)


def measure_stream(target: ServerProcess, source: ServerProcess, batches: Sequence[Batch], seconds: float) -> Measurement:
    """The target's CPU for each command of the source's clients, who never rest."""
    load = Load(LoadPlan(source.port, CLIENTS, batches, None, seconds=seconds))
    load.connect()
    with Following(target, source), source.control() as leading, target.control() as following:
        before_s = target.proc.cpu_time_s()
        samples = load.run()
        wait_for_offset(following, int(leading.info("replication")["master_repl_offset"]))
        cpu_s = target.proc.cpu_time_s() - before_s
    return Measurement({CPU: cpu_s * 1e6 / samples.commands})


def measure_pause(target: ServerProcess, source: ServerProcess, batches: Sequence[Batch]) -> Measurement:
    """The pause of a source's writes, whose clients never rest, as `kvserver import` tells it."""
    urls = [f"redis://127.0.0.1:{server.port}" for server in (source, target)]
    words = [sys.executable, "-m", "kvserver", "import", *urls, "--switch", "--replace"]
    told: list[str] = []

    def switch() -> None:
        done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        if done.returncode:
            raise BenchFailed(f"kvserver import failed: {done.stderr.strip()}")
        told.extend(PAUSED.findall(done.stdout))

    # It is over when the first switch is.
    run_phase(source, CLIENTS, RATE_PER_S, batches, POLL_S, switch)
    if not told:
        raise BenchFailed("kvserver import told of no pause")
    return Measurement({PAUSE: float(told[0])})


def measure_source(run: Run, source: ServerProcess, dataset: Dataset) -> Iterator[Case]:
    seconds = run.pick(3.0, 0.1)
    with run.servers() as servers:
        targets = {kind: server for kind, server in servers.items() if kind in (KVSERVER, REDIS)}
        ours = {kind: server for kind, server in targets.items() if kind == KVSERVER}
        measure = functools.partial(measure_sync, source=source)
        yield run.measure(Case(f"all data, {dataset.keys} keys", SYNC_METRICS), run.rounds(3, 1), targets, measure)
        pings = functools.partial(measure_pings, source=source, seconds=seconds)
        case = Case("PING meanwhile", PING_METRICS, baseline="")
        yield run.measure(case, run.rounds(2, 1), ours, pings)
        batches = run.batches(Workload.named(SET, dataset, PIPELINE))
        stream = functools.partial(measure_stream, source=source, batches=batches, seconds=seconds)
        case = Case(f"stream of SETs, pipeline {PIPELINE}", STREAM_METRICS)
        yield run.measure(case, run.rounds(3, 1), targets, stream)
        batches = run.batches(Workload.named(SET, dataset))
        pause = functools.partial(measure_pause, source=source, batches=batches)
        case = Case(f"switch, {RATE_PER_S} SETs/s", PAUSE_METRICS, baseline="")
        yield run.measure(case, run.rounds(3, 1), ours, pause)


def measure_takeover(run: Run) -> Iterator[Case]:
    dataset = Dataset(run.pick(1_000_000, 20_000))
    with replace(run, kinds=(SOURCE,)).servers(options={SOURCE: SOURCE_OPTIONS}, fill=dataset) as sources:
        for source in sources.values():
            yield from measure_source(run, source, dataset)


SCENARIO = Scenario(
    "takeover",
    "all data of a running redis-server with 1,000,000 keys, PINGs meanwhile, its stream, the pause of the switch",
    measure_takeover,
)
