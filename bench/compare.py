"""CPU time per command, throughput and latency of two servers, side by side.

Owns the order of the runs and the ratios. Rounds alternate ABBA, so that a machine that gets slower hurts both alike,
and each figure is the median of its rounds. Server CPU is user plus system time of the whole process over the run,
divided by the commands that were sent; it is the figure to trust, since the generator shares the machine and caps
throughput. Must never give one server an option, a warm-up or a round that the other does not get.
"""

import argparse
import dataclasses
import os
import platform
import shlex
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.dataset import Dataset
from bench.failure import BenchFailed
from bench.generator import GENERATORS, REDIS_BENCHMARK, GeneratorFailed, Workload
from bench.process import ServerKind, ServerProcess
from bench.progress import Progress
from bench.report import ReportFile
from bench.table import render_table

COMMANDS = ("ping", "set", "get")


@dataclass(frozen=True)
class Figures:
    cpu_us_per_command: float
    commands_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def medians(cls, rounds: Sequence["Figures"]) -> "Figures":
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(statistics.median(getattr(one, name) for one in rounds) for name in names))


@dataclass(frozen=True)
class Cell:
    """One workload on both servers: the medians, and every round they were taken from."""

    command: str
    pipeline: int
    requests: int
    subject: Figures
    baseline: Figures
    cpu_ratio: float
    throughput_ratio: float
    subject_rounds: list[Figures]
    baseline_rounds: list[Figures]


def measure_run(server: ServerProcess, work: Workload, generator: str) -> Figures:
    before_s = server.proc.cpu_time_s(with_children=True)
    speed = GENERATORS[generator](server.port, work)
    cpu_us = (server.proc.cpu_time_s(with_children=True) - before_s) * 1e6
    return Figures(cpu_us / work.requests, speed.commands_per_s, speed.p50_ms, speed.p99_ms, speed.max_ms)


def measure_cell(
    subject: ServerProcess, baseline: ServerProcess, work: Workload, rounds: int, generator: str, progress: Progress
) -> Cell:
    taken: dict[ServerProcess, list[Figures]] = {subject: [], baseline: []}
    for number in range(rounds):
        order = (subject, baseline) if number % 2 == 0 else (baseline, subject)
        for server in order:
            progress.step(f"{work.command} pipeline {work.pipeline} round {number + 1}")
            taken[server].append(measure_run(server, work, generator))
    ours, theirs = Figures.medians(taken[subject]), Figures.medians(taken[baseline])
    if not theirs.cpu_us_per_command:
        raise GeneratorFailed("the runs are too short to see any CPU time; raise --requests")
    return Cell(
        work.command,
        work.pipeline,
        work.requests,
        ours,
        theirs,
        ours.cpu_us_per_command / theirs.cpu_us_per_command,
        ours.commands_per_s / theirs.commands_per_s,
        taken[subject],
        taken[baseline],
    )


def print_cells(cells: Sequence[Cell], subject: str, baseline: str) -> None:
    print(f"Server CPU per command in µs, commands per second, latency in ms. A = {subject}, B = {baseline}")
    header = (
        *("command", "pipeline", "A µs", "B µs", "A/B", "A cmd/s", "B cmd/s", "A/B"),
        *("A p50", "B p50", "A p99", "B p99", "A max", "B max"),
    )
    rows = [
        (
            *(cell.command, str(cell.pipeline)),
            *(f"{cell.subject.cpu_us_per_command:.2f}", f"{cell.baseline.cpu_us_per_command:.2f}"),
            f"{cell.cpu_ratio:.2f}",
            *(f"{cell.subject.commands_per_s:.0f}", f"{cell.baseline.commands_per_s:.0f}"),
            f"{cell.throughput_ratio:.2f}",
            *(f"{cell.subject.p50_ms:.2f}", f"{cell.baseline.p50_ms:.2f}"),
            *(f"{cell.subject.p99_ms:.2f}", f"{cell.baseline.p99_ms:.2f}"),
            *(f"{cell.subject.max_ms:.2f}", f"{cell.baseline.max_ms:.2f}"),
        )
        for cell in cells
    ]
    print(render_table(header, rows))


