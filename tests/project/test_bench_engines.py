"""The parts of the benchmark of engines: the proxy that delays, the probes of a standby, engines. No figure is judged."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.engines import EngineFailed, _running, _wait_for_port, nats, s3, why_no_nats, why_no_s3
from bench.lag import measure_lags
from bench.scenario import Run
from bench.scenarios.engines import FOLDER, Place, measure_speeds
from helpers.servers import StartServer, Wire, free_port, need_program

DELAY_MS = 30


@pytest.fixture
def delayed(start_server: StartServer, tmp_path: Path) -> Iterator[int]:
    """The port of a server that seems far away."""
    server, port = start_server(), free_port()
    words = ["--port", str(port), "--target", str(server.port), "--delay-ms", str(DELAY_MS)]
    with _running([sys.executable, "-m", "bench.delay", *words], tmp_path / "log") as process:
        _wait_for_port(process, port)
        yield port


def test_proxy_delays_either_way_and_keeps_the_order(delayed: int) -> None:
    with Wire(delayed) as wire:
        started_at = time.monotonic()
        assert wire.command("PING") == b"+PONG\r\n"
        assert time.monotonic() - started_at >= 2 * DELAY_MS / 1000
        for number in range(200):
            wire.send(b"*2\r\n$4\r\nECHO\r\n$3\r\n%03d\r\n" % number)
        assert [wire.read_reply() for _ in range(200)] == [b"$3\r\n%03d\r\n" % number for number in range(200)]


def test_proxy_closes_what_is_closed_beyond_it(delayed: int) -> None:
    with Wire(delayed) as wire:
        wire.send(b"*1\r\n$4\r\nQUIT\r\n")
        assert wire.read_until_eof() == b"+OK\r\n"


def test_lag_of_a_server_behind_itself_is_a_round_trip(start_server: StartServer) -> None:
    port = start_server().port
    lags_s = measure_lags(port, port, 0.1)
    assert lags_s
    assert all(lag_s > 0 for lag_s in lags_s)


def test_standby_that_never_shows_it_is_told(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.lag.DEADLINE_S", 0.01)
    one, other = start_server(), start_server(directory=tmp_path / "other")
    with pytest.raises(TimeoutError, match="the standby did not show it"):
        measure_lags(one.port, other.port, 0.1)


def test_engine_that_ends_at_once_is_told(tmp_path: Path) -> None:
    with (
        _running([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log") as process,
        pytest.raises(EngineFailed, match="ended with code 3"),
    ):
        _wait_for_port(process, free_port())


def test_nats_is_there_and_gone_behind_the_block(tmp_path: Path) -> None:
    if reason := why_no_nats():
        pytest.skip(reason)
    with nats(1, tmp_path) as engine:
        assert engine.url_of("data").startswith("nats://127.0.0.1:")
        assert engine.cpu_time_s() > 0
        processes = list(engine.processes)
    assert all(process.poll() is not None for process in processes)
    assert not list(tmp_path.iterdir())


def test_s3_is_there_at_each_distance(tmp_path: Path) -> None:
    if reason := why_no_s3():
        pytest.skip(reason)
    with s3((0, 1), tmp_path) as engines:
        for engine in engines:
            endpoint = engine.url_of("data").partition("endpoint=")[2].partition("&")[0]
            with urllib.request.urlopen(f"{endpoint}/bench?list-type=2", timeout=20) as answer:
                assert b"<Name>bench</Name>" in answer.read()
        assert engines[0].url_of("data") != engines[1].url_of("data")
    assert not list(tmp_path.iterdir())


def test_speed_is_measured_of_each_place(tmp_path: Path) -> None:
    need_program("redis-server")
    run = Run(is_quick=True, folder=tmp_path)
    places = {name: Place(name) for name in ("redis-server", FOLDER)}
    (case,) = measure_speeds(run, places)
    assert list(case.rounds) == list(places)
    assert not case.failed
    assert all(value > 0 for rounds in case.rounds.values() for one in rounds for value in one.figures.values())
