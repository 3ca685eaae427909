"""Hand-over: a job goes from a client that pushes it to one that waits for it by BLPOP, beside others that wait in vain.

Owns the conversation: each job is pushed when its receiver waits, and its latency counts from the push to the receiver's
reply. CPU is the server's, for an LPUSH and a BLPOP together.
"""

import contextlib
import functools
import time
from collections.abc import Iterator

from bench.control import Control
from bench.figures import Case, Measurement, Metric
from bench.kinds import Ability
from bench.latencies import LATENCY_METRICS, Latencies
from bench.process import ServerProcess
from bench.request import encode_request
from bench.scenario import Run, Scenario

CPU = "CPU per hand-over"
METRICS = (Metric(CPU, "µs", 2), *LATENCY_METRICS)
JOB = b"j" * 64
WAITS, PUSH = encode_request("BLPOP", "jobs", 0), encode_request("LPUSH", "jobs", JOB)


def hand_over(server: ServerProcess, jobs: int, bystanders: int) -> Measurement:
    latencies_s: list[float] = []
    with contextlib.ExitStack() as stack:
        for number in range(bystanders):
            stack.enter_context(server.control()).send(encode_request("BLPOP", f"other:{number}", 0))
        sender, receiver = (stack.enter_context(server.control()) for _ in range(2))
        before_s = server.proc.cpu_time_s()
        for _ in range(jobs):
            _hand_over_one(sender, receiver, latencies_s)
        cpu_s = server.proc.cpu_time_s() - before_s
    latencies = Latencies.of_seconds(latencies_s)
    return Measurement({CPU: cpu_s * 1e6 / jobs} | latencies.figures(), latencies.encode())


def _hand_over_one(sender: Control, receiver: Control, latencies_s: list[float]) -> None:
    receiver.send(WAITS)
    started_at = time.perf_counter()
    sender.send(PUSH)
    receiver.receive()
    latencies_s.append(time.perf_counter() - started_at)
    sender.receive()


def measure(run: Run) -> Iterator[Case]:
    for bystanders in run.pick((0, 500), (10,)):
        case = Case(f"LPUSH to BLPOP beside {bystanders} that wait", METRICS, tags={"waiting": bystanders})
        with run.servers(Ability.DATA | Ability.THOUSANDS_OF_CLIENTS) as servers:
            take = functools.partial(hand_over, jobs=run.pick(5_000, 300), bystanders=bystanders)
            yield run.measure(case, run.rounds(5), servers, take)


SCENARIO = Scenario("handover", "CPU and latency from LPUSH to a client that waits by BLPOP, no journal", measure)
