"""The one place where an executor is used: calls that block run here, in their order, off the event loop.

One thread, so that what is submitted first happens first, and a medium is never used by two threads at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Disk:
    """Runs blocking calls for the event loop that is running."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kvserver-disk")

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Start a call; the future gives what it returns or raises."""
        return asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Wait for the call that is running and forget those behind it."""
        self._executor.shutdown(wait=True, cancel_futures=True)
