"""What clients notice of a flush, a restore and a compaction; kvserver beside redis-server's forked BGSAVE.

Owns the choice of phases for each server, the tables and the command line. Paced clients send PING and SET by turns,
and their latency counts from the time at which a command was due, so that a stall can't hide behind clients that wait
for it (coordinated omission; see paced). They live in this process, the server in its own; on a machine of few cores
the two still share processors, and the generator's own delay, shown in the table, is part of every latency; so is what
the host of a virtual machine withholds (stolen). Each phase is judged against the idle phases beside it. Must never
give two servers a different load.
"""

import argparse
import asyncio
import dataclasses
import os
import shlex
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.flush_action import (
    bgsave,
    bgsave_until_compaction,
    restore,
    save,
    wait_until_settled,
)
from bench.paced import new_precise_event_loop
from bench.phase import PING, SET, Pace, run_phase
from bench.process import ServerKind, ServerProcess
from bench.progress import Progress
from bench.report import ReportFile
from bench.session import PlannedPhase, Session, noise, verdicts
from bench.table import render_table
from bench.throughput import MB, EmptyStart, Throughput, measure_throughput

# One frame is kept, so that each flush leaves something to compact.
COMPACTING_ARGS = ("--keep-frames", "1")
FEW_CORES = 4
# Lines of progress: the fill, the throughput and each phase.
STEPS = {ServerKind.KVSERVER: 2 + 8 + 3, ServerKind.REDIS: 2 + 6}


@dataclass
class ServerReport:
    kind: ServerKind
    throughput: Throughput
    sessions: list[Session]


def planned_phases(server: ServerProcess) -> list[PlannedPhase]:
    idle = PlannedPhase("idle")
    writes = PlannedPhase("writes, no flush", with_writes=True)
    busy_flush = PlannedPhase("BGSAVE + writes", bgsave(server), with_writes=True, is_flush=True)
    if server.kind is ServerKind.KVSERVER:
        saving = PlannedPhase("SAVE", save(server), is_flush=True)
        return [idle, saving, idle, writes, busy_flush, idle, PlannedPhase("RESTORE", restore(server)), idle]
    # redis-server's SAVE stops every client on purpose, and it has no RESTORE of the whole store.
    return [idle, PlannedPhase("BGSAVE", bgsave(server), is_flush=True), idle, writes, busy_flush, idle]


async def run_session(
    session: Session, server: ServerProcess, pace: Pace, phases: Sequence[PlannedPhase], progress: Progress
) -> None:
    for planned in phases:
        progress.step(f"{session.title}: {planned.name}")
        try:
            result = await run_phase(planned.name, server, pace, planned.action, with_writes=planned.with_writes)
        except BenchFailed as error:
            session.not_measured.append(f"{planned.name}: {error}")
        else:
            session.phases.append((planned, result))


async def measure_server(
    kind: ServerKind, extra_args: Sequence[str], parent: Path | None, pace: Pace, progress: Progress
) -> ServerReport:
    keys = pace.dataset.keys
    with ServerProcess(kind, extra_args, parent) as server:
        progress.step(f"{kind}: fill {keys} keys")
        empty = EmptyStart.measure(server)
        empty_bytes = server.proc.rss_bytes()
        with server.control() as control:
            pace.dataset.fill(control)
        key_memory_bytes = (server.proc.rss_bytes() - empty_bytes) / keys
        progress.step(f"{kind}: flush and load")
        throughput = measure_throughput(server, empty, keys)
        sessions = [Session(kind, key_memory_bytes)]
        await run_session(sessions[0], server, pace, planned_phases(server), progress)
        if kind is ServerKind.KVSERVER:
            sessions.append(Session(f"{kind} {' '.join(COMPACTING_ARGS)}", key_memory_bytes))
            compaction = PlannedPhase(
                "BGSAVE + compaction", bgsave_until_compaction(server, throughput.payload_bytes), is_flush=True
            )
            try:
                server.restart([*extra_args, *COMPACTING_ARGS])
                await wait_until_settled(server)
            except BenchFailed as error:
                sessions[1].not_measured.append(f"{compaction.name}: {error}")
            else:
                await run_session(
                    sessions[1], server, pace, [PlannedPhase("idle"), compaction, PlannedPhase("idle")], progress
                )
    return ServerReport(kind, throughput, sessions)


def print_phases(session: Session) -> None:
    header = (
        *(session.title, "actions", "each s", "PING p50", "p99", "p99.9", "max"),
        *("SET p50", "p99", "p99.9", "max", "memory", "generator p99", "stolen"),
    )
    rows = []
    for _, result in session.phases:
        ping, set_ = result.latency[PING], result.latency[SET]
        rows.append(
            (
                *(result.name, str(len(result.action_s) or "-")),
                f"{statistics.median(result.action_s):.2f}" if result.action_s else "-",
                *(f"{ms:.2f}" for ms in (ping.p50_ms, ping.p99_ms, ping.p999_ms, ping.max_ms)),
                *(f"{ms:.2f}" for ms in (set_.p50_ms, set_.p99_ms, set_.p999_ms, set_.max_ms)),
                f"{result.memory_growth_bytes / result.memory_before_bytes:+.1%}",
                f"{result.generator_delay.p99_ms:.2f}",
                f"{result.stolen_share:.1%}",
            )
        )
    print(render_table(header, rows), end="\n\n")


