"""CPU of a server whose clients are connected and silent.

Owns the connections and the time that is looked at, which begins when connecting is over.
"""

import time
from collections.abc import Iterator

from bench.figures import Case, Goal, Measurement, Metric
from bench.idle_connections import IdleConnections, affordable_connections
from bench.kinds import Ability
from bench.process import ServerProcess
from bench.scenario import Run, Scenario
from bench.scenarios.throughput import SPARE_FILES

CONNECTIONS = 1000
SETTLE_S = 0.5
CPU = "CPU"
METRICS = (Metric(CPU, "ms per s", 2),)
GOALS = (Goal(CPU, 1.0),)


def measure_idle(run: Run) -> Iterator[Case]:
    connections = affordable_connections(CONNECTIONS, SPARE_FILES)
    seconds = run.pick(4.0, 0.5)

    def measure(server: ServerProcess) -> Measurement:
        with IdleConnections(server.port, connections):
            time.sleep(SETTLE_S)
            before_s, started_at = server.proc.cpu_time_s(), time.perf_counter()
            time.sleep(seconds)
            cpu_s, elapsed_s = server.proc.cpu_time_s() - before_s, time.perf_counter() - started_at
        return Measurement({CPU: cpu_s * 1000 / elapsed_s})

    with run.servers(Ability.THOUSANDS_OF_CLIENTS) as servers:
        yield run.measure(Case(f"{connections} idle clients", METRICS, GOALS), run.rounds(4), servers, measure)


SCENARIO = Scenario("idle", "CPU of an idle server with 1,000 connections", measure_idle)
