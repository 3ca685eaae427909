"""The way to a server's event loop from any thread: a call is run there, and its result comes back.

Knows nothing of servers. What uses it may be called on the loop itself, too: then the call is run at once.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from kvserver.errors import NotRunning

T = TypeVar("T")


class OnLoop:
    """Runs calls on the event loop that `begin` has named, until `end`.

    Every call raises NotRunning if there is no loop, if it ends before the call was run, or in a process that was forked
    from the one where it runs.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process_id = 0
        # A call is handed over or refused, and none is handed to a loop that runs it no more.
        self._handing_over = threading.RLock()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run calls on this loop, which runs in this process."""
        self._loop, self._process_id = loop, os.getpid()

    def end(self) -> None:
        """Run no calls any more. On the loop itself, it still begins those that were handed over before."""
        with self._handing_over:
            self._loop = None

    @property
    def is_begun(self) -> bool:
        """True between `begin` and `end`."""
        return self._loop is not None

    @property
    def is_elsewhere(self) -> bool:
        """True in a process that was forked from the one where the loop runs: here nobody ever would run a call."""
        return self._process_id not in (0, os.getpid())

    def run(self, call: Callable[[], T]) -> T:
        """Run a call on the loop; return and raise what it does. Other threads wait for its end."""
        loop = self._present()
        if _is_running_here(loop):
            return call()

        async def run() -> T:
            return call()

        return self._wait_for(run())

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, for a thread that may wait for its end. RuntimeError on the loop itself."""
        try:
            loop = self._present()
            if _is_running_here(loop):
                raise RuntimeError("the event loop can't wait for itself: await the server's own method")
        except BaseException:
            work.close()
            raise
        return self._wait_for(work)

    def must_be_here(self) -> None:
        """Raise NotRunning in a process that was forked off."""
        if self.is_elsewhere:
            raise NotRunning(
                f"the server runs in process {self._process_id}, from which this one was forked: start another one here"
            )

    def _present(self) -> asyncio.AbstractEventLoop:
        self.must_be_here()
        if self._loop is None:
            raise NotRunning("the server does not run: it was not started, or has ended")
        return self._loop

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            with self._handing_over:
                future = asyncio.run_coroutine_threadsafe(work, self._present())
        except RuntimeError as error:
            work.close()
            raise NotRunning("the server does not run: its event loop is closed") from error
        except NotRunning:
            work.close()
            raise
        try:
            return future.result()
        except CancelledError as error:
            raise NotRunning("the server has ended meanwhile") from error


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
