"""The benchmark suite works from its command line: options, short runs, reports, charts. No figure is judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main, parse_arguments
from bench.figures import Case, Goal, Measurement, Metric
from bench.idle_connections import affordable_connections
from bench.kinds import BASELINE, ECHO, FAKEREDIS, KINDS, KVSERVER, REDIS, SUBJECT, Ability
from bench.latencies import LATENCY_METRICS, Latencies
from bench.libraries import EVERYSEC, LIBRARIES
from bench.machine import describe_machine
from bench.report import Report, ReportFile, ReportUnreadable, ScenarioReport
from bench.scenario import Run
from bench.scenarios import SCENARIOS, scale
from bench.scenarios.json import WHOLE
from bench.scenarios.rights import RULES
from bench.scenarios.throughput import CPU
from bench.text import render_machine, render_scenario
from helpers.servers import need_program

# --- Arguments ---


def test_all_scenarios_run_of_all_servers_by_default() -> None:
    options = parse_arguments([])
    assert options.scenarios == list(SCENARIOS)
    assert options.servers == list(KINDS)
    assert not options.quick
    assert options.rounds is None


def test_scenarios_and_servers_are_chosen_by_name() -> None:
    options = parse_arguments(["latency", "memory", "--servers", "redis-server", "echo", "--rounds", "3", "--quick"])
    assert [scenario.name for scenario in options.scenarios] == ["latency", "memory"]
    assert options.servers == [REDIS, ECHO]
    assert (options.rounds, options.quick) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["--servers", "memcached"],
        ["--rounds", "0"],
        ["--rounds", "x"],
        ["--json", "/no/such/folder/file"],
        ["--charts", "/no/such/folder"],
        ["--dir", "/no/such/folder"],
        ["latency", "--read", "file"],
        ["--quick", "--check"],
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_anything_runs(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parse_arguments(arguments)
    assert left.value.code == 2
    assert "error" in capsys.readouterr().err


def test_list_names_every_scenario_and_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in [one.name for one in SCENARIOS] + [str(kind) for kind in KINDS])


def test_names_of_scenarios_are_different() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


# --- Who takes part ---


def test_server_that_lacks_something_is_left_out_with_a_note() -> None:
    run = Run(kinds=(KVSERVER, ECHO))
    assert run.able(Ability.PERSISTENCE | Ability.DATA) == [KVSERVER]
    assert run.notes == ["echo keeps no data; has no journal and no snapshots"]
    assert run.able(Ability.NONE) == [KVSERVER, ECHO]


def test_rounds_are_those_that_are_asked_for() -> None:
    assert (Run().rounds(5), Run(is_quick=True).rounds(5), Run(is_quick=True, wanted_rounds=7).rounds(5)) == (5, 2, 7)


def test_idle_connections_are_no_more_than_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 5000))
    monkeypatch.setattr("resource.setrlimit", lambda which, limits: None)
    assert affordable_connections(1000, 150) == 1000
    assert affordable_connections(10_000, 150) == 4800


# --- Short runs ---


def measure(tmp_path: Path, *arguments: str) -> Report:
    need_program("redis-server")
    target = tmp_path / "report.json"
    assert main([*arguments, "--quick", "--rounds", "1", "--dir", str(tmp_path), "--json", str(target)]) == 0
    assert not list(tmp_path.glob("bench-*")), "a data folder is left"
    report = Report.read(target)
    assert not any(case.goals for scenario in report.scenarios for case in scenario.cases), "a short run is judged"
    return report


def test_throughput_of_all_servers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = measure(tmp_path, "throughput")
    cases = report.scenarios[0].cases
    assert {case.tags["pipeline"] for case in cases} == {1, 16, 64}
    assert {case.tags["command"] for case in cases} == {"GET", "SET"}
    for case in cases:
        assert list(case.rounds) == [kind.name for kind in KINDS], case.failed
        assert all(value > 0 for rounds in case.rounds.values() for one in rounds for value in one.figures.values())
        assert case.ratio(SUBJECT.name, "commands/s") is not None
    printed = capsys.readouterr().out
    assert "GET 64 B, pipeline 16" in printed
    assert report.command.startswith("python -m bench throughput --quick --rounds 1 --dir ")
    assert report.scenarios[0].command == "python -m bench throughput --quick --rounds 1"


def test_latency_reaches_half_of_the_peak_of_redis(tmp_path: Path) -> None:
    report = measure(tmp_path, "latency", "--servers", KVSERVER.name, REDIS.name)
    peak, *open_cases = report.scenarios[0].cases
    assert "half of redis-server's peak" in open_cases[-1].name
    half_per_s = round((peak.median(BASELINE.name, "commands/s") or 0) / 2)
    assert f"{half_per_s}/s" in open_cases[-1].name
    for case in open_cases:
        (one,) = case.rounds[SUBJECT.name]
        assert one.figures["p50"] <= one.figures["p99"] <= one.figures["p99.9"] <= one.figures["max"]
        assert one.latencies is not None
        assert Latencies.decode(one.latencies).figures()["p99"] == pytest.approx(one.figures["p99"])


def test_environment_configures_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVSERVER_APPENDONLY", "no such setting")
    assert measure(tmp_path, "startup", "--servers", KVSERVER.name, REDIS.name).scenarios[0].cases


# Without those that have tests of their own.
TESTED = {"throughput", "latency", "flush_stall", "library", "engines", "history", "takeover", "json", "rights"}
OTHERS = sorted({scenario.name for scenario in SCENARIOS} - TESTED)


@pytest.mark.parametrize("scenario", OTHERS)
def test_scenario_is_measured_of_both_servers(tmp_path: Path, scenario: str) -> None:
    report = measure(tmp_path, scenario, "--servers", KVSERVER.name, REDIS.name)
    assert report.scenarios[0].cases
    for case in report.scenarios[0].cases:
        assert not case.failed
        # Redis has no RESTORE of the whole store.
        assert list(case.rounds) == [KVSERVER.name, REDIS.name][: 1 if case.name.startswith("RESTORE") else 2]


def test_history_is_measured_beside_none(tmp_path: Path) -> None:
    cases = measure(tmp_path, "history").scenarios[0].cases
    assert not [case.failed for case in cases if case.failed]
    assert list(cases[0].rounds) == ["no history", "history"]
    assert all(list(case.rounds) == ["history"] for case in cases[1:])
    assert [case.name.partition(",")[0] for case in cases[1:]] == ["KVS.AT", "KVS.RESTORE", "disk"]


def test_takeover_is_measured_and_its_pause_told(tmp_path: Path) -> None:
    cases = measure(tmp_path, "takeover", "--servers", KVSERVER.name, REDIS.name).scenarios[0].cases
    assert not [case.failed for case in cases if case.failed]
    both, ours = [KVSERVER.name, REDIS.name], [KVSERVER.name]
    assert [list(case.rounds) for case in cases] == [both, ours, both, ours]
    assert cases[-1].rounds[KVSERVER.name][0].figures["paused"] >= 0


def test_engines_are_measured_beside_the_folder_and_redis(tmp_path: Path) -> None:
    report = measure(tmp_path, "engines", "--servers", KVSERVER.name, REDIS.name)
    cases = report.scenarios[0].cases
    assert not [case.failed for case in cases if case.failed]
    # redis-server has no engine: it is the oracle of the first cases, and what is asked of nodes is asked of them alone.
    assert list(cases[0].rounds)[:2] == [REDIS.name, f"{KVSERVER.name}, folder"]
    measured = {name for case in cases for name in case.rounds}
    assert {f"{KVSERVER.name}, NATS 3", f"{KVSERVER.name}, S3"} <= measured


def test_paths_of_documents_are_measured_beside_whole_documents(tmp_path: Path) -> None:
    cases = measure(tmp_path, "json").scenarios[0].cases
    assert {case.tags["command"] for case in cases} == {"GET", "SET"}
    for case in cases:
        assert (case.median(WHOLE, CPU) or 0) > 0
        assert not case.failed


def test_rights_are_measured_of_who_has_users(tmp_path: Path) -> None:
    found = measure(tmp_path, "rights", "--servers", KVSERVER.name, REDIS.name).scenarios[0]
    assert {case.tags["who"] for case in found.cases} == set(RULES)
    for case in found.cases:
        assert not case.failed
        assert REDIS.name in case.rounds
        assert KVSERVER.name in case.rounds or any(note.startswith(f"{KVSERVER} has no users") for note in found.notes)


def test_flush_stall_sees_every_phase(tmp_path: Path) -> None:
    report = measure(tmp_path, "flush_stall", "--servers", KVSERVER.name, REDIS.name)
    found = report.scenarios[0]
    assert [case.name for case in found.cases[1:]] == [
        "BGSAVE",
        "BGSAVE under writes",
        "SAVE",
        "RESTORE",
        "BGSAVE with compaction",
        "SET of 5 MB",
        "GET of 5 MB",
        "BGSAVE of 5 MB",
        "RESTORE of 5 MB",
    ]
    assert all(not case.failed and SUBJECT.name in case.rounds for case in found.cases)
    assert all(BASELINE.name in case.rounds for case in found.cases[:3])
    assert f"{REDIS} has nothing to compact" in found.notes


def test_calls_of_libraries(tmp_path: Path) -> None:
    installed = [each for each in LIBRARIES if each.is_installed]
    report = measure(tmp_path, "library")
    *cases, sizes = report.scenarios[0].cases
    assert {case.tags["call"] for case in cases} == {"get", "set", "incr", "iteration", "memoize hit"}
    assert {case.tags["threads"] for case in cases} == {1, 4}
    for case in cases:
        assert not case.failed
        assert all(one.figures["time a call"] > 0 for rounds in case.rounds.values() for one in rounds)
    assert {name for case in cases for name in case.rounds} == {each.name for each in installed}
    assert (sizes.median(EVERYSEC.name, "bytes per key") or 0) > 100
    assert (sizes.median(EVERYSEC.name, "files") or 0) > 100


def test_run_without_redis_has_figures_and_no_ratios(tmp_path: Path) -> None:
    report = measure(tmp_path, "startup", "--servers", KVSERVER.name, ECHO.name)
    (case,) = report.scenarios[0].cases
    assert list(case.rounds) == [KVSERVER.name, ECHO.name]
    assert case.ratio(SUBJECT.name, "first PING") is None


def test_server_that_does_not_start_ends_the_scenario_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.scenarios.group_commit.ALWAYS", ("--no-such-option", "1"))
    assert main(["group_commit", "--quick", "--servers", KVSERVER.name, "--dir", str(tmp_path)]) == 1
    assert "the rest of group_commit: kvserver ended with code" in capsys.readouterr().out


# --- Reports ---


def made_up_report() -> Report:
    metrics = (Metric("CPU per command", "µs"), Metric("commands/s", digits=0, more_is_better=True))
    goals = (Goal("CPU per command", 1.0), Goal("commands/s", 1.0, at_least=True))
    servers = (KVSERVER.name, REDIS.name, ECHO.name)

    def case(command: str, pipeline: int) -> Case:
        rounds = {
            server: [
                Measurement({"CPU per command": 3.0 + number, "commands/s": 1e5 / (number + 1)}, stolen_share=0.25)
                for number in range(3)
            ]
            for server in servers
        }
        tags: dict[str, str | int] = {"command": command, "value_bytes": 64, "pipeline": pipeline}
        return Case(f"{command}, pipeline {pipeline}", metrics, goals, rounds, {FAKEREDIS.name: "gone"}, tags)

    latencies = Latencies.of_seconds([0.001 * number for number in range(1, 2001)])
    one = Measurement(latencies.figures(), latencies.encode())
    open_case = Case(
        "half", LATENCY_METRICS, (Goal("p99", 1.2),), {server: [one] for server in servers}, tags={"rate": "half"}
    )
    scenarios = [
        ScenarioReport(
            "throughput", "how fast", "again", [case(c, p) for p in (1, 16) for c in ("GET", "SET")], ["echo has no journal"]
        ),
        ScenarioReport("latency", "how late", "again", [open_case]),
    ]
    return Report("python -m bench", "2026-01-01T00:00:00+00:00", describe_machine(), scenarios)


def test_report_comes_back_from_its_file(tmp_path: Path) -> None:
    report = made_up_report()
    target = tmp_path / "report.json"
    ReportFile.parse(str(target)).write(report)
    again = Report.read(target)
    assert again.to_json() == json.loads(target.read_text()) == json.loads(json.dumps(report.to_json()))
    assert "\n".join(map(render_scenario, again.scenarios)) == "\n".join(map(render_scenario, report.scenarios))
    assert render_machine(again) == render_machine(report)


def test_report_has_medians_and_ratios_for_readers_without_this_program(tmp_path: Path) -> None:
    content = json.loads(json.dumps(made_up_report().to_json()))
    results = content["scenarios"][0]["cases"][0]["results"]
    assert results["kvserver"]["CPU per command"] == {"median": 4.0, "ratio": {"median": 1.0, "low": 1.0, "high": 1.0}}


def test_reports_of_a_suite_that_was_run_in_parts_are_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = made_up_report()
    for number, scenario in enumerate(whole.scenarios):
        part = Report("python -m bench", f"2026-01-0{number + 1}", whole.machine, [scenario])
        ReportFile.parse(str(tmp_path / f"{number}.json")).write(part)
    assert main(["--read", str(tmp_path / "0.json"), str(tmp_path / "1.json")]) == 0
    printed = capsys.readouterr().out
    assert "== throughput" in printed
    assert "== latency" in printed
    assert "2026-01-02" in printed


def test_reports_of_different_machines_are_not_joined() -> None:
    other = made_up_report()
    other.machine = {**other.machine, "cores": 99}
    with pytest.raises(ReportUnreadable, match="different machines"):
        Report.join([made_up_report(), other])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"command": 1, "date": 2, "machine": {}, "scenarios": [{}]}'])
def test_file_that_is_no_report_is_refused(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "report.json"
    target.write_text(content)
    with pytest.raises(ReportUnreadable):
        Report.read(target)
    assert main(["--read", str(target)]) == 1
    assert "holds no report" in capsys.readouterr().err


def test_text_tells_figures_spread_steal_failures_notes_and_goals() -> None:
    text = render_scenario(made_up_report().scenarios[0])
    assert "4.00  1.00 (1.00..1.00)" in text
    assert "25.0%" in text
    assert "fakeredis failed: GET, pipeline 1: gone" in text
    assert "left out: echo has no journal" in text
    assert "holds   SET, pipeline 16: kvserver's CPU per command at most 1 times redis-server's: 1.00" in text


def test_missed_goal_is_an_error_only_where_goals_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = made_up_report()
    report.scenarios[0].cases[0].goals = (Goal("CPU per command", 0.5),)
    target = tmp_path / "report.json"
    ReportFile.parse(str(target)).write(report)
    assert main(["--read", str(target)]) == 0
    assert main(["--read", str(target), "--check"]) == 1
    assert "MISSED" in capsys.readouterr().out


def test_charts_are_drawn_and_are_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / "report.json"
    ReportFile.parse(str(target)).write(made_up_report())
    drawn = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        assert main(["--read", str(target), "--charts", str(folder)]) == 0
        drawn.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {"cpu.svg", "throughput.svg", "latency.svg", "ratios.svg"}
    assert all(content.startswith(b"<?xml") for content in drawn[0].values())


def test_server_that_is_far_off_the_scale_is_cut_off_and_told_by_its_figure() -> None:
    pytest.importorskip("matplotlib")
    from bench.chart import draw_bars

    report = made_up_report()
    scenario = report.scenarios[0]
    for case in scenario.cases:
        case.rounds[FAKEREDIS.name] = [Measurement({"CPU per command": 1234.5, "commands/s": 900.0})]
    figure = draw_bars(report, scenario, 0, "cost")
    assert figure
    told = [text.get_text() for axes in figure.axes for text in axes.texts]
    # The others take 4 µs in each of four cases.
    assert sorted(told) == ["1,234.5 ↑"] * 4 + ["4.0"] * 8
    for axes in figure.axes:
        assert axes.get_ylim()[1] < 6
        assert max(bar.get_height() for bar in axes.patches) < axes.get_ylim()[1]  # type: ignore[attr-defined]
    assert draw_bars(report, scenario, 1, "speed")


# --- Sizes ---


def test_sizes_without_memory_for_them_are_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.scenarios.scale.available_memory_bytes", lambda: 2_000_000_000)
    run = Run()
    assert list(scale.affordable_sizes(run)) == [100_000, 300_000, 1_000_000, 3_000_000]
    assert run.notes == ["10,000,000 keys: they may need 5,000 MB, and 2,000 MB of memory are free"]


def test_numbers_of_connections_without_files_for_them_are_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr("resource.setrlimit", lambda which, limits: None)
    run = Run()
    assert list(scale.affordable_numbers(run)) == [10, 100, 1_000]
    assert run.notes == ["10,000 connections: the system lets a process have 3,946 (ulimit -Hn)"]


def test_each_figure_of_sizes_is_a_panel_with_a_line_for_each_server() -> None:
    pytest.importorskip("matplotlib")
    from bench.chart import SCALE_PANELS, draw_scale

    def case(tag: str, size: int, metrics: Sequence[Metric]) -> Case:
        rounds = {kind.name: [Measurement({metric.name: size / 7 for metric in metrics})] for kind in (SUBJECT, BASELINE)}
        return Case(str(size), metrics, (), rounds, tags={tag: size})

    cases = [case(scale.KEYS, size, table.metrics) for table in scale.TABLES for size in scale.SIZES]
    cases += [case(scale.CONNECTIONS_TAG, number, scale.CONNECTION_METRICS) for number in scale.CONNECTIONS]
    report = made_up_report()
    figure = draw_scale(report, ScenarioReport("scale", "sizes", "python -m bench scale", cases))
    assert figure
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == [title for title, _, _ in SCALE_PANELS]
    for axes, (_, _, tag) in zip(panels, SCALE_PANELS, strict=True):
        sizes = list(scale.SIZES if tag == scale.KEYS else scale.CONNECTIONS)
        drawn: list[Any] = [line.get_xdata() for line in axes.lines]
        assert list(map(list, drawn)) == [sizes, sizes]
    assert draw_scale(report, ScenarioReport("scale", "sizes", "", [])) is None
