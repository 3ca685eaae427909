"""The programs that put a workload on a server: redis-benchmark, or the project's own bench.load.

Owns their command lines and the reading of their output. Each runs as a process of its own. Must never touch the
server by another way, and must never report a run of which it is unsure how many commands were sent.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench.dataset import Dataset
from bench.failure import BenchFailed

REDIS_BENCHMARK = "redis-benchmark"
REDIS_BENCHMARK_TESTS = {"ping": "ping_mbulk", "set": "set", "get": "get"}
# Deeper pipelines cost less per command; more of them keep the run long against the 10 ms tick of CPU time.
MAX_REQUESTS_FACTOR = 12
RUN_TIMEOUT_S = 120.0


class GeneratorFailed(BenchFailed):
    """The load was not put on the server as asked; the message says why in one line."""


@dataclass(frozen=True)
class Workload:
    command: str
    pipeline: int
    requests: int
    clients: int
    dataset: Dataset

    @classmethod
    def sized(cls, command: str, pipeline: int, base: int, clients: int, dataset: Dataset) -> "Workload":
        # A multiple of the pipeline: a generator that counts in batches then sends exactly this many.
        batches = -(-base * min(pipeline, MAX_REQUESTS_FACTOR) // pipeline)
        return cls(command, pipeline, batches * pipeline, clients, dataset)


@dataclass(frozen=True)
class Speed:
    commands_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float


def redis_benchmark_speed(port: int, work: Workload) -> Speed:
    """As redis-benchmark measures it."""
    output = run_generator(
        [
            *(REDIS_BENCHMARK, "-h", "127.0.0.1", "-p", str(port), "--csv"),
            *("-t", REDIS_BENCHMARK_TESTS[work.command], "-n", str(work.requests)),
            *("-c", str(work.clients), "-P", str(work.pipeline)),
            *("-d", str(work.dataset.value_bytes), "-r", str(work.dataset.keys)),
        ]
    )
    rows = list(csv.DictReader(line for line in output.splitlines() if line.startswith('"')))
    if len(rows) != 1:
        raise GeneratorFailed(f"{REDIS_BENCHMARK} gave {len(rows)} results instead of one")
    row = rows[0]
    return Speed(
        float(row["rps"]),
        float(row["p50_latency_ms"]),
        float(row["p99_latency_ms"]),
        float(row["max_latency_ms"]),
    )


def own_load_speed(port: int, work: Workload) -> Speed:
    """As bench.load measures it."""
    output = run_generator(
        [
            *(sys.executable, "-m", "bench.load", "--port", str(port), "--json"),
            *("--mix", work.command, "--requests", str(work.requests)),
            *("--clients", str(work.clients), "--pipeline", str(work.pipeline)),
            *("--value-bytes", str(work.dataset.value_bytes), "--keys", str(work.dataset.keys)),
        ]
    )
    result = json.loads(output)
    latency = result["latency"]
    if result["commands"] != work.requests:
        raise GeneratorFailed(f"bench.load sent {result['commands']} commands instead of {work.requests}")
    return Speed(result["commands_per_s"], latency["p50_ms"], latency["p99_ms"], latency["max_ms"])


def run_generator(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise GeneratorFailed(f"{command[0]} did not end within {RUN_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise GeneratorFailed(f"{command[0]} failed: {words[-1] if words else done.returncode}")
    return done.stdout


GENERATORS: dict[str, Callable[[int, Workload], Speed]] = {
    REDIS_BENCHMARK: redis_benchmark_speed,
    "load": own_load_speed,
}
