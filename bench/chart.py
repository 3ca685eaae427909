"""The chart of server CPU per command, drawn from the JSON of bench.compare.

Owns the drawing. Axes start at zero, and each pipeline has an axis of its own, since the cost per command differs by a
factor of ten. The file is the same, byte for byte, for the same figures. Must never compute a figure that compare did
not give.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

mpl.use("Agg")  # draws without a display

SUBJECT_COLOR, BASELINE_COLOR = "#2b6cb0", "#b8bec6"
TEXT_COLOR, QUIET_COLOR = "#1f2933", "#6b7480"
BAR_WIDTH = 0.38
WIDTH_INCHES, HEIGHT_INCHES = 9.6, 3.3
HEADROOM = 1.2  # above the highest bar, for its figure


def draw_panel(axes: Axes, cells: list[dict[str, Any]], pipeline: int) -> None:
    tops: list[float] = []
    for side, color, shift in (("subject", SUBJECT_COLOR, -0.5), ("baseline", BASELINE_COLOR, 0.5)):
        heights = [cell[side]["cpu_us_per_command"] for cell in cells]
        places = [index + shift * BAR_WIDTH for index in range(len(cells))]
        bars = axes.bar(places, heights, BAR_WIDTH * 0.94, color=color)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8.5, color=TEXT_COLOR)
        tops += heights
    axes.set_title("no pipeline" if pipeline == 1 else f"pipeline of {pipeline}", fontsize=10, color=TEXT_COLOR, loc="left")
    axes.set_xticks(range(len(cells)), [cell["command"].upper() for cell in cells])
    axes.set_ylim(0, max(tops) * HEADROOM)
    axes.tick_params(length=0, labelsize=9, labelcolor=TEXT_COLOR)
    # The figures stand on the bars; a scale beside them would say the same twice.
    axes.set_yticks([])
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET_COLOR)


def draw_chart(report: dict[str, Any], target: Path) -> None:
    plt.rcParams.update(
        {"svg.hashsalt": "kvserver", "svg.fonttype": "path", "font.family": "DejaVu Sans", "axes.axisbelow": True}
    )
    pipelines = list(dict.fromkeys(cell["pipeline"] for cell in report["cells"]))
    figure, panels = plt.subplots(1, len(pipelines), figsize=(WIDTH_INCHES, HEIGHT_INCHES), squeeze=False)
    for axes, pipeline in zip(panels[0], pipelines, strict=True):
        draw_panel(axes, [cell for cell in report["cells"] if cell["pipeline"] == pipeline], pipeline)
    left = 0.012
    figure.text(left, 0.945, "Server CPU per command, in µs: lower is better", fontsize=12, color=TEXT_COLOR)
    figure.text(left, 0.875, "■", fontsize=11, color=SUBJECT_COLOR)
    figure.text(left + 0.02, 0.875, describe(report["subject"]), fontsize=9.5, color=TEXT_COLOR)
    figure.text(left + 0.22, 0.875, "■", fontsize=11, color=BASELINE_COLOR)
    figure.text(left + 0.24, 0.875, describe(report["baseline"]), fontsize=9.5, color=TEXT_COLOR)
    machine = report["machine"]
    figure.text(
        left,
        0.025,
        f"User + system time of the whole process, median of {report['rounds']} rounds, {report['clients']} clients, "
        f"{report['value_bytes']}-byte values, {report['keys']} keys; {report['generator']}; "
        f"{machine['cores']} cores, Python {machine['python']}. Each panel has its own scale.",
        fontsize=7,
        color=QUIET_COLOR,
    )
    figure.subplots_adjust(left=0.012, right=0.988, top=0.74, bottom=0.18, wspace=0.12)
    figure.savefig(target, format="svg", metadata={"Date": None})
    plt.close(figure)


def describe(server: dict[str, Any]) -> str:
    # What kvserver calls its Redis version is the version that it is compatible with, not its own.
    version = server["redis_version"] if server["name"] == "redis-server" else None
    return " ".join(part for part in (server["name"], version, server["args"]) if part)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chart", description="Draw what bench.compare measured.")
    parser.add_argument("figures", type=Path, help="the file that bench.compare --json wrote")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("chart.svg"))
    options = parser.parse_args()
    try:
        report = json.loads(options.figures.read_text())
        draw_chart(report, options.output)
    except (OSError, ValueError, KeyError) as error:
        print(f"bench.chart: {options.figures}: {error!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
