"""Collections: CPU per command by their size, their memory, and what other clients notice of large ones.

Owns the choice of sizes and the phases. CPU is that of `throughput`. A stall is the latency of another client's PING, held
against an idle phase just before it, of the same server.
"""

import functools
import itertools
import random
from collections.abc import Callable, Iterator, Mapping

from bench.control import Control
from bench.figures import Case, Goal, Measurement, Metric
from bench.flush_action import bgsave, restore, wait_until_settled
from bench.kinds import Ability, ServerKind
from bench.latencies import Latencies
from bench.load import Batch
from bench.members import HASH, ROWS, TYPES, Collections, CollectionType, Row
from bench.phase import AFTERMATH_S, QUICK_AFTERMATH_S, run_phase
from bench.process import ServerProcess
from bench.request import encode_request
from bench.scenario import Run, Scenario
from bench.scenarios.throughput import CPU, measure_load
from bench.scenarios.throughput import METRICS as LOAD_METRICS
from bench.workload import SEED

NEEDS = Ability.DATA | Ability.MILLIONS
PIPELINES = (1, 16)
GOALS = (Goal(CPU, 2.0),)
PER_KEY, PER_MEMBER, FILLED = "bytes per key", "bytes per member", "filled"
MB = 1_000_000
PING = "PING"
CLIENTS, RATE_PER_S = 5, 1000
P99, MOST, BEYOND_IDLE = "PING p99", "PING max", "max - idle max"
STALL_METRICS = (Metric(P99, "ms"), Metric(MOST, "ms"), Metric(BEYOND_IDLE, "ms", is_compared=False))
# While a snapshot is under way, a write comes for each so many members: most are the first to their part of the collection.
FIRST_WRITES_SHARE = 50
# The requests of these phases come a few at once, so that what takes long is a step of the server, and not the sum of many.
IN_FLIGHT = 2
COPY_KEY = b"copy"
# A phase without an end of its own is done once, and watched for a while behind it.
ONCE_S = 0.001


def measure_commands(run: Run) -> Iterator[Case]:
    for size in run.pick((10, 1000, 1_000_000), (10,)):
        collections = {kind: Collections.of_size(kind, size) for kind in TYPES}
        with run.servers(NEEDS) as servers:
            for server in servers.values():
                with server.control() as control:
                    for each in collections.values():
                        each.fill(control)
            for row in ROWS:
                for pipeline in run.pick(PIPELINES, PIPELINES[1:]):
                    tags: Mapping[str, str | int] = {"command": row.name, "members": size, "pipeline": pipeline}
                    case = Case(f"{row.name} at {size} members, pipeline {pipeline}", LOAD_METRICS, GOALS, tags=tags)
                    load = RowLoad(collections[row.type], row, pipeline, is_short=run.is_quick)
                    yield run.measure(case, run.rounds(5), servers, load.measure)


class RowLoad:
    """The load of one row on one server after the other. No load of a fresh row brings what another one has brought."""

    def __init__(self, collections: Collections, row: Row, pipeline: int, *, is_short: bool) -> None:
        self._collections, self._row, self._pipeline = collections, row, pipeline
        self._seconds = 0.05 if is_short else 0.35
        # What is fresh comes once in a load as well, so that there must be more of it than one sends.
        usual, fresh = (1_000, 10_000) if is_short else (20_000, 80_000)
        self._requests = fresh if row.is_fresh else usual
        self._first_turns = itertools.count(step=fresh) if row.is_fresh else itertools.repeat(0)

    def measure(self, server: ServerProcess) -> Measurement:
        batches = self._collections.batches(self._row, self._pipeline, self._requests, next(self._first_turns))
        return measure_load(server, batches, self._seconds)


def measure_sizes(run: Run) -> Iterator[Case]:
    kinds = {kind: kind for kind in run.able(NEEDS)}
    for collection_type in TYPES:
        keys = run.pick(collection_type.most_keys, 2_000)
        small = Collections(collection_type, keys, 5 if collection_type is HASH else 10)
        large = Collections(collection_type, 1, run.pick(1_000_000, 20_000))
        for collections, name, count in ((small, PER_KEY, small.keys), (large, PER_MEMBER, large.members)):
            metrics = (Metric(name, "", 0), Metric(FILLED, "MB", 1, is_compared=False))

            def measure(
                kind: ServerKind, collections: Collections = collections, name: str = name, count: int = count
            ) -> Measurement:
                with ServerProcess(kind, (), run.folder) as server, server.control() as control:
                    empty_bytes = server.proc.rss_bytes()
                    collections.fill(control)
                    filled_bytes = server.proc.rss_bytes()
                return Measurement({name: (filled_bytes - empty_bytes) / count, FILLED: filled_bytes / MB})

            yield run.measure(Case(collections.name, metrics), run.rounds(1), kinds, measure)


