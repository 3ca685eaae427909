"""Calls that block run off the loop, in their order, and give the loop what came of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from kvserver.persistence.disk import Disk


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    disk = Disk()
    yield disk
    disk.close()


async def test_calls_run_in_their_order_on_one_thread_of_their_own(disk: Disk) -> None:
    threads: list[int] = []
    order: list[int] = []

    def call(number: int) -> int:
        threads.append(threading.get_ident())
        order.append(number)
        return -number

    results = await asyncio.gather(*(disk.run(lambda number=number: call(number)) for number in range(100)))  # type: ignore[misc]
    assert results == [-number for number in range(100)]
    assert order == list(range(100))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_loop_goes_on_while_a_call_blocks(disk: Disk) -> None:
    may_end = threading.Event()
    blocked = disk.run(lambda: may_end.wait(60))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not blocked.done()
    may_end.set()
    assert await blocked


@pytest.mark.parametrize("error", [OSError("no"), SystemExit(3)], ids=["Exception", "BaseException"])
async def test_what_a_call_raises_is_raised_where_it_is_waited_for(disk: Disk, error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await disk.run(fail)
    assert caught.value is error
    assert await disk.run(lambda: "next") == "next"


async def test_call_that_is_cancelled_before_it_runs_does_not_run(disk: Disk) -> None:
    may_end, ran = threading.Event(), False

    def run() -> None:
        nonlocal ran
        ran = True

    first = disk.run(lambda: may_end.wait(60))
    second = disk.run(run)
    second.cancel()
    may_end.set()
    await first
    await disk.run(lambda: None)
    assert not ran


async def test_call_that_is_cancelled_while_it_runs_runs_to_its_end(disk: Disk) -> None:
    started, may_end, ended = threading.Event(), threading.Event(), False

    def run() -> None:
        nonlocal ended
        started.set()
        may_end.wait(60)
        ended = True

    call = disk.run(run)
    assert await asyncio.get_running_loop().run_in_executor(None, started.wait, 60)
    call.cancel()
    may_end.set()
    await disk.run(lambda: None)
    assert ended


async def test_close_waits_for_the_call_that_runs_and_cancels_those_behind_it() -> None:
    disk, started, ran = Disk(), threading.Event(), list[str]()

    def run() -> None:
        started.set()
        while not disk.is_closed:  # set before it waits for the thread
            time.sleep(0.001)
        ran.append("first")

    disk.run(run)
    behind = disk.run(run)
    assert await asyncio.get_running_loop().run_in_executor(None, started.wait, 60)
    disk.close()
    assert ran == ["first"]
    assert behind.cancelled()
    with pytest.raises(RuntimeError):
        disk.run(lambda: None)


async def test_disk_that_was_never_used_closes() -> None:
    Disk().close()


async def test_abandoned_disk_runs_nothing_more_and_tells_nothing() -> None:
    disk = Disk()
    begun, may_end, ran = threading.Event(), threading.Event(), list[int]()

    def first() -> None:
        begun.set()
        may_end.wait(60)
        ran.append(1)

    futures = [disk.run(first), disk.run(lambda: ran.append(2))]
    begun.wait(60)
    ending = threading.Timer(0.01, may_end.set)
    ending.start()
    disk.abandon()
    ending.join()
    futures.append(disk.run(lambda: ran.append(3)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert ran == [1]
    assert not any(future.done() for future in futures)


async def test_disk_that_is_forgotten_is_not_waited_for() -> None:
    disk = Disk()
    may_end, ran = threading.Event(), False

    def note() -> None:
        nonlocal ran
        ran = True

    # Others of its name may be left of other tests.
    others = set(threading.enumerate())
    running = disk.run(lambda: may_end.wait(60))
    (own,) = [thread for thread in threading.enumerate() if thread not in others]
    waiting = disk.run(note)
    disk.forget()
    may_end.set()
    # The thread ends behind the call that was running.
    await asyncio.to_thread(own.join, 60)
    await asyncio.sleep(0)
    assert not ran
    assert not any(future.done() for future in (running, waiting))
    assert not disk.run(note).done()
