"""Users and tracking: CPU per GET and SET while nobody tracks keys, and of a user who may use some keys only.

Owns the user's rules. It is the default user that has them, so that the load is the same as without.
"""

import functools
from collections.abc import Iterator

from bench.control import ErrorReply
from bench.dataset import KEY_PREFIX, Dataset
from bench.figures import Case, Goal
from bench.kinds import Ability
from bench.scenario import Run, Scenario
from bench.scenarios.throughput import CPU, METRICS, PIPELINES, measure_load
from bench.workload import Workload

RULES: dict[str, tuple[str, ...]] = {
    "nobody tracks": ("allkeys",),
    "a user of some keys": ("resetkeys", f"~{KEY_PREFIX.decode()}*", "~counter:*"),
}
GOALS = (Goal(CPU, 1.0),)


def measure_rights(run: Run) -> Iterator[Case]:
    dataset = Dataset(run.pick(100_000, 2_000))
    with run.servers(Ability.PERSISTENCE, fill=dataset) as servers:
        for who, rules in RULES.items():
            taking = dict(servers)
            for kind, server in servers.items():
                with server.control() as control:
                    try:
                        control.call("CLIENT", "TRACKING", "OFF")
                        control.call("ACL", "SETUSER", "default", *rules)
                    except ErrorReply as error:
                        if "resetkeys" in rules:
                            run.note(f"{kind} has no users: {error}")
                            del taking[kind]
            for pipeline in run.pick(PIPELINES, PIPELINES[1:2]):
                for command in ("GET", "SET"):
                    workload = Workload.named(command, dataset, pipeline)
                    measure = functools.partial(measure_load, batches=run.batches(workload), seconds=run.pick(0.35, 0.05))
                    case = Case(f"{workload.title}, {who}", METRICS, GOALS, tags={**workload.tags, "who": who})
                    yield run.measure(case, run.rounds(5), taking, measure)


SCENARIO = Scenario(
    "rights", "CPU per GET and SET while nobody tracks, and of a user of some keys, no journal", measure_rights
)
