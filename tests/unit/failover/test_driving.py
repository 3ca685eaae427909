"""Steps on a disk's thread, whose waits are the loop's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator

import pytest

from kvserver.errors import Refused
from kvserver.failover.driving import drive
from kvserver.persistence.disk import Disk


async def test_steps_run_on_the_thread_and_give_their_result() -> None:
    disk, threads = Disk(), []

    def steps() -> Generator[float, None, str]:
        for _ in range(3):
            threads.append(threading.current_thread())
            yield 0.001
        return "done"

    assert await drive(disk, steps()) == "done"
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()
    disk.close()


async def test_failure_of_a_step_is_the_futures() -> None:
    disk = Disk()

    def steps() -> Generator[float, None, None]:
        yield 0.0
        raise Refused("no")

    with pytest.raises(Refused):
        await drive(disk, steps())
    disk.close()


async def test_no_step_runs_for_one_who_has_cancelled() -> None:
    disk, count = Disk(), 0
    ran = asyncio.Event()
    loop = asyncio.get_running_loop()

    def steps() -> Generator[float, None, None]:
        nonlocal count
        while True:
            count += 1
            loop.call_soon_threadsafe(ran.set)
            yield 0.0

    done = drive(disk, steps())
    await ran.wait()
    done.cancel()
    # What was under way ends before this.
    await disk.run(lambda: None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    before = count
    for _ in range(10):
        await asyncio.sleep(0)
    assert count == before
    disk.close()
