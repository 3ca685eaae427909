"""A report as text: a table for each scenario, what its goals say, and what was left out.

Owns the columns and the formats. Must never compute a figure.
"""

from collections.abc import Iterator, Sequence

from bench.figures import Case, Goal, Metric, Ratio
from bench.report import Report, ScenarioReport
from bench.table import render_table

NOTHING = "-"


def render_machine(report: Report) -> str:
    facts = "; ".join(f"{name} {value}" for name, value in report.machine.items())
    return f"{report.command}, {report.date}\n{facts}\nRatios: median of the rounds (lowest..highest)\n"


def render_scenario(scenario: ScenarioReport) -> str:
    lines = [f"== {scenario.name}: {scenario.summary}", ""]
    for group in _groups(scenario.cases):
        lines += [_render_cases(group), ""]
    for case in scenario.cases:
        lines += [f"{server} failed: {case.name}: {reason}" for server, reason in case.failed.items()]
    lines += [f"left out: {note}" for note in scenario.notes]
    for case in scenario.cases:
        for verdict in case.verdicts():
            word = "holds" if verdict.holds else "MISSED"
            lines.append(f"{word:6}  {case.name}: {_goal_text(case, verdict.goal)}: {verdict.value:.2f}")
    return "\n".join(lines) + "\n"


def _groups(cases: Sequence[Case]) -> Iterator[list[Case]]:
    """Yield the cases in groups of neighbours with the same metrics and baseline, which share a table."""
    group: list[Case] = []
    for case in cases:
        if group and (list(group[0].metrics), group[0].baseline) != (list(case.metrics), case.baseline):
            yield group
            group = []
        group.append(case)
    if group:
        yield group


def _render_cases(cases: Sequence[Case]) -> str:
    header = ["", "server"]
    for metric in cases[0].metrics:
        header.append(" ".join(part for part in (metric.name, metric.unit) if part))
        header += [f"/ {cases[0].baseline}"] if metric.is_compared else []
    header.append("stolen")
    rows = [row for case in cases for row in _rows(case)]
    return render_table(header, rows)


def _rows(case: Case) -> Iterator[list[str]]:
    for number, server in enumerate(case.rounds):
        row = [case.name if number == 0 else "", server]
        for metric in case.metrics:
            row.append(format_figure(case.median(server, metric.name), metric))
            if metric.is_compared:
                row.append(NOTHING if server == case.baseline else format_ratio(case.ratio(server, metric.name)))
        row.append(f"{case.stolen_share(server):.1%}")
        yield row


def format_figure(value: float | None, metric: Metric) -> str:
    return NOTHING if value is None else f"{value:,.{metric.digits}f}"


def format_ratio(ratio: Ratio | None) -> str:
    return NOTHING if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f}..{ratio.high:.2f})"


def _goal_text(case: Case, goal: Goal) -> str:
    bound = "at least" if goal.at_least else "at most"
    unit = next(metric.unit for metric in case.metrics if metric.name == goal.metric)
    baseline = goal.baseline or case.baseline
    measure = f"{goal.limit:g} times {baseline}'s" if goal.is_ratio else f"{goal.limit:g} {unit}".rstrip()
    return f"{case.subject}'s {goal.metric} {bound} {measure}"
