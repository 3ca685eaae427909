"""The figures of a run as JSON, and back.

Owns the form of the file: what was run, on what, and each measurement of each round, with the medians and ratios that follow
from them for readers without this program. Must never hold a figure that can't be computed again from the measurements.
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.failure import BenchFailed
from bench.figures import Case, Goal, Measurement, Metric
from bench.kinds import BASELINE, SUBJECT


class ReportUnreadable(BenchFailed):
    """The file holds no report."""


@dataclass
class ScenarioReport:
    """The cases of one scenario, and notes on what was left out."""

    name: str
    summary: str
    # The command line that repeats the scenario.
    command: str
    cases: list[Case] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Report:
    """All that a run of the suite has found."""

    command: str
    # ISO 8601, in UTC.
    date: str
    machine: Mapping[str, str | int]
    scenarios: list[ScenarioReport] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        content = dataclasses.asdict(self)
        for scenario, of_scenario in zip(self.scenarios, content["scenarios"], strict=True):
            for case, of_case in zip(scenario.cases, of_scenario["cases"], strict=True):
                of_case["results"] = _results(case)
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Report":
        scenarios = [
            ScenarioReport(one["name"], one["summary"], one["command"], [_case(case) for case in one["cases"]], one["notes"])
            for one in content["scenarios"]
        ]
        return cls(content["command"], content["date"], content["machine"], scenarios)

    @classmethod
    def read(cls, path: Path) -> "Report":
        try:
            return cls.from_json(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReportUnreadable(f"{path} holds no report: {error!r}") from error

    @classmethod
    def join(cls, reports: Sequence["Report"]) -> "Report":
        """Make one report of all their scenarios: of a suite that was run in parts, on one machine."""
        first = reports[0]
        if any(report.machine != first.machine for report in reports):
            raise ReportUnreadable("the reports are of different machines or versions")
        commands = "; ".join(report.command for report in reports)
        dates = sorted(report.date for report in reports)
        scenarios = [scenario for report in reports for scenario in report.scenarios]
        return cls(commands, dates[-1], first.machine, scenarios)


def _results(case: Case) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for server in case.rounds:
        of_server = results[server] = {}
        for metric in case.metrics:
            ratio = case.ratio(server, metric.name)
            of_server[metric.name] = {
                "median": case.median(server, metric.name),
                "ratio": dataclasses.asdict(ratio) if ratio else None,
            }
    return results


def _case(content: dict[str, Any]) -> Case:
    return Case(
        content["name"],
        [Metric(**one) for one in content["metrics"]],
        [Goal(**one) for one in content["goals"]],
        {server: [Measurement(**one) for one in rounds] for server, rounds in content["rounds"].items()},
        content["failed"],
        content["tags"],
        content.get("baseline", BASELINE.name),
        content.get("subject", SUBJECT.name),
    )


class ReportFile:
    """The file to which a report is written. Its path is checked before minutes are spent on what goes in."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def parse(cls, text: str) -> "ReportFile":
        path = Path(text)
        if path.is_dir() or not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} is a folder, or lies in a folder that does not exist")
        return cls(path)

    def write(self, report: Report) -> None:
        self._path.write_text(json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n")
