"""The thread for calls that block: they run here, in their order, off the event loop.

There is one thread, so that what is submitted first happens first, and a medium is never used by two threads at once. It has
a queue and a callback instead of an executor, whose futures take the interpreter's lock a dozen times on the way there and
back, while the loop's thread waits for that lock. This module never looks at what a call does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Call = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Disk:
    """One thread, which runs blocking calls for the event loop that is running. The first call starts the thread."""

    def __init__(self) -> None:
        self.is_closed = False
        self._is_abandoned = False
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Start a call behind those before it; the future gives what it returns or raises. RuntimeError after `close`."""
        if self._is_abandoned:
            return asyncio.get_running_loop().create_future()
        if self.is_closed:
            raise RuntimeError("the disk is closed: nothing runs there any more")
        if not self._thread:
            self._thread = threading.Thread(target=self._work, name="kvserver-disk", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put((call, future, loop))
        return future

    def close(self) -> None:
        """Wait for the call that is running and cancel those behind it. Only the event loop's thread may call this."""
        self.is_closed = True
        self._calls.put(None)
        if self._thread:
            self._thread.join()
        with suppress(Empty):
            while True:
                if task := self._calls.get_nowait():
                    task[1].cancel()

    def abandon(self) -> None:
        """Run nothing any more, as if the process had been killed: no future of a call gets a result, nor fails.

        This waits for the call that is running, since a thread can't be stopped within one.
        """
        self._is_abandoned = self.is_closed = True
        self._calls.put(None)
        if self._thread:
            self._thread.join()

    def forget(self) -> None:
        """Run nothing any more, and don't wait for the call that is running: it may wait for a network.

        No future of a call gets a result, nor fails.
        """
        self._is_abandoned = self.is_closed = True
        self._calls.put(None)

    def _work(self) -> None:
        while not self.is_closed and (task := self._calls.get()):
            call, future, loop = task
            if future.cancelled():
                continue
            result, error = None, None
            try:
                result = call()
            except BaseException as raised:
                error = raised
            # RuntimeError: the loop is closed, so nobody waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._settle, future, result, error)
            del task, call, future, result, error

    def _settle(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        if future.done() or self._is_abandoned:
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(result)
