"""The time of a start that replays a journal.

Owns the writing of the journal, in two ways: that of kvserver has one record for commands that came together. A start is timed
from the start of the program to the first answer with all data there, after a kill -9.
"""

import time
from collections.abc import Iterator, Sequence

from bench.dataset import Dataset
from bench.figures import Case, Measurement, Metric
from bench.kinds import Ability
from bench.load import Batch, Load, LoadFailed, LoadPlan
from bench.process import ServerProcess
from bench.scenario import Run, Scenario
from bench.scenarios.snapshot import LoadedWrong, check_keys
from bench.scenarios.throughput import CLIENTS, JOURNALS
from bench.workload import Workload

TIME, CPU = "time", "CPU"
METRICS = (Metric(TIME, "s", 2), Metric(CPU, "s", 2))
PENDING_INTERVAL_S = 0.01
PENDING_DEADLINE_S = 60.0


def write_journal(server: ServerProcess, batches: Sequence[Batch], commands: int) -> int:
    """Send so many commands, and wait until the journal has them. Return the number of keys that the server holds then."""
    samples = Load(LoadPlan(server.port, CLIENTS, batches, None, commands=commands)).run()
    if samples.errors:
        raise LoadFailed(f"{samples.errors} error replies, first: {samples.first_error}")
    deadline = time.perf_counter() + PENDING_DEADLINE_S
    with server.control() as control:
        # redis-server, which has no such field, has written what it has answered.
        while int(control.info("persistence").get("aof_pending_bytes", "0")):
            if time.perf_counter() > deadline:
                raise LoadFailed(f"{server.kind} did not write its journal in {PENDING_DEADLINE_S:.0f} s")
            time.sleep(PENDING_INTERVAL_S)
        keys = control.call("DBSIZE")
    if not isinstance(keys, int):
        raise LoadedWrong(f"DBSIZE answered {keys!r}")
    return keys


def measure_replay(run: Run) -> Iterator[Case]:
    commands = run.pick(1_000_000, 5_000)
    for title, pipeline in (("one by one", 1), ("in pipelines of 16", 16)):
        batches = run.batches(Workload.named("SET", Dataset(commands), pipeline))
        keys: dict[ServerProcess, int] = {}

        def start(server: ServerProcess, keys: dict[ServerProcess, int] = keys) -> Measurement:
            server.restart_from_copy()
            check_keys(server, keys[server])
            return Measurement({TIME: server.startup_s, CPU: server.proc.cpu_time_s()})

        with run.servers(Ability.PERSISTENCE, JOURNALS) as servers:
            for server in servers.values():
                run.progress.show(f"write the journal of {server.kind}")
                keys[server] = write_journal(server, batches, commands)
                server.kill()
                server.copy_data()
            yield run.measure(Case(f"{commands} SETs that came {title}", METRICS), run.rounds(2), servers, start)


SCENARIO = Scenario("replay", "time of a start that replays 1,000,000 SETs from the journal", measure_replay)