def print_throughput(reports: Sequence[ServerReport]) -> None:
    header = ("idle server", "payload MB", "flush s", "CPU s", "MB/s", "load s", "CPU s", "MB/s")
    rows = []
    for report in reports:
        one = report.throughput
        rows.append(
            (
                *(report.kind, f"{one.payload_bytes / MB:.1f}"),
                *(f"{one.flush_s:.2f}", f"{one.flush_cpu_s:.2f}", f"{one.flush_mb_per_s:.0f}"),
                *(f"{one.load_s:.2f}", f"{one.load_cpu_s:.2f}", f"{one.load_mb_per_s:.0f}"),
            )
        )
    print(render_table(header, rows), end="\n\n")


def report_as_json(report: ServerReport) -> dict[str, object]:
    return {
        "server": report.kind,
        "throughput": {
            **dataclasses.asdict(report.throughput),
            "flush_mb_per_s": report.throughput.flush_mb_per_s,
            "load_mb_per_s": report.throughput.load_mb_per_s,
        },
        "sessions": [
            {
                "title": session.title,
                "key_memory_bytes": session.key_memory_bytes,
                "phases": [dataclasses.asdict(result) for _, result in session.phases],
                "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts(session)],
            }
            for session in report.sessions
        ],
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.flush_stall", description="Measure what clients notice of a flush.")
    parser.add_argument("--servers", type=ServerKind, nargs="+", choices=list(ServerKind), default=list(ServerKind))
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value-bytes", type=int, default=64)
    parser.add_argument("--clients", type=int, default=20, help="paced, measured (default %(default)s)")
    parser.add_argument("--rate", type=float, default=2000, help="commands per second of all (default %(default)s)")
    parser.add_argument("--write-rate", type=float, default=2000, help="more SETs per second under write load")
    parser.add_argument("--phase-s", type=float, default=5, help="shortest length of a phase (default %(default)s)")
    parser.add_argument("--dir", type=Path, help="where the data folders are made (default: the system's temp folder)")
    parser.add_argument("--kvserver-args", default="", help="more options for kvserver, in one string")
    parser.add_argument("--json", type=ReportFile.parse, metavar="FILE", help="write all figures there too")
    parser.add_argument("--check", action="store_true", help="exit 1 where a verdict on kvserver does not hold")
    options = parser.parse_args()
    if min(options.keys, options.value_bytes, options.clients, options.rate, options.write_rate, options.phase_s) <= 0:
        parser.error("every number must be above zero")
    for kind in options.servers:
        if not kind.is_installed():
            parser.exit(2, f"bench.flush_stall: {kind} is not installed; --servers kvserver leaves it out\n")
    return options


def main() -> int:
    options = parse_arguments()
    dataset = Dataset(options.keys, options.value_bytes)
    pace = Pace(options.clients, options.rate, options.write_rate, options.phase_s, dataset)
    if (cores := os.cpu_count() or 1) < FEW_CORES:
        print(f"Note: {cores} cores carry the server, its flush and the generator; latencies include their contention.\n")
    progress = Progress(sum(STEPS[kind] for kind in options.servers))
    args = {ServerKind.KVSERVER: shlex.split(options.kvserver_args), ServerKind.REDIS: []}
    reports = []
    try:
        with asyncio.Runner(loop_factory=new_precise_event_loop) as runner:
            for kind in options.servers:
                reports.append(runner.run(measure_server(kind, args[kind], options.dir, pace, progress)))
    except (BenchFailed, OSError) as error:
        progress.clear()
        print(f"bench.flush_stall: {error}", file=sys.stderr)
        return 1
    progress.clear()
    print(f"{dataset.keys} keys of {dataset.value_bytes} bytes, {pace.clients} clients, latency in ms from the due time\n")
    all_hold = True
    for report in reports:
        for session in report.sessions:
            print_phases(session)
            for line in noise(session):
                print(line, end="\n\n")
    print_throughput(reports)
    for report in reports:
        for verdict in (verdict for session in report.sessions for verdict in verdicts(session)):
            print(f"{'holds' if verdict.holds else 'FAILS'}  {verdict.what}: {verdict.detail}")
            all_hold = all_hold and (verdict.holds or report.kind is not ServerKind.KVSERVER)
    if options.json is not None:
        options.json.write([report_as_json(report) for report in reports])
    return 1 if options.check and not all_hold else 0


if __name__ == "__main__":
    sys.exit(main())
