"""What the journal costs: group commit under `always`, CPU per SET under `everysec`, and the time of a replay.

Owns these three measurements, each of kvserver beside redis-server in the same run with the same options. Rounds alternate
ABBA. Syncs per command are what kvserver's INFO counts; redis-server counts none. Must never run beside another load: all
of these figures are about one disk and one processor.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence

from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.generator import GENERATORS, REDIS_BENCHMARK, Workload
from bench.process import ServerKind, ServerProcess
from bench.table import render_table

KINDS = (ServerKind.KVSERVER, ServerKind.REDIS)
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
OFF = ("--appendonly", "no")
CLIENTS = (1, 10, 50, 200)


def syncs_so_far(server: ServerProcess) -> int:
    with server.control() as control:
        return int(control.info("persistence").get("aof_syncs", "0"))


def group_commit(requests: int, rounds: int) -> None:
    dataset = Dataset(10_000)
    rows = []
    with ServerProcess(KINDS[0], ALWAYS) as ours, ServerProcess(KINDS[1], ALWAYS) as theirs:
        for clients in CLIENTS:
            work = Workload.sized("set", 1, max(500, requests * clients // max(CLIENTS)), clients, dataset)
            speeds: dict[ServerProcess, list[float]] = {ours: [], theirs: []}
            syncs = syncs_so_far(ours)
            for number in range(rounds):
                for server in (ours, theirs) if number % 2 == 0 else (theirs, ours):
                    speeds[server].append(GENERATORS[REDIS_BENCHMARK](server.port, work).commands_per_s)
            share = (syncs_so_far(ours) - syncs) / (work.requests * rounds)
            mine, other = (statistics.median(speeds[server]) for server in (ours, theirs))
            rows.append((str(clients), f"{mine:.0f}", f"{other:.0f}", f"{mine / other:.2f}", f"{share:.3f}"))
    print("SET with appendfsync always, commands per second")
    print(render_table(("clients", "kvserver", "redis-server", "ratio", "syncs per command"), rows))


def cpu_per_set(server: ServerProcess, work: Workload) -> float:
    before_s = server.proc.cpu_time_s()
    GENERATORS[REDIS_BENCHMARK](server.port, work)
    return (server.proc.cpu_time_s() - before_s) * 1e6 / work.requests


def cost(requests: int, rounds: int) -> None:
    dataset = Dataset(100_000)
    rows = []
    with (
        ServerProcess(KINDS[0], EVERYSEC) as ours,
        ServerProcess(KINDS[0], OFF) as off,
        ServerProcess(KINDS[1], EVERYSEC) as theirs,
    ):
        servers = (ours, off, theirs)
        for pipeline in (1, 16):
            work = Workload.sized("set", pipeline, requests, 50, dataset)
            taken: dict[ServerProcess, list[float]] = {server: [] for server in servers}
            for number in range(rounds):
                for server in servers if number % 2 == 0 else servers[::-1]:
                    taken[server].append(cpu_per_set(server, work))
            on, without, other = (statistics.median(taken[server]) for server in servers)
            cells = (f"{on:.2f}", f"{without:.2f}", f"{on - without:.2f}", f"{other:.2f}", f"{on / other:.2f}")
            rows.append((str(pipeline), *cells))
    print("Server CPU per SET in µs, 50 clients")
    header = ("pipeline", "kvserver everysec", "kvserver off", "difference", "redis-server everysec", "ratio")
    print(render_table(header, rows))


def replay(keys: int) -> None:
    rows = []
    for kind in KINDS:
        with ServerProcess(kind, EVERYSEC) as server:
            server.restart()
            empty_s = server.startup_s
            work = Workload.sized("set", 16, max(1, keys // 12), 50, Dataset(keys))
            GENERATORS[REDIS_BENCHMARK](server.port, work)
            with server.control() as control:
                held = control.call("DBSIZE")
                while int(control.info("persistence").get("aof_pending_bytes", "0")):
                    pass  # each asking is a round trip
            server.restart()
            with server.control() as control:
                if control.call("DBSIZE") != held:
                    raise BenchFailed(f"{kind} lost something on the way")
            cpu_s = server.proc.cpu_time_s()
            rows.append((str(kind), str(work.requests), f"{server.startup_s - empty_s:.2f}", f"{cpu_s:.2f}"))
    print("Replay after kill -9, seconds beyond an empty start")
    print(render_table(("server", "SETs", "seconds", "CPU seconds in all"), rows))


PARTS = ("group", "cost", "replay")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.group_commit", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--requests", type=int, default=40_000, help="per run with 200 clients (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--keys", type=int, default=1_000_000, help="of the replay")
    options = parser.parse_args(arguments)
    missing = next((kind for kind in KINDS if not kind.is_installed()), None)
    if missing:
        parser.exit(2, f"bench.group_commit: {missing} is not installed, and it is one of the two to compare\n")
    try:
        if "group" in options.parts:
            group_commit(options.requests, options.rounds)
        if "cost" in options.parts:
            cost(options.requests * 3, options.rounds)
        if "replay" in options.parts:
            replay(options.keys)
    except (BenchFailed, OSError) as error:
        print(f"bench.group_commit: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
