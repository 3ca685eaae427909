"""One measured phase: a paced load on the server while something else happens to it.

Owns the loads, the sampling of memory and the result of one phase. The action (a flush, a restore, or nothing) is given
by the caller and repeated until the phase is long enough for its percentiles. Must never know what the action is, nor
judge what came out.
"""

import asyncio
import functools
import gc
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.dataset import Dataset
from bench.paced import NamedRequest, PacedLoad, PacedSamples
from bench.percentiles import Percentiles
from bench.process import ServerProcess
from bench.request import encode_request

Action = Callable[[], Awaitable[None]]

PING, SET = "PING", "SET"
# Different SETs in circulation, over random keys, encoded before the phase.
SET_POOL = 1 << 16
WRITE_LOAD_CLIENTS = 4
# Reading a forked child costs processor time that the phase needs; the server's own peak needs no samples.
MEMORY_INTERVAL_S = 0.2
# Measured on after the last action: what it leaves to be tidied up belongs to it.
AFTERMATH_S = 0.5
SEED = 20_240


@dataclass(frozen=True)
class Pace:
    """What the clients do in every phase of a session."""

    clients: int
    rate_per_s: float
    write_rate_per_s: float  # more SETs, in phases with write load; their latency is not counted
    phase_s: float
    dataset: Dataset


@dataclass(frozen=True)
class PhaseResult:
    name: str
    action_s: list[float]  # how long each of the actions took
    phase_s: float
    latency: dict[str, Percentiles]
    generator_delay: Percentiles
    memory_before_bytes: int
    memory_peak_bytes: int
    keys_written: int  # an upper bound of the different keys that clients wrote
    errors: int
    first_error: str | None
    stolen_share: float  # of all cores' time, that the host of a virtual machine withheld during the phase

    @property
    def memory_growth_bytes(self) -> int:
        return self.memory_peak_bytes - self.memory_before_bytes


class MemorySampler:
    """The highest memory of the server and its children, children counted with what they do not share."""

    def __init__(self, server: ServerProcess) -> None:
        self._proc = server.proc
        self._proc.reset_peak()
        self.before_bytes = self._read_bytes()
        self._sampled_bytes = self.before_bytes

    @property
    def peak_bytes(self) -> int:
        # The kernel's own peak misses nothing between two samples, but knows no children.
        return max(self._sampled_bytes, self._proc.peak_rss_bytes())

    async def run(self) -> None:
        while True:
            # In a thread: reading a big child's page tables takes milliseconds, which the load must not wait for.
            self._sampled_bytes = max(self._sampled_bytes, await asyncio.to_thread(self._read_bytes))
            await asyncio.sleep(MEMORY_INTERVAL_S)

    def _read_bytes(self) -> int:
        return self._proc.rss_bytes() + self._proc.children_private_bytes()


@functools.cache
def encode_sets(dataset: Dataset) -> list[NamedRequest]:
    choice = random.Random(SEED)
    indexes = (choice.randrange(dataset.keys) for _ in range(SET_POOL))
    return [NamedRequest(SET, dataset.set_request(index, version=1)) for index in indexes]


def alternate(sets: list[NamedRequest], clients: int) -> list[NamedRequest]:
    """A PING from each client, then a SET from each, and so on."""
    ping = NamedRequest(PING, encode_request(b"PING"))
    mixed: list[NamedRequest] = []
    for start in range(0, len(sets), clients):
        turn = sets[start : start + clients]
        mixed += [ping] * len(turn) + turn
    return mixed


async def run_phase(
    name: str, server: ServerProcess, pace: Pace, action: Action | None = None, *, with_writes: bool = False
) -> PhaseResult:
    loop = asyncio.get_running_loop()
    sets = encode_sets(pace.dataset)
    measured = PacedLoad(server.port, pace.clients, pace.rate_per_s, alternate(sets, pace.clients))
    loads = [measured]
    if with_writes:
        loads.append(PacedLoad(server.port, WRITE_LOAD_CLIENTS, pace.write_rate_per_s, sets[::-1]))
    sampler = MemorySampler(server)
    sampling = asyncio.create_task(sampler.run())
    gc.collect()
    gc.disable()
    try:
        for load in loads:
            await load.start()
        started_at, stolen_before_s = loop.time(), stolen_time_s()
        action_s = await _repeat(action, pace.phase_s)
        samples = [await load.stop() for load in loads]
        phase_s = loop.time() - started_at
        stolen_share = (stolen_time_s() - stolen_before_s) / phase_s / (os.cpu_count() or 1)
    finally:
        gc.enable()
        sampling.cancel()
        # Its own errors say no more than the load's: both see a server that is gone.
        await asyncio.gather(sampling, return_exceptions=True)
        for load in loads:
            load.close()
    return _result(name, action_s, phase_s, samples, sampler, stolen_share)


def stolen_time_s() -> float:
    """CPU time of all cores that the host has withheld from this machine so far (`steal` of /proc/stat)."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = file.readline().split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


async def _repeat(action: Action | None, phase_s: float) -> list[float]:
    loop = asyncio.get_running_loop()
    if action is None:
        await asyncio.sleep(phase_s)
        return []
    ends_at = loop.time() + phase_s
    action_s: list[float] = []
    while loop.time() < ends_at:
        started_at = loop.time()
        await action()
        action_s.append(loop.time() - started_at)
    await asyncio.sleep(AFTERMATH_S)
    return action_s


def _result(
    name: str,
    action_s: list[float],
    phase_s: float,
    samples: list[PacedSamples],
    sampler: MemorySampler,
    stolen_share: float,
) -> PhaseResult:
    measured = samples[0]
    sets = sum(len(one.latencies_s[SET]) for one in samples)
    return PhaseResult(
        name=name,
        action_s=action_s,
        phase_s=phase_s,
        latency={what: Percentiles.of_seconds(measured.latencies_s[what]) for what in (PING, SET)},
        generator_delay=Percentiles.of_seconds(measured.generator_delays_s),
        memory_before_bytes=sampler.before_bytes,
        memory_peak_bytes=sampler.peak_bytes,
        keys_written=min(sets, SET_POOL),
        errors=sum(one.errors for one in samples),
        first_error=next((one.first_error for one in samples if one.first_error), None),
        stolen_share=stolen_share,
    )
