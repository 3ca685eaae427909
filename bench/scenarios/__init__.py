"""The scenarios of the suite, in the order in which they run.

Owns this list. To add a scenario, write a module with its `SCENARIO` (or several) and name that here. Must never measure.
"""

from bench.scenario import Scenario
from bench.scenarios import (
    collections,
    consumers,
    engines,
    flush_stall,
    group_commit,
    handover,
    history,
    idle,
    json,
    latency,
    library,
    memory,
    rdb_file,
    replay,
    rights,
    scale,
    scripts,
    snapshot,
    startup,
    takeover,
    throughput,
)

SCENARIOS: tuple[Scenario, ...] = (
    *throughput.SCENARIOS,
    *latency.SCENARIOS,
    group_commit.SCENARIO,
    engines.SCENARIO,
    startup.SCENARIO,
    idle.SCENARIO,
    memory.SCENARIO,
    snapshot.SCENARIO,
    rdb_file.SCENARIO,
    replay.SCENARIO,
    flush_stall.SCENARIO,
    handover.SCENARIO,
    history.SCENARIO,
    takeover.SCENARIO,
    consumers.SCENARIO,
    *collections.SCENARIOS,
    scripts.SCENARIO,
    json.SCENARIO,
    rights.SCENARIO,
    library.SCENARIO,
    scale.SCENARIO,
)
