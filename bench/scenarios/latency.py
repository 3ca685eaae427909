"""Latency at fixed rates, of an open load: counted from the time at which a command was due.

Owns the rates. The highest is half of what redis-server reaches in the same run with the same clients and commands, so that
all servers are asked for the same, whatever they can do. A server that can't keep up shows latencies of seconds, or none.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence

from bench.dataset import Dataset
from bench.figures import Case, Goal, Measurement, Metric
from bench.kinds import BASELINE, SUBJECT, Ability, ServerKind
from bench.latencies import LATENCY_METRICS, Latencies
from bench.load import Batch, Load, LoadFailed, LoadPlan
from bench.process import ServerProcess
from bench.scenario import Run, Scenario
from bench.scenarios.throughput import CLIENTS, JOURNALS, METRICS, SPEED, measure_load
from bench.workload import Workload

FIXED_RATES_PER_S = (1_000, 10_000)
DELAY = "generator p99"
OPEN_METRICS = (*LATENCY_METRICS, Metric(DELAY, "ms", 3, is_compared=False))
HALF_PEAK_GOALS = (Goal("p99", 1.2),)
HALF_PEAK_TAGS = {"rate": "half of the peak"}


def measure_open_load(server: ServerProcess, batches: Sequence[Batch], rate_per_s: float, seconds: float) -> Measurement:
    samples = Load(LoadPlan(server.port, CLIENTS, batches, rate_per_s, seconds=seconds)).run()
    if samples.errors:
        raise LoadFailed(f"{samples.errors} error replies, first: {samples.first_error}")
    latencies = Latencies.of_seconds(sample_s for taken_s in samples.latencies_s.values() for sample_s in taken_s)
    delay_ms = Latencies.of_seconds(samples.generator_delays_s).percentile_ms(99.0)
    return Measurement(latencies.figures() | {DELAY: delay_ms}, latencies.encode())


def measure_rates(
    run: Run, needs: Ability, options: Mapping[ServerKind, Sequence[str]], fixed_rates_per_s: Sequence[int]
) -> Iterator[Case]:
    dataset = run.pick(Dataset(100_000), Dataset(10_000))
    workload = Workload.named("mixed", dataset)
    batches = run.batches(workload)
    rounds = run.rounds(5)
    with run.servers(needs, options, dataset) as servers:

        def open_case(
            title: str, rate_per_s: float, goals: Sequence[Goal] = (), tags: Mapping[str, str | int] | None = None
        ) -> Case:
            measure = functools.partial(measure_open_load, batches=batches, rate_per_s=rate_per_s, seconds=run.pick(1.5, 0.3))
            return run.measure(Case(title, OPEN_METRICS, goals, tags=tags or {}), rounds, servers, measure)

        peak = Case(f"peak rate, {workload.title}", METRICS)
        yield run.measure(peak, rounds, servers, functools.partial(measure_load, batches=batches, seconds=run.pick(1.0, 0.2)))
        yield from (open_case(f"{rate}/s", rate) for rate in fixed_rates_per_s)
        # If no redis-server takes part, the rate is half of kvserver's own peak.
        asked = BASELINE if BASELINE.name in peak.rounds else SUBJECT
        if (highest_per_s := peak.median(asked.name, SPEED)) is not None:
            half_per_s = highest_per_s / 2
            yield open_case(f"half of {asked}'s peak, {half_per_s:.0f}/s", half_per_s, HALF_PEAK_GOALS, HALF_PEAK_TAGS)


def without_journal(run: Run) -> Iterator[Case]:
    return measure_rates(run, Ability.NONE, {}, run.pick(FIXED_RATES_PER_S, FIXED_RATES_PER_S[-1:]))


def with_journal(run: Run) -> Iterator[Case]:
    return measure_rates(run, Ability.PERSISTENCE, JOURNALS, ())


SCENARIOS = (
    Scenario("latency", "latency of 50 clients at fixed rates, 90 % GET and 10 % SET, no journal", without_journal),
    Scenario("latency_journal", "the same with appendonly yes, appendfsync everysec, at half of the peak", with_journal),
)
