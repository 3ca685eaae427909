"""The command line of the suite.

Owns the options, the order of the scenarios, and what is printed and written. Must never measure.
"""

import argparse
import datetime
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from bench.failure import BenchFailed
from bench.kinds import KINDS, ServerKind
from bench.machine import describe_machine
from bench.report import Report, ReportFile, ScenarioReport
from bench.scenario import Run, Scenario
from bench.scenarios import SCENARIOS
from bench.text import render_machine, render_scenario

PROGRAM = "python -m bench"
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def parse_scenario(text: str) -> Scenario:
    if text not in BY_NAME:
        raise argparse.ArgumentTypeError(f"{text!r} is no scenario; --list shows them")
    return BY_NAME[text]


def parse_kind(text: str) -> ServerKind:
    found = next((kind for kind in KINDS if kind.name == text), None)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r}: choose of {', '.join(map(str, KINDS))}")
    return found


def parse_rounds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: rounds are a whole number above zero")
    return int(text)


def parse_folder(text: str) -> Path:
    if not (path := Path(text)).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder")
    return path


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Measure kvserver beside redis-server and others, in turn, in the same run."
    )
    parser.add_argument("scenarios", nargs="*", type=parse_scenario, metavar="SCENARIO", help="default: all; see --list")
    parser.add_argument("--list", action="store_true", help="list the scenarios and the servers, and leave")
    parser.add_argument("--quick", action="store_true", help="all in less than 90 s: little data, wide spreads, no goals")
    parser.add_argument("--rounds", type=parse_rounds, help="runs of each server per case (default: 2 to 11)")
    parser.add_argument("--servers", nargs="+", type=parse_kind, metavar="SERVER", default=list(KINDS))
    parser.add_argument("--dir", type=parse_folder, help="where data folders are made (default: the temporary folder)")
    parser.add_argument("--json", type=ReportFile.parse, metavar="FILE", help="write all figures there")
    parser.add_argument("--charts", type=parse_folder, metavar="DIR", help="draw charts there, as SVG")
    parser.add_argument("--read", nargs="+", type=Path, metavar="FILE", help="measure nothing: show what --json wrote there")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a goal is missed")
    options = parser.parse_args(arguments)
    if options.read and options.scenarios:
        parser.error("--read shows what there is; scenarios can't be chosen")
    if options.quick and options.check:
        parser.error("--quick has no goals that --check could look at")
    options.scenarios = options.scenarios or list(SCENARIOS)
    return options


def list_all() -> None:
    width = max(len(name) for name in [*BY_NAME, *map(str, KINDS)])
    print("Scenarios:")
    for scenario in SCENARIOS:
        print(f"  {scenario.name:{width}}  {scenario.summary}")
    print("Servers:")
    for kind in KINDS:
        print(f"  {kind.name:{width}}  {kind.what}")


def repeat_command(scenario: Scenario, options: argparse.Namespace) -> str:
    words = [PROGRAM, scenario.name]
    words += ["--quick"] if options.quick else []
    words += ["--rounds", str(options.rounds)] if options.rounds else []
    words += ["--servers", *map(str, options.servers)] if options.servers != list(KINDS) else []
    return " ".join(words)


def measure_all(options: argparse.Namespace, report: Report) -> bool:
    """Add to the report what each scenario finds, print it, and write the report so far.

    Return False if a scenario was not carried to its end.
    """
    is_complete = True
    for scenario in options.scenarios:
        run = Run(options.quick, options.rounds, options.servers, options.dir)
        found = ScenarioReport(scenario.name, scenario.summary, repeat_command(scenario, options), notes=run.notes)
        report.scenarios.append(found)
        try:
            for case in scenario.measure(run):
                # A short run with little data says nothing of what a full run is held to.
                found.cases.append(replace(case, goals=()) if options.quick else case)
                is_complete = is_complete and case.subject not in case.failed
        except (BenchFailed, OSError) as error:
            run.note(f"the rest of {scenario.name}: {error}")
            is_complete = False
        run.progress.clear()
        print(render_scenario(found), flush=True)
        if options.json:
            options.json.write(report)
    return is_complete


def leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse_arguments(arguments)
    if options.list:
        list_all()
        return 0
    # Without this, Python would end without unwinding, and servers would live on.
    signal.signal(signal.SIGTERM, leave)
    is_complete = True
    try:
        if options.read:
            report = Report.join([Report.read(path) for path in options.read])
            print(render_machine(report))
            for scenario in report.scenarios:
                print(render_scenario(scenario))
            if options.json:
                options.json.write(report)
        else:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            report = Report(shlex.join([*PROGRAM.split(), *arguments]), now, describe_machine())
            print(render_machine(report), flush=True)
            is_complete = measure_all(options, report)
        if options.charts:
            # The import stands here, since no other option needs matplotlib.
            from bench.chart import draw_charts

            for path in draw_charts(report, options.charts):
                print(f"drawn: {path}")
    except (BenchFailed, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    missed = any(not verdict.holds for scenario in report.scenarios for case in scenario.cases for verdict in case.verdicts())
    return 1 if not is_complete or (options.check and missed) else 0
