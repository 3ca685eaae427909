"""kvserver on engines that keep its journal elsewhere, beside its own folder and redis-server: all writes are durable.

Owns what is compared with what. The engine's own CPU is told apart from the server's. It is on the same machine: it takes its
share of the same cores, and one disk syncs for three nodes. Failover counts from the signal to the first SET that another node
has acknowledged.
"""

import contextlib
import dataclasses
import functools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.control import Control, ErrorReply
from bench.dataset import Dataset
from bench.engines import Engine, nats, s3, why_no_nats, why_no_s3
from bench.failure import BenchFailed
from bench.figures import Case, Goal, Measurement, Metric
from bench.kinds import BASELINE, KVSERVER, REDIS, Ability
from bench.latencies import Latencies
from bench.load import Load, LoadFailed, LoadPlan
from bench.phase import run_phase
from bench.process import ServerProcess, StartFailed
from bench.scenario import Run, Scenario
from bench.scenarios.snapshot import check_keys
from bench.workload import Workload

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
CLIENTS = (1, 50, 200)
DELAY_MS = 15
FOLDER, NATS_1, NATS_3 = "kvserver, folder", "kvserver, NATS 1", "kvserver, NATS 3"
S3, S3_FAR = "kvserver, S3", f"kvserver, S3 {DELAY_MS} ms"
SPEED, CPU, ENGINE_CPU, P50, P99 = "SETs/s", "CPU per SET", "engine's CPU per SET", "p50", "p99"
METRICS = (
    Metric(SPEED, "", 0, more_is_better=True),
    Metric(CPU, "µs", 1),
    Metric(ENGINE_CPU, "µs", 1, is_compared=False),
    Metric(P50, "ms", 2, is_compared=False),
    Metric(P99, "ms", 2, is_compared=False),
)
LEAST_SPEED = {50: 1.0, 200: 0.7}
MOST_CPU = 1.1

GAP, LEASE_S = "time to the next SET", 3.0
GAP_METRICS = (Metric(GAP, "s", 3),)
# A node takes over so much later than the lease at the latest, and behind one that leaves in so much time.
BEYOND_LEASE_S, LEAVING_S = 0.5, 0.3
FAILOVER_DEADLINE_S = 60.0
RATES = (1_000, 10_000)
LAG_50, LAG_99 = "lag p50", "lag p99"
LAG_METRICS = (Metric(LAG_50, "ms", 2), Metric(LAG_99, "ms", 2), Metric(SPEED, "", 0, more_is_better=True))
MOST_LAG_MS = 50.0
START, START_CPU = "start", "CPU"
MOST_START = 1.3
RETRY_S = 0.001


def _node_options(port: int, folder: Path) -> Sequence[str]:
    return ("--bind", "127.0.0.1", "--port", str(port), "--save", "")


# With an engine, there is no folder of data, and a reply waits for its journal by default.
NODE = dataclasses.replace(KVSERVER, options=_node_options)


class NoFailover(BenchFailed):
    """No other node has taken over, or none follows."""


@dataclass(frozen=True)
class Place:
    """A server and where it keeps its data, by the name that tables show. `engine`: None for its own folder."""

    name: str
    engine: Engine | None = None

    def __hash__(self) -> int:
        return hash(self.name)

    def server(self, run: Run, data: str) -> ServerProcess:
        """A server, not started, on the data of this name."""
        if self.name == REDIS.name:
            return ServerProcess(REDIS, ALWAYS, run.folder)
        if self.engine is None:
            return ServerProcess(KVSERVER, ALWAYS, run.folder)
        # Two places may be one store, at two distances.
        name = re.sub(r"\W+", "-", f"{data} {self.name}")
        return ServerProcess(NODE, ("--medium", self.engine.url_of(name)), run.folder, self.engine.environment)


@contextlib.contextmanager
def all_places(run: Run) -> Iterator[dict[str, Place]]:
    """Start all engines that are installed; a note says which are not."""
    with contextlib.ExitStack() as stack:
        places = [Place(REDIS.name)] if REDIS in run.able(Ability.PERSISTENCE) else []
        places.append(Place(FOLDER))
        if reason := why_no_nats():
            run.note(reason)
        else:
            for name, nodes in run.pick(((NATS_1, 1), (NATS_3, 3)), ((NATS_3, 3),)):
                run.progress.show(f"start NATS, {nodes} nodes")
                places.append(Place(name, stack.enter_context(nats(nodes, run.folder))))
        if reason := why_no_s3():
            run.note(reason)
        else:
            run.progress.show("start S3")
            distances = run.pick({S3: 0, S3_FAR: DELAY_MS}, {S3: 0})
            engines = stack.enter_context(s3(list(distances.values()), run.folder))
            places += [Place(name, engine) for name, engine in zip(distances, engines, strict=True)]
        run.progress.clear()
        yield {place.name: place for place in places}