class Large:
    """One large collection of a server, and what is done to it. The actions are done in the order of `actions`."""

    def __init__(self, collection_type: CollectionType, members: int) -> None:
        self.collections = Collections(collection_type, 1, members)
        self._key = self.collections.key(0)

    def actions(self) -> dict[str, tuple[Ability, Callable[[ServerProcess], None]]]:
        """The actions by name, and what they need."""
        return {
            "growth": (Ability.NONE, self._grow),
            "BGSAVE": (Ability.NONE, bgsave),
            "first writes behind BGSAVE": (Ability.NONE, self._write_behind_bgsave),
            "COPY": (Ability.NONE, self._copy),
            "SET over the copy": (Ability.NONE, self._overwrite),
            # It loads what a start loads, beside clients.
            "RESTORE": (Ability.RESTORE, restore),
            "DEL": (Ability.NONE, self._delete),
        }

    def _grow(self, server: ServerProcess) -> None:
        with server.control() as control:
            control.call("UNLINK", self._key)
            self.collections.fill(control, IN_FLIGHT)

    def _write_behind_bgsave(self, server: ServerProcess) -> None:
        choice = random.Random(SEED)
        numbers = [choice.randrange(self.collections.members) for _ in range(self.collections.members // FIRST_WRITES_SHARE)]
        changes = [self.collections.type.change(number) for number in numbers]
        requests = [encode_request(command, self._key, *words) for command, *words in changes]
        with server.control() as control:
            control.call("BGSAVE")
            for start in range(0, len(requests), IN_FLIGHT):
                send_and_wait(control, requests[start : start + IN_FLIGHT])
        wait_until_settled(server)

    def _copy(self, server: ServerProcess) -> None:
        with server.control() as control:
            control.call("COPY", self._key, COPY_KEY)

    def _overwrite(self, server: ServerProcess) -> None:
        with server.control() as control:
            control.call("SET", COPY_KEY, b"other")

    def _delete(self, server: ServerProcess) -> None:
        with server.control() as control:
            control.call("DEL", self._key)


def send_and_wait(control: Control, requests: list[bytes]) -> None:
    control.send(b"".join(requests))
    for _ in requests:
        control.receive()


def ping_latencies(
    server: ServerProcess, seconds: float, action: Callable[[], None] | None = None, aftermath_s: float = AFTERMATH_S
) -> dict[str, float]:
    result = run_phase(server, CLIENTS, RATE_PER_S, [Batch(PING, encode_request(PING))], seconds, action, aftermath_s)
    return Latencies.of_seconds(result.samples.latencies_s[PING]).figures()


def measure_stalls(run: Run) -> Iterator[Case]:
    idle_s, aftermath_s = run.pick((3.0, AFTERMATH_S), (0.1, QUICK_AFTERMATH_S))

    def measure(server: ServerProcess, action: Callable[[ServerProcess], None]) -> Measurement:
        idle = ping_latencies(server, idle_s)
        found = ping_latencies(server, ONCE_S, functools.partial(action, server), aftermath_s)
        return Measurement({P99: found["p99"], MOST: found["max"], BEYOND_IDLE: found["max"] - idle["max"]})

    for collection_type in run.pick(TYPES, TYPES[-1:]):
        large = Large(collection_type, run.pick(1_000_000, 5_000))
        with run.servers(NEEDS | Ability.PERSISTENCE) as servers:
            for name, (needs, action) in large.actions().items():
                case = Case(f"{name}, {large.collections.name}", STALL_METRICS)
                able = {kind: servers[kind] for kind in run.able(needs, servers)}
                # What the action leaves is what the next one is about, so that each is done once.
                yield run.measure(case, 1, able, functools.partial(measure, action=action))


SCENARIOS = (
    Scenario("collections", "CPU per command of collections of 10, 1,000 and 1,000,000 members, no journal", measure_commands),
    Scenario("collections_memory", "memory of 1,000,000 small collections, and of large ones", measure_sizes),
    Scenario("collections_stall", "what clients notice of collections of 1,000,000 members", measure_stalls),
)
