"""The time from the start of the program to its first PONG, without any data.

Owns the restarts. Must never count the very first start of a server, which reads the program from disk.
"""

from collections.abc import Iterator

from bench.figures import Case, Goal, Measurement, Metric
from bench.process import ServerProcess
from bench.scenario import Run, Scenario

STARTUP, CPU = "first PING", "CPU"
METRICS = (Metric(STARTUP, "ms", 1), Metric(CPU, "ms", 1))
GOALS = (Goal(STARTUP, 150.0, is_ratio=False),)


def measure_start(server: ServerProcess) -> Measurement:
    server.restart()
    return Measurement({STARTUP: server.startup_s * 1000, CPU: server.proc.cpu_time_s() * 1000})


def measure_startup(run: Run) -> Iterator[Case]:
    with run.servers() as servers:
        yield run.measure(Case("empty server", METRICS, GOALS), run.rounds(11, 3), servers, measure_start)


SCENARIO = Scenario("startup", "time from the start of an empty server to the first PONG", measure_startup)
