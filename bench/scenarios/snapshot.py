"""The speed at which an idle server saves its data, and starts with it.

Owns these two measurements. The payload is what the first SAVE adds to an empty data folder. A start is timed from the start
of the program to the first answer with all data there, with one snapshot on the disk. CPU beside wall time shows which of
processor and disk sets the pace.
"""

import time
from collections.abc import Iterator

from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.figures import Case, Measurement, Metric
from bench.kinds import Ability
from bench.process import ServerProcess
from bench.scenario import Run, Scenario

MB = 1_000_000
TIME, CPU, SPEED, PAYLOAD = "time", "CPU", "payload per s", "payload"
METRICS = (
    Metric(TIME, "s", 2),
    Metric(CPU, "s", 2),
    Metric(SPEED, "MB/s", 0, more_is_better=True, is_compared=False),
    Metric(PAYLOAD, "MB", 1, is_compared=False),
)


class LoadedWrong(BenchFailed):
    """The server came back with other data than it had."""


def check_keys(server: ServerProcess, keys: int) -> None:
    with server.control() as control:
        if (loaded := control.call("DBSIZE")) != keys:
            raise LoadedWrong(f"{server.kind} had {keys} keys, but {loaded} came back")


def measure_snapshot(run: Run) -> Iterator[Case]:
    dataset = Dataset(run.pick(1_000_000, 20_000))
    payload_bytes: dict[ServerProcess, int] = {}

    def figures(server: ServerProcess, time_s: float, cpu_s: float) -> Measurement:
        payload_mb = payload_bytes[server] / MB
        return Measurement({TIME: time_s, CPU: cpu_s, SPEED: payload_mb / time_s, PAYLOAD: payload_mb})

    def save(server: ServerProcess) -> Measurement:
        with server.control() as control:
            before_bytes, before_s, started_at = server.data_bytes(), server.proc.cpu_time_s(), time.perf_counter()
            control.call("SAVE")
            duration_s, cpu_s = time.perf_counter() - started_at, server.proc.cpu_time_s() - before_s
        if server not in payload_bytes:
            payload_bytes[server] = server.data_bytes() - before_bytes
            server.copy_data()
        return figures(server, duration_s, cpu_s)

    def start(server: ServerProcess) -> Measurement:
        server.restart_from_copy()
        check_keys(server, dataset.keys)
        return figures(server, server.startup_s, server.proc.cpu_time_s())

    with run.servers(Ability.PERSISTENCE | Ability.MILLIONS, fill=dataset) as servers:
        yield run.measure(Case(f"SAVE of {dataset.keys} keys, no clients", METRICS), run.rounds(4), servers, save)
        yield run.measure(Case(f"start with {dataset.keys} keys", METRICS), run.rounds(4), servers, start)


SCENARIO = Scenario("snapshot", "time of a SAVE and of a start at 1,000,000 keys of 64 bytes", measure_snapshot)
