"""Work that is written for a workplace, done here: each call at once and in order, errors raised, nothing ever waited for."""

from __future__ import annotations

import asyncio

import pytest

from kvserver.persistence.workplace import Here, Workplace, finish


def fail() -> None:
    raise OSError("no disk")


async def work(place: Workplace, done: list[str]) -> int:
    first, second = place.run(lambda: done.append("first")), place.run(lambda: len(done))
    pace = place.pace()
    assert not pace.is_over
    await pace.next()
    given = await pace.run(iter([None, "step", None]))
    await first
    done.extend(filter(None, given))
    return await second


def test_calls_run_in_order_and_give_what_they_return() -> None:
    done: list[str] = []
    assert finish(work(Here(), done)) == 1
    assert done == ["first", "step"]


def test_error_of_a_call_is_raised() -> None:
    async def failing() -> None:
        await Here().run(fail)

    with pytest.raises(OSError, match="no disk"):
        finish(failing())


def test_work_that_waits_for_an_event_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match="event loop"):
        finish(asyncio.sleep(0))
