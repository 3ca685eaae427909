"""How fast an idle server flushes to its medium, and loads from it.

Owns these two measurements. The payload is what the first flush adds to an empty data folder; loading is the time
from the start of the program to the first answer with all data there, less the same with an empty folder. CPU time
beside the wall time tells whether the processor or the disk sets the pace. Must run alone: no client is connected
meanwhile.
"""

import statistics
import time
from dataclasses import dataclass

from bench.failure import BenchFailed
from bench.process import ServerProcess

MB = 1_000_000
FLUSHES = 3


class LoadedWrong(BenchFailed):
    """The server came back with other data than it had."""


@dataclass(frozen=True)
class Throughput:
    payload_bytes: int
    flush_s: float
    flush_cpu_s: float
    load_s: float
    load_cpu_s: float

    @property
    def flush_mb_per_s(self) -> float:
        return self.payload_bytes / MB / self.flush_s

    @property
    def load_mb_per_s(self) -> float:
        return self.payload_bytes / MB / self.load_s


@dataclass(frozen=True)
class EmptyStart:
    """What a start costs without data, to be taken off the start with data."""

    startup_s: float
    cpu_s: float

    @classmethod
    def measure(cls, server: ServerProcess) -> "EmptyStart":
        # The very first start reads the program from disk; the second is like the one that it is compared with.
        server.restart()
        return cls(server.startup_s, server.proc.cpu_time_s())


def measure_throughput(server: ServerProcess, empty: EmptyStart, keys: int) -> Throughput:
    """For a filled server that has never flushed. It is restarted on the way, and then holds what it held."""
    empty_bytes = server.data_bytes()
    flushes = [_flush(server)]
    payload_bytes = server.data_bytes() - empty_bytes
    # Loaded now, while the medium holds one snapshot: older ones would be read too, and not counted.
    server.restart()
    load_s = server.startup_s - empty.startup_s
    load_cpu_s = server.proc.cpu_time_s() - empty.cpu_s
    with server.control() as control:
        if (loaded := control.call("DBSIZE")) != keys:
            raise LoadedWrong(f"{keys} keys were flushed, but {loaded} came back")
    flushes += [_flush(server) for _ in range(FLUSHES - 1)]
    flush_s, flush_cpu_s = (statistics.median(column) for column in zip(*flushes, strict=True))
    return Throughput(payload_bytes, flush_s, flush_cpu_s, load_s, load_cpu_s)


def _flush(server: ServerProcess) -> tuple[float, float]:
    with server.control() as control:
        cpu_before_s = server.proc.cpu_time_s(with_children=True)
        started_at = time.perf_counter()
        control.call("SAVE")
        duration_s = time.perf_counter() - started_at
        return duration_s, server.proc.cpu_time_s(with_children=True) - cpu_before_s
