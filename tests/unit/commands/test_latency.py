"""LATENCY tells events and times that are set by hand."""

from __future__ import annotations

from typing import Any

from helpers.sessions import START_MS, Server, run, text
from kvserver.commands.latency import DISABLED, NOTHING
from kvserver.resp.reply import Verbatim

NOW_S = START_MS // 1000


def monitored() -> Server:
    server = Server()
    server.state.config.set([(b"latency-monitor-threshold", b"5")])
    return server


def test_latest_has_the_last_and_the_longest_of_each_event() -> None:
    server = monitored()
    session = server.session()
    assert run(session, "LATENCY", "LATEST") == []
    server.state.latency.add("command", 7, 30)
    server.state.latency.add("command", 8, 20)
    assert run(session, "LATENCY", "LATEST") == [[b"command", 8, 20, 30]]
    assert run(session, "LATENCY", "HISTORY", "command") == [[7, 30], [8, 20]]
    assert run(session, "LATENCY", "HISTORY", "nosuch") == []


def test_reset_counts_what_it_forgets() -> None:
    server = monitored()
    server.state.latency.add("command", 7, 30)
    session = server.session()
    assert run(session, "LATENCY", "RESET", "nosuch") == 0
    assert run(session, "LATENCY", "RESET") == 1
    assert run(session, "LATENCY", "LATEST") == []


def test_graph_needs_samples() -> None:
    server = monitored()
    session = server.session()
    assert text(run(session, "LATENCY", "GRAPH", "x")) == "ERR No samples available for event 'x'"
    server.state.latency.add("x", NOW_S, 30)
    drawn = run(session, "LATENCY", "GRAPH", "x")
    assert isinstance(drawn, Verbatim)
    assert drawn.startswith(b"x - high 30 ms")


def test_doctor_knows_what_is_off_what_is_well_and_what_is_not() -> None:
    assert run(Server().session(), "LATENCY", "DOCTOR") == DISABLED.encode()
    server = monitored()
    session = server.session()
    assert run(session, "LATENCY", "DOCTOR") == NOTHING.encode()
    server.state.latency.add("command", NOW_S - 10, 10)
    server.state.latency.add("command", NOW_S, 30)
    report: Any = run(session, "LATENCY", "DOCTOR")
    spikes = b"2 latency spikes (average 20ms, mean deviation 10ms, period 5.00 sec). Worst all time event 30ms."
    assert b"1. command: " + spikes in report
    assert b"slowlog-log-slower-than 5000" in report


def test_histogram_has_every_call_of_the_commands_that_are_named() -> None:
    server = Server()
    session = server.session()
    usages = server.state.usages
    usages.by_name[b"get"].calls = 10
    usages.by_name[b"get"].durations_ns += [900, 1500]
    usages.by_name[b"config|get"].calls = 1
    usages.by_name[b"config|get"].durations_ns += [5000]
    usages.by_name[b"ping"].calls = 1
    assert run(session, "LATENCY", "HISTOGRAM", "GET", "nosuch", "ping") == {
        b"get": {b"calls": 10, b"histogram_usec": {1: 5, 2: 10}}
    }
    containers: Any = run(session, "LATENCY", "HISTOGRAM", "config")
    assert list(containers) == [b"config|get"]
    everything: Any = run(session, "LATENCY", "HISTOGRAM")
    assert set(everything) == {b"get", b"config|get", b"latency|histogram"}