@contextlib.contextmanager
def started(run: Run, places: Sequence[Place], data: str) -> Iterator[dict[Place, ServerProcess]]:
    """Start a server at each place, and wait until it takes writes. A note says which one can't."""
    with contextlib.ExitStack() as stack:
        found = {}
        for place in places:
            run.progress.show(f"start {place.name}")
            try:
                found[place] = stack.enter_context(place.server(run, data))
                wait_until_primary(found[place])
            except (StartFailed, NoFailover) as error:
                found.pop(place, None)
                run.note(f"{place.name}: {error}")
        run.progress.clear()
        yield found


def set_one(control: Control) -> bool:
    """Write something. False if the server does not take it now."""
    try:
        return control.call("SET", "bench:probe", 1) == b"OK"
    except ErrorReply:
        return False


def wait_until_primary(server: ServerProcess) -> None:
    """Wait until a server takes writes."""
    end = time.perf_counter() + FAILOVER_DEADLINE_S
    while time.perf_counter() < end:
        # A node that is demoted closes its connections.
        with contextlib.suppress(OSError), server.control() as control:
            while time.perf_counter() < end:
                if set_one(control):
                    return
                time.sleep(RETRY_S)
    raise NoFailover(f"it takes no writes within {FAILOVER_DEADLINE_S:.0f} s")


def measure_speed(server: ServerProcess, place: Place, clients: int, load: LoadPlan) -> Measurement:
    engine = place.engine
    cpu_s, engine_s = server.proc.cpu_time_s(), engine.cpu_time_s() if engine else 0.0
    samples = Load(load).run()
    if samples.errors:
        raise LoadFailed(f"{samples.errors} error replies, first: {samples.first_error}")
    figures = {SPEED: samples.commands / samples.elapsed_s}
    figures[CPU] = (server.proc.cpu_time_s() - cpu_s) * 1e6 / samples.commands
    if engine:
        figures[ENGINE_CPU] = (engine.cpu_time_s() - engine_s) * 1e6 / samples.commands
    latencies = Latencies.of_seconds(samples.latencies_s["SET"])
    figures |= {P50: latencies.percentile_ms(50.0), P99: latencies.percentile_ms(99.0)}
    return Measurement(figures, latencies.encode())


def measure_speeds(run: Run, places: dict[str, Place]) -> Iterator[Case]:
    batches = run.batches(Workload.named("SET", Dataset(10_000)))
    with started(run, list(places.values()), "speed") as servers:
        of_places = {place: (server, place) for place, server in servers.items()}
        for clients in run.pick(CLIENTS, (50,)):

            def take(subject: tuple[ServerProcess, Place], clients: int = clients) -> Measurement:
                server, place = subject
                plan = LoadPlan(server.port, clients, batches, None, seconds=run.pick(3.0, 0.3))
                return measure_speed(server, place, clients, plan)

            goals = [Goal(CPU, MOST_CPU, baseline=FOLDER)] if clients > 1 else []
            if clients in LEAST_SPEED:
                goals.append(Goal(SPEED, LEAST_SPEED[clients], at_least=True))
            name = f"SET, {clients} client{'s' if clients > 1 else ''}, each durable before its reply"
            case = Case(name, METRICS, goals, tags={"clients": clients}, baseline=BASELINE.name, subject=NATS_3)
            yield run.measure(case, run.rounds(5, 1), of_places, take)


# Two nodes


class Pair:
    """Two servers on one engine: one leads, and the other one follows."""

    def __init__(self, servers: Sequence[ServerProcess]) -> None:
        self._servers = list(servers)

    def settle(self) -> tuple[ServerProcess, ServerProcess]:
        """The primary and its standby, when each plays its part and the standby shows what the primary has written."""
        end = time.perf_counter() + FAILOVER_DEADLINE_S
        while time.perf_counter() < end:
            with contextlib.suppress(OSError, ErrorReply), contextlib.ExitStack() as stack:
                controls = [stack.enter_context(server.control()) for server in self._servers]
                roles = [control.info("replication").get("role") for control in controls]
                if sorted(map(str, roles)) == ["master", "slave"]:
                    first = roles.index("master")
                    mark = f"{time.perf_counter_ns()}"
                    controls[first].call("SET", "bench:settled", mark)
                    while time.perf_counter() < end:
                        if controls[1 - first].call("GET", "bench:settled") == mark.encode():
                            return self._servers[first], self._servers[1 - first]
                        time.sleep(RETRY_S)
            time.sleep(RETRY_S)
        raise NoFailover(f"there is no primary with a standby within {FAILOVER_DEADLINE_S:.0f} s")

    def fail_over(self, end: Callable[[ServerProcess], None]) -> Measurement:
        """End the primary, and measure the time to the next SET. Then the one that ended starts again."""
        primary, standby = self.settle()
        with standby.control() as control:
            started_at = time.perf_counter()
            end(primary)
            while not set_one(control):
                if time.perf_counter() - started_at > FAILOVER_DEADLINE_S:
                    raise NoFailover(f"the standby did not take over within {FAILOVER_DEADLINE_S:.0f} s")
                time.sleep(RETRY_S)
            gap_s = time.perf_counter() - started_at
        primary.restart()
        return Measurement({GAP: gap_s})


