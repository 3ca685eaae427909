"""Long work in slices: the event loop goes round between them, and they are longer where no command comes in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.slow_medium import Setting
from kvserver.persistence import slices
from kvserver.persistence.disk import Disk
from kvserver.persistence.slices import IDLE_SHARE, IDLE_SLICE_S, SLICE_S, BesideLoop, Slices
from kvserver.state.statistics import Counters, PersistenceFacts


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.close()


async def test_loop_goes_on_between_the_slices_of_flush_fold_and_load(disk: Disk) -> None:
    """A clock that stands nearly still: without it the count of turns would depend on the machine."""
    setting = Setting(disk)
    for number in range(20_000):
        setting.set(f"key:{number}", "value")
    now = 0.0

    def tick() -> float:
        nonlocal now
        now += slices.SLICE_S / 4
        return now

    async def turns_while(task: asyncio.Task[Any]) -> int:
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        await task
        return turns

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "time", SimpleNamespace(perf_counter=tick))
        assert await turns_while(setting.snapshots.start_flush()) > 20_000 / 64 / 8
        assert await turns_while(asyncio.create_task(setting.snapshots.load())) > 20_000 / 200 / 8


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(slices, "time", clock)
    return clock


def length_of(pace: Slices, clock: Clock) -> float:
    """The seconds that a slice lasts, measured to a microsecond."""
    began_at = clock.now_s
    while not pace.is_over:
        clock.now_s += 1e-6
    return clock.now_s - began_at


async def test_slice_is_short_while_commands_come_in_and_grows_with_the_time_since_the_last_one(clock: Clock) -> None:
    counters = Counters()
    pace = Slices(counters, PersistenceFacts())
    assert length_of(pace, clock) == pytest.approx(SLICE_S, abs=2e-6)
    clock.now_s += 0.002
    await pace.next()
    assert length_of(pace, clock) == pytest.approx(IDLE_SHARE * (0.002 + SLICE_S), abs=3e-6)
    clock.now_s += 60
    await pace.next()
    assert length_of(pace, clock) == pytest.approx(IDLE_SLICE_S, abs=2e-6)
    counters.commands_processed += 1
    await pace.next()
    assert length_of(pace, clock) == pytest.approx(SLICE_S, abs=2e-6)


async def test_slice_is_long_while_the_server_loads_whatever_comes_in(clock: Clock) -> None:
    counters, facts = Counters(), PersistenceFacts()
    facts.loading = True
    pace = Slices(counters, facts)
    counters.commands_processed += 1
    await pace.next()
    assert length_of(pace, clock) == pytest.approx(IDLE_SLICE_S, abs=2e-6)
    facts.loading = False
    counters.commands_processed += 1
    await pace.next()
    assert length_of(pace, clock) == pytest.approx(SLICE_S, abs=2e-6)


async def test_run_gives_what_its_steps_gave_and_lets_others_run_whenever_a_slice_is_over(clock: Clock) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counters = Counters()

    def steps() -> Iterator[int | None]:
        for number in range(100):
            counters.commands_processed += 1
            clock.now_s += SLICE_S / 3.9  # four of these are a slice
            yield number if number % 2 else None

    counting = asyncio.create_task(others())
    assert await Slices(counters, PersistenceFacts()).run(steps()) == list(range(1, 100, 2))
    counting.cancel()
    assert 24 <= turns <= 26


async def test_server_works_at_its_disk_and_in_slices(disk: Disk) -> None:
    workplace = BesideLoop(disk, Counters(), PersistenceFacts())
    assert await workplace.run(threading.get_ident) != threading.get_ident()
    assert type(workplace.pace()) is Slices
