"""There is one sample of latency a second, and a graph as redis-server draws it."""

from __future__ import annotations

from kvserver.state.latency import SAMPLES, LatencyMonitor, graph


def test_longest_event_of_a_second_counts() -> None:
    monitor = LatencyMonitor()
    for at_s, duration_ms in ((1, 5), (1, 9), (1, 7), (2, 3)):
        monitor.add("command", at_s, duration_ms)
    series = monitor.series["command"]
    assert list(series.samples) == [(1, 9), (2, 3)]
    assert series.longest_ms == 9


def test_oldest_samples_go_but_the_longest_is_remembered() -> None:
    monitor = LatencyMonitor()
    for at_s in range(SAMPLES + 10):
        monitor.add("command", at_s, 1000 - at_s)
    series = monitor.series["command"]
    assert len(series.samples) == SAMPLES
    assert (series.samples[0].at_s, series.longest_ms) == (10, 1000)


def test_reset_forgets_what_is_named_or_all() -> None:
    monitor = LatencyMonitor()
    for event in ("a", "b", "c"):
        monitor.add(event, 1, 1)
    assert monitor.reset(["a", "a", "x"]) == 1
    assert list(monitor.series) == ["b", "c"]
    assert monitor.reset([]) == 2
    assert not monitor.series


def test_graph_of_one_sample_is_that_of_redis() -> None:
    monitor = LatencyMonitor()
    monitor.add("command", 100, 30)
    expected = "command - high 30 ms, low 30 ms (all time high 30 ms)\n" + "-" * 80 + "\n \n \n \n_\n \n0\ns\n\n"
    assert graph("command", monitor.series["command"], 100) == expected


def test_graph_rises_with_the_durations_and_tells_how_long_ago_they_were() -> None:
    monitor = LatencyMonitor()
    for at_s, duration_ms in ((0, 1), (90_000, 7), (93_500, 12), (93_600, 13)):
        monitor.add("x", at_s, duration_ms)
    assert graph("x", monitor.series["x"], 93_610).splitlines()[2:] == [
        "  ##",
        " _||",
        " |||",
        "_|||",
        "    ",
        "1111",
        "dhm0",
        "   s",
        "",
    ]


def test_long_graph_is_cut_into_lines_of_eighty_columns() -> None:
    monitor = LatencyMonitor()
    for at_s in range(100):
        monitor.add("x", at_s, at_s)
    lines = graph("x", monitor.series["x"], 100).splitlines()[2:]
    assert [len(line) for line in lines if line and set(line) & set("_o#|")].count(80) == 4
    assert max(map(len, lines)) == 80