@contextlib.contextmanager
def pair_on(run: Run, place: Place, data: str) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        yield Pair([stack.enter_context(place.server(run, data)) for _ in range(2)])


def measure_failover(run: Run, place: Place) -> Iterator[Case]:
    with pair_on(run, place, "failover") as pair:
        cases = (
            ("kill -9 of the primary, lease 3 s", ServerProcess.kill, LEASE_S + BEYOND_LEASE_S, run.rounds(5, 1)),
            ("SIGTERM of the primary", ServerProcess.terminate, LEAVING_S, run.rounds(10, 1)),
        )
        # A short run does not wait for the end of a lease.
        for name, end, most_s, rounds in run.pick(cases, cases[1:]):
            goals = [Goal(GAP, most_s, is_ratio=False)]
            case = Case(name, GAP_METRICS, goals, baseline=place.name, subject=place.name)
            yield run.measure(case, rounds, {place: pair}, functools.partial(Pair.fail_over, end=end))


def measure_lag(run: Run, place: Place) -> Iterator[Case]:
    batches = run.batches(Workload.named("SET", Dataset(10_000)))
    seconds = run.pick(5.0, 0.5)

    def take(pair: Pair, rate: int) -> Measurement:
        primary, standby = pair.settle()
        words = ["--primary", str(primary.port), "--standby", str(standby.port), "--seconds", str(seconds)]
        lags_s: list[float] = []

        def probe() -> None:
            probing = subprocess.run([sys.executable, "-m", "bench.lag", *words], capture_output=True, text=True, check=False)
            if probing.returncode:
                raise NoFailover(probing.stderr.strip().rpartition("\n")[2])
            lags_s.extend(json.loads(probing.stdout))

        # A machine that can't keep the rate shows that by the SETs/s.
        result = run_phase(primary, 50, rate, batches, seconds / 2, probe, drain_s=FAILOVER_DEADLINE_S)
        lags = Latencies.of_seconds(lags_s)
        speed = result.samples.commands / result.samples.elapsed_s
        return Measurement({LAG_50: lags.percentile_ms(50.0), LAG_99: lags.percentile_ms(99.0), SPEED: speed})

    with pair_on(run, place, "lag") as pair:
        for rate in run.pick(RATES, (1_000,)):
            goals = [Goal(LAG_99, MOST_LAG_MS, is_ratio=False)]
            case = Case(f"standby at {rate} SETs/s", LAG_METRICS, goals, baseline=place.name, subject=place.name)
            yield run.measure(case, run.rounds(3, 1), {place: pair}, functools.partial(take, rate=rate))


# A start


def measure_start(run: Run, places: Sequence[Place]) -> Case:
    dataset = Dataset(run.pick(1_000_000, 20_000))

    def start(server: ServerProcess) -> Measurement:
        server.restart()
        check_keys(server, dataset.keys + 1)
        return Measurement({START: server.startup_s, START_CPU: server.proc.cpu_time_s()})

    with started(run, places, "start") as servers:
        for place, server in servers.items():
            run.progress.show(f"fill {place.name}")
            with server.control() as control:
                # The probe of the start is there already.
                dataset.fill(control, others=1)
                control.call("SAVE")
        case = Case(
            f"start with {dataset.keys} keys in a snapshot",
            (Metric(START, "s", 2), Metric(START_CPU, "s", 2)),
            [Goal(START, MOST_START)],
            baseline=FOLDER,
            subject=S3,
        )
        return run.measure(case, run.rounds(3, 1), servers, start)


def measure_engines(run: Run) -> Iterator[Case]:
    if not run.able(Ability.PERSISTENCE, [KVSERVER]):
        return
    with all_places(run) as places:
        yield from measure_speeds(run, places)
        if NATS_3 in places:
            yield from measure_failover(run, places[NATS_3])
            yield from measure_lag(run, places[NATS_3])
        if S3 in places:
            yield measure_start(run, [places[FOLDER], places[S3]])


SCENARIO = Scenario(
    "engines",
    "SETs per second on NATS and S3 with each write durable, failover, a standby's lag, a start from S3",
    measure_engines,
)
