"""SETs per second where each is on disk before its reply: `appendfsync always`.

Owns the numbers of clients, which share syncs. Syncs per command are what kvserver's INFO counts; redis-server counts none.
"""

from collections.abc import Iterator

from bench.dataset import Dataset
from bench.figures import Case, Measurement, Metric
from bench.kinds import KVSERVER, REDIS, Ability
from bench.load import Load, LoadPlan
from bench.process import ServerProcess
from bench.scenario import Run, Scenario
from bench.workload import Workload

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
CLIENTS = (1, 10, 50, 200)
SPEED, SYNCS = "SETs/s", "syncs per SET"
METRICS = (Metric(SPEED, "", 0, more_is_better=True), Metric(SYNCS, "", 3, is_compared=False))


def syncs_so_far(server: ServerProcess) -> int | None:
    with server.control() as control:
        syncs = control.info("persistence").get("aof_syncs")
    return None if syncs is None else int(syncs)


def measure_group_commit(run: Run) -> Iterator[Case]:
    dataset = Dataset(10_000)
    batches = run.batches(Workload.named("SET", dataset))
    with run.servers(Ability.PERSISTENCE, {KVSERVER: ALWAYS, REDIS: ALWAYS}) as servers:
        for clients in run.pick(CLIENTS, (1, 50)):

            def measure(server: ServerProcess, clients: int = clients) -> Measurement:
                before = syncs_so_far(server)
                samples = Load(LoadPlan(server.port, clients, batches, None, seconds=run.pick(1.0, 0.3))).run()
                after = syncs_so_far(server)
                figures = {SPEED: samples.commands / samples.elapsed_s}
                if before is not None and after is not None:
                    figures[SYNCS] = (after - before) / samples.commands
                return Measurement(figures)

            yield run.measure(Case(f"{clients} client{'s' if clients > 1 else ''}", METRICS), run.rounds(5), servers, measure)


SCENARIO = Scenario("group_commit", "SETs per second with appendfsync always, where clients share syncs", measure_group_commit)
