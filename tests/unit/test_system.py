"""Clocks count whole numbers, files have room, descriptors are open, and progress is shown on a terminal alone."""

from __future__ import annotations

import builtins
import io
import os
import resource
import sys
import time
import types
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.frames import valid_frames
from helpers.servers import (
    wait_until,
)
from helpers.starts import DATA_FILE, InShell
from kvserver._speedups import requests
from kvserver.data.keyspace import Keyspace
from kvserver.system import Progress, allow_open_files, now_ms, now_us, random_below, read_process_facts

PLENTY_BYTES = 64 << 20


def test_facts_are_those_of_this_process() -> None:
    facts = read_process_facts("uvloop")
    assert facts.process_id == os.getpid()
    assert facts.executable == sys.executable
    assert facts.event_loop == "uvloop"
    assert facts.python == sys.version.split()[0]
    assert facts.system.startswith(os.uname().sysname)


def test_build_tells_what_runs() -> None:
    is_interpreted = isinstance(Keyspace.live, types.FunctionType)
    assert read_process_facts("").build == ("interpreted" if is_interpreted else "compiled")


def test_leaves_tell_what_runs() -> None:
    is_pure = isinstance(requests.decode, types.FunctionType)
    assert read_process_facts("").leaves == ("pure" if is_pure else "compiled")


def test_cpu_times_are_seconds_and_grow_with_work() -> None:
    before, times = read_process_facts(""), os.times()
    assert before.cpu_user_s == pytest.approx(times.user, abs=1)
    assert before.cpu_system_s == pytest.approx(times.system, abs=1)
    for _ in range(10**6):
        pass
    assert read_process_facts("").cpu_user_s > before.cpu_user_s


def test_memory_is_in_bytes_and_grows_with_what_is_held() -> None:
    before = read_process_facts("")
    held = bytearray(os.urandom(1) * PLENTY_BYTES)
    after = read_process_facts("")
    assert len(held) == PLENTY_BYTES
    assert after.rss_bytes - before.rss_bytes > PLENTY_BYTES // 2
    assert after.peak_rss_bytes >= after.rss_bytes * 0.9
    assert after.total_memory_bytes > after.rss_bytes


def test_without_proc_the_peak_stands_for_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = builtins.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).startswith("/proc/"):
            raise FileNotFoundError(path)
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refuse)
    facts = read_process_facts("")
    assert facts.rss_bytes == facts.peak_rss_bytes > 1 << 20


def test_clocks_tell_the_time_of_day_in_their_units() -> None:
    before_ns = time.time_ns()
    found_ms, found_us = now_ms(), now_us()
    assert before_ns // 1_000_000 <= found_ms <= found_us // 1_000 <= time.time_ns() // 1_000_000


class Screen(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def show(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> Screen:
    screen = Screen(is_terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_long_work_shows_its_share_now_and_then_and_wipes_it(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    screen = show(monkeypatch, is_terminal=True)
    with Progress("copying", lambda: 2_000) as progress:
        for done in range(0, 2_000, 20):
            clock.now_s += 0.05
            progress.update(done)
        shown = screen.getvalue().split("\r\033[Kcopying: ")[1:]
        assert 5 < len(shown) < 50
        assert all(part.endswith(" %") for part in shown)
        percents = [int(part.removesuffix(" %")) for part in shown]
        assert percents == sorted(set(percents))
        assert percents[0] < 10
        assert percents[-1] > 90
    assert screen.getvalue().endswith("\r\033[K")


@pytest.mark.parametrize(("is_terminal", "seconds"), [(True, 0.1), (False, 10)], ids=["short work", "nobody looks"])
def test_nothing_is_shown_of_short_work_or_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, is_terminal: bool, seconds: float
) -> None:
    screen = show(monkeypatch, is_terminal)
    with Progress("copying", lambda: 2) as progress:
        clock.now_s += seconds
        progress.update(1)
    assert screen.getvalue() == ""


def test_nothing_to_do_is_all_done(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    screen = show(monkeypatch, is_terminal=True)
    with Progress("copying", lambda: 0) as progress:
        clock.now_s += 1
        progress.update(0)
    assert "copying: 100 %" in screen.getvalue()


def test_line_is_wiped_when_the_work_fails(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    screen = show(monkeypatch, is_terminal=True)
    with suppress(KeyError), Progress("copying", lambda: 2) as progress:
        clock.now_s += 1
        progress.update(1)
        raise KeyError
    assert "copying: 50 %" in screen.getvalue()
    assert screen.getvalue().endswith("\r\033[K")


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "<&-", ">&-", "2>&-"])
def test_closed_standard_descriptors_are_not_taken_by_files_and_sockets(tmp_path: Path, closed: str) -> None:
    server = InShell("kvserver", tmp_path / "data", "--logfile", str(tmp_path / "log"))
    server.line = f'exec "$@" {closed}'
    server._launch()
    try:
        wait_until(lambda: "Ready" in (tmp_path / "log").read_text() if (tmp_path / "log").exists() else False, "a start")
        with server.connect() as wire:
            assert wire.command("SET", "k", "v") == b"+OK\r\n"
            assert wire.command("SAVE") == b"+OK\r\n"
        folder = Path(f"/proc/{server.process.pid}/fd")
        if folder.exists():
            numbers = {"<": 0, ">": 1, "2": 2}
            for number in (numbers[word[0]] for word in closed.split()):
                assert (folder / str(number)).readlink() == Path(os.devnull)
        assert server.stop() == 0
    finally:
        server.kill()
    assert valid_frames((tmp_path / "data" / DATA_FILE).read_bytes())[-1] == {"k": "v"}
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_random_numbers_lie_below_their_bound_and_all_come() -> None:
    assert {random_below(3) for _ in range(200)} == {0, 1, 2}
    assert all(0 <= random_below(1 << 40) < 1 << 40 for _ in range(100))
    assert random_below(1) == 0


# --- as on macOS


def test_memory_of_a_machine_that_does_not_tell_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", refuse)
    facts = read_process_facts("")
    assert facts.total_memory_bytes == 0
    assert facts.rss_bytes > 0


@pytest.mark.parametrize(("most", "expected"), [(10_240, 10_240), (1 << 20, 20_000), (100, 256)])
def test_open_files_are_as_many_as_the_system_allows_where_its_limit_says_more(
    monkeypatch: pytest.MonkeyPatch, most: int, expected: int
) -> None:
    def set_limit(which: int, limits: tuple[int, int]) -> None:
        if limits[0] > most:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    assert allow_open_files(20_000) == expected
