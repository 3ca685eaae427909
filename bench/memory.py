"""Memory per key of each server.

Owns the filling of an empty server and the reading of its resident memory before and after. Must never count what the
server needs without any data as a cost of the keys.
"""

import argparse
import shlex
import sys
from dataclasses import asdict, dataclass

from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.process import ServerKind, ServerProcess
from bench.progress import Progress
from bench.report import ReportFile
from bench.table import render_table
from bench.throughput import MB


@dataclass(frozen=True)
class Memory:
    server: ServerKind
    empty_bytes: int
    filled_bytes: int
    peak_bytes: int
    bytes_per_key: float


def measure_memory(kind: ServerKind, extra_args: list[str], dataset: Dataset) -> Memory:
    with ServerProcess(kind, extra_args) as server, server.control() as control:
        empty_bytes = server.proc.rss_bytes()
        dataset.fill(control)
        filled_bytes = server.proc.rss_bytes()
        per_key = (filled_bytes - empty_bytes) / dataset.keys
        return Memory(kind, empty_bytes, filled_bytes, server.proc.peak_rss_bytes(), per_key)


def print_memory(measured: list[Memory], dataset: Dataset) -> None:
    print(
        f"{dataset.keys} keys of {dataset.key_bytes} bytes with values of {dataset.value_bytes} bytes: "
        f"{dataset.key_bytes + dataset.value_bytes} bytes per key are the client's own"
    )
    rows = [
        (
            *(one.server, f"{one.empty_bytes / MB:.1f}", f"{one.filled_bytes / MB:.1f}"),
            *(f"{one.peak_bytes / MB:.1f}", f"{one.bytes_per_key:.0f}"),
        )
        for one in measured
    ]
    print(render_table(("server", "empty MB", "filled MB", "peak MB", "bytes per key"), rows))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description="Measure memory per key.")
    parser.add_argument("--servers", type=ServerKind, nargs="+", choices=list(ServerKind), default=list(ServerKind))
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value-bytes", type=int, default=64)
    parser.add_argument("--kvserver-args", default="", help="more options for kvserver, in one string")
    parser.add_argument("--json", type=ReportFile.parse, metavar="FILE", help="write all figures there too")
    options = parser.parse_args()
    if options.keys < 1 or options.value_bytes < 1:
        parser.error("--keys and --value-bytes must be above zero")
    for kind in options.servers:
        if not kind.is_installed():
            parser.exit(2, f"bench.memory: {kind} is not installed; --servers kvserver leaves it out\n")
    return options


def main() -> int:
    options = parse_arguments()
    dataset = Dataset(options.keys, options.value_bytes)
    args = {ServerKind.KVSERVER: shlex.split(options.kvserver_args), ServerKind.REDIS: []}
    progress = Progress(len(options.servers))
    measured = []
    try:
        for kind in options.servers:
            progress.step(f"fill {kind}")
            measured.append(measure_memory(kind, args[kind], dataset))
    except (BenchFailed, OSError) as error:
        progress.clear()
        print(f"bench.memory: {error}", file=sys.stderr)
        return 1
    progress.clear()
    print_memory(measured, dataset)
    if options.json is not None:
        options.json.write([asdict(one) for one in measured])
    return 0


if __name__ == "__main__":
    sys.exit(main())
