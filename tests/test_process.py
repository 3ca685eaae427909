"""process: what is told of this process is true, with and without /proc."""

from __future__ import annotations

import builtins
import os
import sys
import types
from typing import Any

import pytest

from kvserver.data.keyspace import Keyspace
from kvserver.system import read_process_facts

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
