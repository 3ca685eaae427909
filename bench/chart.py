"""The charts of a report: CPU per command, throughput, latency by percentile, and the ratios that have a goal.

Owns the drawing. The files are the same, byte for byte, for the same figures. A chart is drawn where the report has its
scenario. Must never compute a figure that a report does not give.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import Case, Goal, Metric, Ratio
from bench.kinds import BASELINE, ECHO, FAKEREDIS, SUBJECT
from bench.latencies import Latencies
from bench.report import Report, ScenarioReport
from bench.scenarios import scale
from bench.scenarios.throughput import CPU
from bench.text import format_figure

# This draws without a display.
mpl.use("Agg")

COLORS = {SUBJECT.name: "#2b6cb0", BASELINE.name: "#b8bec6", ECHO.name: "#e3c27a", FAKEREDIS.name: "#c0756c"}
TEXT_COLOR, QUIET_COLOR, MISSED_COLOR = "#1f2933", "#6b7480", "#b4442f"
WIDTH_INCHES, PANEL_INCHES, HEAD_INCHES, FOOT_INCHES = 9.6, 1.35, 0.82, 0.85
# The bars of a command take this share of its room.
BAR_SHARE = 0.84
# So much higher than the highest bar is what others are cut off at, and the end of the scale again, which has figures.
HEADROOM = 1.15
CHARTED_VALUE_BYTES = 64
# MSET of ten keys would take all of the scale, and 4 KiB another one; the tables have them.
CHARTED_COMMANDS = ("GET", "SET", "INCR", "mixed")
# This panel is drawn on a scale by tens: where all is freed in one step, it takes seconds.
FLUSHALL_TITLE = "longest PING beside FLUSHALL, ms"
# The panels of the chart of sizes: its title, the figure, and the tag of the cases that tells their size.
SCALE_PANELS = (
    ("bytes per key", scale.PER_KEY, scale.KEYS),
    ("CPU per GET, µs", scale.GET_CPU, scale.KEYS),
    ("CPU per SET, µs", scale.SET_CPU, scale.KEYS),
    ("SAVE, s per 1,000,000 keys", scale.SAVE_PER_MILLION, scale.KEYS),
    ("start, s per 1,000,000 keys", scale.START_PER_MILLION, scale.KEYS),
    ("GET p99 beside BGSAVE, ms", scale.P99, scale.KEYS),
    ("longest PING beside BGSAVE, ms", scale.MOST, scale.KEYS),
    ("memory growth by BGSAVE, %", scale.GROWTH, scale.KEYS),
    (FLUSHALL_TITLE, scale.EMPTY_MOST, scale.KEYS),
    ("kB per connection", scale.PER_CONNECTION, scale.CONNECTIONS_TAG),
    ("CPU per GET by connections, µs", CPU, scale.CONNECTIONS_TAG),
    ("GET p99 by connections, ms", scale.LOAD_P99, scale.CONNECTIONS_TAG),
)
SCALE_COLUMNS = 3
# Percentiles are shown as "one in so many": each step is one more nine.
PERCENTILE_STEPS = (1, 2, 10, 100, 1000, 10000)


def draw_charts(report: Report, folder: Path) -> Iterator[Path]:
    """Write an SVG for each scenario of the report that has a chart. Yield their paths."""
    plt.rcParams.update({"svg.hashsalt": "kvserver", "svg.fonttype": "path", "font.family": "DejaVu Sans"})
    by_name = {scenario.name: scenario for scenario in report.scenarios if scenario.cases}
    for name, scenario, draw in CHARTS:
        if scenario in by_name and (figure := draw(report, by_name[scenario])) is not None:
            yield save(figure, folder / f"{name}.svg")
    if (figure := draw_ratios(report)) is not None:
        yield save(figure, folder / "ratios.svg")


def save(figure: Figure, target: Path) -> Path:
    figure.savefig(target, format="svg", metadata={"Date": None})
    plt.close(figure)
    return target


def draw_cpu(report: Report, scenario: ScenarioReport) -> Figure | None:
    return draw_bars(report, scenario, 0, "Server CPU per command, in µs: lower is better")


def draw_cpu_with_journal(report: Report, scenario: ScenarioReport) -> Figure | None:
    return draw_bars(report, scenario, 0, "Server CPU per command with a journal (everysec), in µs: lower is better")


def draw_throughput(report: Report, scenario: ScenarioReport) -> Figure | None:
    return draw_bars(report, scenario, 1, "Commands per second: higher is better")


def draw_bars(report: Report, scenario: ScenarioReport, metric_index: int, title: str) -> Figure | None:
    """Draw a panel for each pipeline, since the figures of two differ by a factor of ten."""
    cases = [
        case
        for case in scenario.cases
        if case.tags.get("value_bytes") == CHARTED_VALUE_BYTES and case.tags.get("command") in CHARTED_COMMANDS
    ]
    if not cases:
        return None
    pipelines = list(dict.fromkeys(case.tags["pipeline"] for case in cases))
    # What a user picks between. The echo server serves nobody; the tables have it.
    servers = [kind.name for kind in (SUBJECT, BASELINE, FAKEREDIS) if any(kind.name in case.rounds for case in cases)]
    height = HEAD_INCHES + FOOT_INCHES + PANEL_INCHES * len(pipelines)
    figure, panels = plt.subplots(len(pipelines), 1, figsize=(WIDTH_INCHES, height), squeeze=False)
    for axes, pipeline in zip(panels[:, 0], pipelines, strict=True):
        of_panel = [case for case in cases if case.tags["pipeline"] == pipeline]
        _draw_panel(axes, of_panel, servers, of_panel[0].metrics[metric_index])
        name = "no pipeline" if pipeline == 1 else f"pipeline of {pipeline}"
        axes.set_title(name, fontsize=9.5, color=TEXT_COLOR, loc="left", pad=2)
    _add_head(figure, title, servers, report)
    text = "Median of the rounds, 50 clients, 64-byte values; mixed: nine GETs to a SET. Each panel has its own scale."
    _add_foot(figure, report, text, scenario.command)
    _fit(figure, left=0.012, right=0.988, hspace=0.42)
    return figure


def _draw_panel(axes: Axes, cases: Sequence[Case], servers: Sequence[str], metric: Metric) -> None:
    width = BAR_SHARE / len(servers)
    short = Metric(metric.name, digits=1 if metric.digits else 0)
    heights = {server: [case.median(server, metric.name) or 0.0 for case in cases] for server in servers}
    # What is many times off the scale of the others is cut off above them, and told by its figure.
    limit = HEADROOM * max(max(heights[server]) for server in servers if server != FAKEREDIS.name or len(servers) == 1)
    for number, server in enumerate(servers):
        places = [index + (number - (len(servers) - 1) / 2) * width for index in range(len(cases))]
        axes.bar(places, [min(height, limit) for height in heights[server]], width * 0.94, color=COLORS[server])
        for place, height in zip(places, heights[server], strict=True):
            text = _thousands(height) if metric.more_is_better else format_figure(height, short)
            if height <= limit:
                _put_figure(axes, text, place, height, "bottom", TEXT_COLOR)
            else:
                _put_figure(axes, f"{text} ↑", place, limit, "top", "white")
    axes.set_xticks(range(len(cases)), [str(case.tags["command"]) for case in cases])
    axes.set_ylim(0, limit * HEADROOM)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=TEXT_COLOR)
    # The figures stand on the bars; a scale beside them would say the same twice.
    axes.set_yticks([])
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET_COLOR)


def _put_figure(axes: Axes, text: str, place: float, height: float, at: str, color: str) -> None:
    """Write a figure above the end of a bar, or below it in the bar itself."""
    offset = (0, 2 if at == "bottom" else -2)
    axes.annotate(text, (place, height), offset, textcoords="offset points", ha="center", va=at, fontsize=7.5, color=color)


def _thousands(value: float) -> str:
    return f"{value / 1e6:.1f}M" if value >= 1e6 else f"{value / 1e3:.0f}k"


def draw_latency(report: Report, scenario: ScenarioReport) -> Figure | None:
    """Draw latency by percentile at half of the peak, from the histograms of all rounds together."""
    case = next((case for case in scenario.cases if "rate" in case.tags), None)
    if case is None:
        return None
    figure, axes = plt.subplots(figsize=(WIDTH_INCHES, 3.9))
    for server, rounds in case.rounds.items():
        merged = Latencies()
        for one in rounds:
            if one.latencies:
                merged.add(Latencies.decode(one.latencies))
        if merged.count:
            steps = [10 ** (exponent / 10) for exponent in range(41) if 10 ** (exponent / 10) <= merged.count]
            heights = [merged.percentile_ms(100 * (1 - 1 / step)) for step in steps]
            axes.plot(steps, heights, color=COLORS[server], linewidth=2.2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(PERCENTILE_STEPS, ["fastest", "p50", "p90", "p99", "p99.9", "p99.99"])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} ms")
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=TEXT_COLOR)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET_COLOR)
    _add_head(figure, "Latency by percentile at a fixed rate: lower is better", list(case.rounds), report)
    _add_foot(
        figure,
        report,
        f"{case.name}; 50 clients, 90 % GET and 10 % SET of 64-byte values; all rounds together; counted from the time "
        "at which a command was due.",
        scenario.command,
    )
    _fit(figure, left=0.075, right=0.988)
    return figure


def draw_ratios(report: Report) -> Figure | None:
    """Draw each ratio that has a goal, with its spread: a panel where less is better beside one where more is."""
    rows: dict[bool, list[tuple[str, Ratio, Goal]]] = {False: [], True: []}
    for scenario in report.scenarios:
        for case in scenario.cases:
            for goal in case.goals:
                is_to_redis = goal.is_ratio and case.baseline == BASELINE.name
                ratio = case.ratio(SUBJECT.name, goal.metric) if is_to_redis else None
                if ratio is not None:
                    rows[goal.at_least].append((f"{scenario.name}: {case.name}: {goal.metric}", ratio, goal))
    if not any(rows.values()):
        return None
    longest = max(map(len, rows.values()))
    height = HEAD_INCHES + FOOT_INCHES + 0.19 * longest
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH_INCHES * 1.25, height))
    for axes, at_least in zip(panels, (False, True), strict=True):
        _draw_ratio_panel(axes, rows[at_least], longest)
        title = "throughput: more is better" if at_least else "cost: less is better"
        axes.set_title(title, fontsize=9.5, color=TEXT_COLOR, loc="left")
    _add_head(figure, f"{SUBJECT}'s figures as multiples of {BASELINE}'s, and their goals", [], report)
    _add_foot(
        figure,
        report,
        "Points: median of the pairs of runs; lines: lowest to highest; bars: goals. Red: the goal is missed.",
        "python -m bench",
    )
    _fit(figure, left=0.27, right=0.985, wspace=1.05)
    return figure


def _draw_ratio_panel(axes: Axes, rows: Sequence[tuple[str, Ratio, Goal]], room: int) -> None:
    for place, (_, ratio, goal) in enumerate(rows):
        color = COLORS[SUBJECT.name] if goal.holds(ratio.median) else MISSED_COLOR
        axes.plot([ratio.low, ratio.high], [place, place], color=color, linewidth=1.4, alpha=0.6)
        axes.plot([ratio.median], [place], "o", color=color, markersize=4)
        axes.plot([goal.limit], [place], "|", color=TEXT_COLOR, markersize=9)
    axes.set_yticks(range(len(rows)), [title for title, _, _ in rows])
    axes.set_ylim(room - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.tick_params(length=0, labelsize=7, labelcolor=TEXT_COLOR)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET_COLOR)


def _fit(figure: Figure, **room: float) -> None:
    """Leave room above for the head, and below for the foot and the names of what is drawn."""
    height_inches = figure.get_figheight()
    figure.subplots_adjust(top=1 - HEAD_INCHES / height_inches, bottom=FOOT_INCHES / height_inches, **room)


def _add_head(figure: Figure, title: str, servers: Sequence[str], report: Report) -> None:
    left, height_inches = 0.012, figure.get_figheight()
    figure.text(left, 1 - 0.22 / height_inches, title, fontsize=12, color=TEXT_COLOR)
    for number, server in enumerate(servers):
        place = left + 0.19 * number
        below = 1 - 0.46 / height_inches
        figure.text(place, below, "■", fontsize=11, color=COLORS[server])
        version = report.machine.get(server)
        figure.text(place + 0.02, below, f"{server} {version}" if version else server, fontsize=9, color=TEXT_COLOR)


def _add_foot(figure: Figure, report: Report, text: str, command: str) -> None:
    machine = report.machine
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['kernel']}, Python {machine['python']}, uvloop "
        f"{machine['uvloop']}, redis-server {machine['redis-server']}; {report.date[:10]}"
    )
    height_inches = figure.get_figheight()
    for number, line in enumerate((command, where, text)):
        figure.text(0.012, (0.08 + 0.16 * number) / height_inches, line, fontsize=7, color=QUIET_COLOR)


def draw_scale(report: Report, scenario: ScenarioReport) -> Figure | None:
    """Draw what keys and connections cost against their number, a panel for each figure."""
    panels = [
        (title, metric, tag, cases)
        for title, metric, tag in SCALE_PANELS
        if (cases := [case for case in scenario.cases if tag in case.tags and any(one.name == metric for one in case.metrics)])
    ]
    if not panels:
        return None
    rows = -(-len(panels) // SCALE_COLUMNS)
    height = HEAD_INCHES + FOOT_INCHES + 1.9 * rows
    figure, grid = plt.subplots(rows, SCALE_COLUMNS, figsize=(WIDTH_INCHES, height), squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    servers = [kind.name for kind in (SUBJECT, BASELINE) if any(kind.name in panel[3][0].rounds for panel in panels)]
    for axes, (title, metric, tag, cases) in zip(grid.flat, panels, strict=False):
        for server in servers:
            measured = [(int(case.tags[tag]), value) for case in cases if (value := case.median(server, metric)) is not None]
            axes.plot(*zip(*measured, strict=True), "o-", color=COLORS[server], linewidth=1.8, markersize=3.5)
        axes.set_xscale("log")
        if title == FLUSHALL_TITLE:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        else:
            axes.set_ylim(bottom=0)
        sizes = [int(case.tags[tag]) for case in cases]
        axes.set_xticks(sizes, list(map(_size, sizes)))
        axes.minorticks_off()
        axes.set_title(title, fontsize=9, color=TEXT_COLOR, loc="left", pad=4)
        axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axes.tick_params(length=0, labelsize=7.5, labelcolor=TEXT_COLOR)
        axes.spines[["left", "top", "right"]].set_visible(False)
        axes.spines["bottom"].set_color(QUIET_COLOR)
    _add_head(figure, "Cost against size: lower is better", servers, report)
    text = "Keys of 16 bytes with values of 64, pipelines of 16; connections send 5,000 GETs per second together."
    _add_foot(figure, report, text, scenario.command)
    _fit(figure, left=0.045, right=0.985, hspace=0.5, wspace=0.2)
    return figure


def _size(number: int) -> str:
    """10000000 as 10M, 300000 as 300k."""
    return f"{number / 1e6:g}M" if number >= 1e6 else f"{number / 1e3:g}k" if number >= 1e3 else str(number)


# The name of the file, the scenario that it is drawn of, and the function that draws it.
CHARTS: tuple[tuple[str, str, Callable[[Report, ScenarioReport], Figure | None]], ...] = (
    ("cpu", "throughput", draw_cpu),
    ("cpu_journal", "throughput_journal", draw_cpu_with_journal),
    ("throughput", "throughput", draw_throughput),
    ("latency", "latency", draw_latency),
    ("scale", "scale", draw_scale),
)
