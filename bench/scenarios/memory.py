"""The memory of a key.

Owns the filling of an empty server and the reading of its resident memory before and after. Must never count what the server
needs without any data as a cost of the keys.
"""

from collections.abc import Iterator

from bench.dataset import Dataset
from bench.figures import Case, Goal, Measurement, Metric
from bench.kinds import Ability, ServerKind
from bench.process import ServerProcess
from bench.scenario import Run, Scenario

PER_KEY, EMPTY, FILLED, PEAK = "bytes per key", "empty", "filled", "peak"
METRICS = (
    Metric(PER_KEY, "", 0),
    Metric(EMPTY, "MB", 1, is_compared=False),
    Metric(FILLED, "MB", 1),
    Metric(PEAK, "MB", 1, is_compared=False),
)
GOALS = (Goal(FILLED, 1.5),)
MB = 1_000_000


def measure_memory(run: Run) -> Iterator[Case]:
    dataset = Dataset(run.pick(1_000_000, 20_000))

    def measure(kind: ServerKind) -> Measurement:
        with ServerProcess(kind, (), run.folder) as server, server.control() as control:
            empty_bytes = server.proc.rss_bytes()
            dataset.fill(control)
            filled_bytes, peak_bytes = server.proc.rss_bytes(), server.proc.peak_rss_bytes()
        per_key = (filled_bytes - empty_bytes) / dataset.keys
        return Measurement({PER_KEY: per_key, EMPTY: empty_bytes / MB, FILLED: filled_bytes / MB, PEAK: peak_bytes / MB})

    case = Case(f"{dataset.keys} keys of {dataset.key_bytes} B, values of {dataset.value_bytes} B", METRICS, GOALS)
    kinds = run.able(run.pick(Ability.DATA | Ability.MILLIONS, Ability.DATA))
    yield run.measure(case, run.rounds(2), {kind: kind for kind in kinds}, measure)


SCENARIO = Scenario("memory", "memory per key at 1,000,000 keys of 64 bytes", measure_memory)
