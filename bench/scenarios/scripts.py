"""Scripts: CPU per EVALSHA of the scripts that clients have in common, as `throughput` measures it.

Owns the choice of scripts. Each has a key out of many, so that no server keeps one of them at hand.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.dataset import Dataset
from bench.figures import Case, Goal
from bench.kinds import Ability
from bench.load import Batch
from bench.request import encode_request
from bench.scenario import Run, Scenario
from bench.scenarios.throughput import CPU, METRICS, measure_load

PIPELINES = (1, 16)
GOALS = (Goal(CPU, 2.0),)
KEYS = 10_000


@dataclass(frozen=True)
class Script:
    """A script of one key, and its arguments."""

    name: str
    body: str
    arguments: tuple[bytes, ...] = ()


SCRIPTS = (
    Script("return 1", "return 1"),
    Script("GET", "return redis.call('get', KEYS[1])"),
    Script(
        "release of a lock",
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0",
        (b"token",),
    ),
    Script(
        "limiter",
        "local n = redis.call('incr', KEYS[1]) if n == 1 then redis.call('expire', KEYS[1], ARGV[1]) end return n",
        (b"60",),
    ),
    Script("10 SETs", "for i = 1, 10 do redis.call('set', KEYS[1], ARGV[1]) end return 1", (b"value",)),
)


def measure_scripts(run: Run) -> Iterator[Case]:
    with run.servers(Ability.SCRIPTS, fill=Dataset(KEYS, 64)) as servers:
        for script in SCRIPTS:
            for server in servers.values():
                with server.control() as control:
                    sha = control.call("SCRIPT", "LOAD", script.body)
            assert isinstance(sha, bytes)
            # The limiter counts in keys of its own, since the data set has no numbers.
            name = script.name.partition(" ")[0].encode()
            requests = [encode_request("EVALSHA", sha, b"1", b"%b:%d" % (name, at), *script.arguments) for at in range(KEYS)]
            for pipeline in run.pick(PIPELINES, PIPELINES[1:]):
                batches = [
                    Batch(script.name, b"".join(requests[start : start + pipeline]), pipeline)
                    for start in range(0, KEYS - pipeline + 1, pipeline)
                ]
                tags: Mapping[str, str | int] = {"command": script.name, "pipeline": pipeline}
                case = Case(f"EVALSHA of {script.name}, pipeline {pipeline}", METRICS, GOALS, tags=tags)
                measure = functools.partial(measure_load, batches=batches, seconds=run.pick(0.35, 0.05))
                yield run.measure(case, run.rounds(5), servers, measure)


SCENARIO = Scenario("scripts", "CPU per EVALSHA of short scripts, no journal", measure_scripts)