def server_version(server: ServerProcess) -> str | None:
    with server.control() as control:
        return control.info("server").get("redis_version")


def compare(options: argparse.Namespace) -> None:
    dataset = Dataset(options.keys, options.value_bytes)
    work = [
        Workload.sized(command, pipeline, options.requests, options.clients, dataset)
        for pipeline in options.pipelines
        for command in options.commands
    ]
    progress = Progress(len(work) * options.rounds * 2)
    with (
        ServerProcess(options.subject, shlex.split(options.subject_args)) as subject,
        ServerProcess(options.baseline, shlex.split(options.baseline_args)) as baseline,
    ):
        for server in (subject, baseline):
            with server.control() as control:
                dataset.fill(control)
        cells = [measure_cell(subject, baseline, one, options.rounds, options.generator, progress) for one in work]
        versions = server_version(subject), server_version(baseline)
    progress.clear()
    print_cells(cells, options.subject, options.baseline)
    if options.json is not None:
        report = {
            "subject": {"name": options.subject, "args": options.subject_args, "redis_version": versions[0]},
            "baseline": {"name": options.baseline, "args": options.baseline_args, "redis_version": versions[1]},
            "machine": {"cores": os.cpu_count(), "arch": platform.machine(), "python": platform.python_version()},
            "generator": options.generator,
            "clients": options.clients,
            "value_bytes": options.value_bytes,
            "keys": options.keys,
            "rounds": options.rounds,
            "cells": [dataclasses.asdict(cell) for cell in cells],
        }
        options.json.write(report)


def parse_commands(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(COMMANDS):
        raise argparse.ArgumentTypeError(f"{text!r}: choose of {','.join(COMMANDS)}")
    return names


def parse_pipelines(text: str) -> list[int]:
    if not all(part.isdecimal() and int(part) > 0 for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r}: pipelines are whole numbers above zero, as in 1,16,64")
    return [int(part) for part in text.split(",")]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare", description="Compare CPU time per command of two servers."
    )
    kinds = list(ServerKind)
    parser.add_argument("--subject", type=ServerKind, choices=kinds, default=ServerKind.KVSERVER)
    parser.add_argument("--baseline", type=ServerKind, choices=kinds, default=ServerKind.REDIS)
    parser.add_argument("--subject-args", default="", help="more options for the subject, in one string")
    parser.add_argument("--baseline-args", default="", help="more options for the baseline, in one string")
    parser.add_argument("--generator", choices=list(GENERATORS), default=REDIS_BENCHMARK)
    parser.add_argument("--commands", type=parse_commands, default=list(COMMANDS), help="default ping,set,get")
    parser.add_argument("--pipelines", type=parse_pipelines, default=[1, 16, 64], help="default 1,16,64")
    parser.add_argument("--rounds", type=int, default=4, help="runs of each server per cell (default %(default)s)")
    parser.add_argument("--requests", type=int, default=100_000, help="per run without pipeline; more with one")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--value-bytes", type=int, default=64)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--json", type=ReportFile.parse, metavar="FILE", help="write all figures there too")
    options = parser.parse_args()
    if min(options.rounds, options.requests, options.clients, options.value_bytes, options.keys) < 1:
        parser.error("--rounds, --requests, --clients, --value-bytes and --keys must be above zero")
    for kind in (options.subject, options.baseline):
        if not kind.is_installed():
            parser.exit(2, f"bench.compare: {kind} is not installed, and it is one of the two to compare\n")
    if options.generator == REDIS_BENCHMARK and shutil.which(REDIS_BENCHMARK) is None:
        parser.exit(2, f"bench.compare: {REDIS_BENCHMARK} is not installed; --generator load needs nothing else\n")
    return options


def main() -> int:
    try:
        compare(parse_arguments())
    except (BenchFailed, OSError) as error:
        print(f"bench.compare: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
