"""The schedule of flushes: which of them begins when, and how long one waits behind a try that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import cast

import pytest

from helpers.sessions import Server, run, text
from kvserver.errors import CommandError, MediumError
from kvserver.persistence import schedule as flushes_module
from kvserver.persistence.schedule import RETRY_AFTER_S, REWRITE_HINDERS_SAVE, SAVE_IN_PROGRESS, Schedule
from kvserver.persistence.snapshots import Snapshots
from kvserver.resp.reply import OK, Reply

pytestmark = pytest.mark.timeout(20)


class Gated:
    """Snapshots whose flushes end one by one, by `finish`, and note which changes they hold."""

    def __init__(self, server: Server) -> None:
        self.started = 0
        self.fails = False
        self._server = server
        self._gate: asyncio.Event = asyncio.Event()
        self._flush: asyncio.Task[None] | None = None

    @property
    def is_flushing(self) -> bool:
        return self._flush is not None

    def start_flush(self) -> asyncio.Task[None]:
        assert not self._flush
        self.started += 1
        self._gate = asyncio.Event()
        self._flush = asyncio.create_task(self._run(self._server.keyspace.records.changes))
        return self._flush

    async def _run(self, changes: int) -> None:
        await self._gate.wait()
        self._flush = None
        if self.fails:
            raise MediumError("the medium fails")
        self._server.state.persistence.changes_at_last_save = changes

    async def wait(self) -> None:
        while self._flush:
            await asyncio.wait([self._flush])

    async def finish(self) -> None:
        """Let the flush that runs end, and what waits for it go on."""
        self._gate.set()
        await settle()


async def settle() -> None:
    """Let all run that can, whatever it starts."""
    for _ in range(10):
        await asyncio.sleep(0)


class Setting:
    def __init__(self) -> None:
        self.server = Server()
        self.snapshots = Gated(self.server)
        self.schedule = Schedule(self.server.state, cast(Snapshots, self.snapshots))
        self.session = self.server.session()

    def write(self) -> None:
        run(self.session, "SET", "k", "v")

    async def begin(self, reply: Awaitable[Reply]) -> asyncio.Future[Reply]:
        waiting = asyncio.ensure_future(reply)
        await settle()
        return waiting

    def bgsave(self, *, schedule: bool = False, in_transaction: bool = False) -> str:
        return text(self.schedule.save_in_background(schedule=schedule, in_transaction=in_transaction))


STARTED, SCHEDULED = "Background saving started", "Background saving scheduled"


async def test_present_data_is_saved_by_a_flush_that_begins_at_once() -> None:
    setting = Setting()
    setting.write()
    waiting = await setting.begin(setting.schedule.save_present())
    assert (setting.snapshots.started, waiting.done()) == (1, False)
    await setting.snapshots.finish()
    assert await waiting is OK
    assert setting.snapshots.started == 1


async def test_flush_that_began_before_is_followed_by_one_that_holds_the_present_data() -> None:
    setting = Setting()
    setting.write()
    assert setting.bgsave() == STARTED
    setting.write()
    first = await setting.begin(setting.schedule.save_present())
    second = await setting.begin(setting.schedule.save_present())
    await setting.snapshots.finish()
    assert (setting.snapshots.started, first.done(), second.done()) == (2, False, False)
    await setting.snapshots.finish()
    assert await first is await second is OK
    assert setting.snapshots.started == 2, "both are in the one flush"


async def test_present_data_that_cannot_be_saved_is_an_error_after_one_try() -> None:
    setting = Setting()
    setting.write()
    setting.snapshots.fails = True
    waiting = await setting.begin(setting.schedule.save_present())
    await setting.snapshots.finish()
    with pytest.raises(CommandError, match="ERR the medium fails"):
        await waiting
    assert setting.snapshots.started == 1


async def test_failure_of_the_flush_before_is_not_that_of_the_present_data() -> None:
    setting = Setting()
    setting.snapshots.fails = True
    setting.bgsave()
    setting.write()
    waiting = await setting.begin(setting.schedule.save_present())
    await setting.snapshots.finish()
    setting.snapshots.fails = False
    await setting.snapshots.finish()
    assert await waiting is OK


async def test_bgsave_beside_another_one_is_refused_even_when_it_could_be_scheduled() -> None:
    setting = Setting()
    assert setting.bgsave() == STARTED
    for schedule in (False, True):
        with pytest.raises(CommandError, match=SAVE_IN_PROGRESS):
            setting.bgsave(schedule=schedule)
    await setting.snapshots.finish()
    assert setting.snapshots.started == 1


async def test_bgsave_beside_a_rewrite_is_refused_unless_it_is_to_follow() -> None:
    setting = Setting()
    setting.schedule.rewrite(in_transaction=False)
    with pytest.raises(CommandError) as refused:
        setting.bgsave()
    assert str(refused.value) == REWRITE_HINDERS_SAVE
    assert setting.bgsave(schedule=True) == setting.bgsave(schedule=True) == SCHEDULED
    assert setting.snapshots.started == 1
    await setting.snapshots.finish()
    assert setting.snapshots.started == 2
    assert not setting.server.state.journal.rewrite_in_progress
    await setting.snapshots.finish()
    assert setting.snapshots.started == 2, "it was asked for twice, and nothing came between"


async def test_bgsave_schedule_begins_at_once_where_nothing_hinders_it() -> None:
    setting = Setting()
    assert setting.bgsave(schedule=True) == STARTED
    assert setting.snapshots.started == 1


async def test_bgsave_of_a_transaction_follows_what_begins_before_it_can() -> None:
    setting = Setting()
    assert setting.bgsave(in_transaction=True) == SCHEDULED
    assert setting.snapshots.started == 0
    setting.bgsave()  # of another client, in the same tick
    await settle()
    assert setting.snapshots.started == 1
    await setting.snapshots.finish()
    assert setting.snapshots.started == 2


async def test_save_beside_a_rewrite_answers_when_what_is_there_is_saved() -> None:
    setting = Setting()
    setting.write()
    setting.schedule.rewrite(in_transaction=False)
    setting.write()
    waiting = await setting.begin(setting.schedule.save())
    await setting.snapshots.finish()
    assert not waiting.done()
    await setting.snapshots.finish()
    assert await waiting is OK


# --- Schedule that are due by themselves, on a clock that a test moves ---

START_S = 1000.0


class FailingSnapshots:
    """Snapshots that fail at once, as far as a test can see; `tries` has the times at which one was begun."""

    is_flushing = False

    def __init__(self, due: Due) -> None:
        self._due = due
        self.tries: list[float] = []

    def start_flush(self) -> asyncio.Task[None]:
        self.tries.append(self._due.now_s)

        async def fail() -> None:
            self._due.server.state.persistence.last_save_ok = False
            raise MediumError("no disk")

        task = asyncio.ensure_future(fail())
        task.add_done_callback(lambda done: done.exception())
        return task


class Due:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = START_S
        monkeypatch.setattr(flushes_module, "time", SimpleNamespace(monotonic=lambda: self.now_s, time=lambda: self.now_s))
        self.server = Server()
        self.snapshots = FailingSnapshots(self)
        self.schedule = Schedule(self.server.state, self.snapshots)  # type: ignore[arg-type]

    async def let_pass(self, seconds: float) -> list[float]:
        """Ask a few times each second; when flushes were begun, in seconds from the start."""
        before = len(self.snapshots.tries)
        for _ in range(round(seconds * 4)):
            self.now_s += 0.25
            self.schedule.start_if_due()
            await asyncio.sleep(0)
        return [at - START_S for at in self.snapshots.tries[before:]]


@pytest.fixture
async def due(monkeypatch: pytest.MonkeyPatch) -> Due:
    return Due(monkeypatch)


def reach_a_save_point(due: Due) -> None:
    due.server.state.config.save = ((1, 1),)
    due.server.keyspace.put(b"k", b"v")


def poison(due: Due) -> None:
    due.server.state.persistence.medium_poisoned = "a sync failed"


def fail_the_journal(due: Due) -> None:
    due.server.state.journal.error = "a write failed"


@pytest.mark.parametrize("cause", [poison, fail_the_journal])
async def test_way_back_from_a_failure_is_tried_every_five_seconds(due: Due, cause: object) -> None:
    assert RETRY_AFTER_S == 5
    assert callable(cause)
    cause(due)
    assert await due.let_pass(16) == [5, 10, 15]


async def test_save_point_that_failed_is_tried_again_after_five_seconds(due: Due) -> None:
    reach_a_save_point(due)
    assert await due.let_pass(11) == [0.25, 5.25, 10.25]


async def test_flush_that_somebody_asked_for_counts_as_a_try(due: Due) -> None:
    poison(due)
    assert await due.let_pass(4) == []
    due.schedule.start()
    assert await due.let_pass(4) == []
    assert await due.let_pass(2) == [9]
