"""Flushes that are due by themselves, on a clock that a test moves: how long one waits behind a try that failed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from helpers.sessions import Server
from kvserver.errors import MediumError
from kvserver.persistence import schedule as flushes_module
from kvserver.persistence.schedule import RETRY_AFTER_S, Flushes

START_S = 1000.0


class FailingSnapshots:
    """Snapshots that fail at once, as far as a test can see; `tries` has the times at which one was begun."""

    is_flushing = False

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.tries: list[float] = []

    def start_flush(self) -> asyncio.Task[None]:
        self.tries.append(self._setting.now_s)

        async def fail() -> None:
            self._setting.server.state.persistence.last_save_ok = False
            raise MediumError("no disk")

        task = asyncio.ensure_future(fail())
        task.add_done_callback(lambda done: done.exception())
        return task


class Setting:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = START_S
        monkeypatch.setattr(flushes_module, "time", SimpleNamespace(monotonic=lambda: self.now_s, time=lambda: self.now_s))
        self.server = Server()
        self.snapshots = FailingSnapshots(self)
        self.flushes = Flushes(self.server.state, self.snapshots, lambda: None)  # type: ignore[arg-type]

    async def let_pass(self, seconds: float) -> list[float]:
        """Ask a few times each second; when flushes were begun, in seconds from the start."""
        before = len(self.snapshots.tries)
        for _ in range(round(seconds * 4)):
            self.now_s += 0.25
            self.flushes.start_if_due()
            await asyncio.sleep(0)
        return [at - START_S for at in self.snapshots.tries[before:]]


@pytest.fixture
async def setting(monkeypatch: pytest.MonkeyPatch) -> Setting:
    return Setting(monkeypatch)


def reach_a_save_point(setting: Setting) -> None:
    setting.server.state.config.save = ((1, 1),)
    setting.server.keyspace.put(b"k", b"v")


def poison(setting: Setting) -> None:
    setting.server.state.persistence.medium_poisoned = "a sync failed"


def fail_the_journal(setting: Setting) -> None:
    setting.server.state.journal.error = "a write failed"


@pytest.mark.parametrize("cause", [poison, fail_the_journal])
async def test_way_back_from_a_failure_is_tried_every_five_seconds(setting: Setting, cause: object) -> None:
    assert RETRY_AFTER_S == 5
    assert callable(cause)
    cause(setting)
    assert await setting.let_pass(16) == [5, 10, 15]


async def test_save_point_that_failed_is_tried_again_after_five_seconds(setting: Setting) -> None:
    reach_a_save_point(setting)
    assert await setting.let_pass(11) == [0.25, 5.25, 10.25]


async def test_flush_that_somebody_asked_for_counts_as_a_try(setting: Setting) -> None:
    poison(setting)
    assert await setting.let_pass(4) == []
    setting.flushes.start()
    assert await setting.let_pass(4) == []
    assert await setting.let_pass(2) == [9]
