"""A call runs on a server's event loop, from whatever thread it comes, or one clear error tells why it can't."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kvserver.control.onloop import OnLoop
from kvserver.errors import NotRunning


@contextmanager
def loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def thread_of_a_coroutine() -> int:
    return threading.get_ident()


def test_call_of_another_thread_runs_on_the_loop_and_comes_back() -> None:
    on_loop = OnLoop()
    with loop_in_a_thread() as loop:
        on_loop.begin(loop)
        assert on_loop.run(threading.get_ident) == on_loop.wait_for(thread_of_a_coroutine()) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            on_loop.run(lambda: 1 // 0)


async def test_call_on_the_loop_itself_runs_at_once_and_never_waits() -> None:
    on_loop = OnLoop()
    on_loop.begin(asyncio.get_running_loop())
    assert on_loop.run(threading.get_ident) == threading.get_ident()
    with pytest.raises(RuntimeError, match="await the server's own method"):
        on_loop.wait_for(thread_of_a_coroutine())


def test_where_no_loop_runs_a_call_is_an_error() -> None:
    on_loop = OnLoop()
    with pytest.raises(NotRunning, match="was not started, or has ended"):
        on_loop.run(threading.get_ident)
    with loop_in_a_thread() as loop:
        on_loop.begin(loop)
    with pytest.raises(NotRunning, match="its event loop is closed"):
        on_loop.run(threading.get_ident)
    on_loop.end()
    with pytest.raises(NotRunning, match="was not started, or has ended"):
        on_loop.wait_for(thread_of_a_coroutine())


def test_call_that_the_end_of_the_loop_overtakes_is_an_error() -> None:
    on_loop = OnLoop()
    started = threading.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    async def end_all() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    with loop_in_a_thread() as loop:
        on_loop.begin(loop)

        def end() -> None:
            started.wait()
            asyncio.run_coroutine_threadsafe(end_all(), loop)

        ending = threading.Thread(target=end)
        ending.start()
        with pytest.raises(NotRunning, match="has ended meanwhile"):
            on_loop.wait_for(wait())
        ending.join()


def test_in_a_forked_process_a_call_is_an_error() -> None:
    on_loop = OnLoop()
    with loop_in_a_thread() as loop:
        on_loop.begin(loop)
        assert not on_loop.is_elsewhere
        # What a fork changes is the number of the process.
        on_loop._process_id = os.getpid() + 1
        assert on_loop.is_elsewhere
        with pytest.raises(NotRunning, match=rf"runs in process {os.getpid() + 1}, from which this one was forked"):
            on_loop.run(threading.get_ident)
