"""Progress of long work on a terminal: one line on standard error that is written over. Silent elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Progress:
    """Shows how much of `total()` is done, a few times a second. Use in a `with` statement."""

    def __init__(self, what: str, total: Callable[[], int]) -> None:
        self._what = what
        self._total = total
        self._shown_at = time.monotonic()  # so that work that takes less than the interval shows nothing
        self._is_shown = False
        self._terminal = sys.stderr if sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def update(self, done: int) -> None:
        if self._terminal and time.monotonic() - self._shown_at > 0.2:
            self._shown_at, self._is_shown = time.monotonic(), True
            total = self._total()
            percent = 100 * done // total if total else 100
            self._terminal.write(f"\r\033[K{self._what}: {percent} %")
            self._terminal.flush()

    def __exit__(self, *exception: object) -> None:
        if self._terminal and self._is_shown:
            self._terminal.write("\r\033[K")
            self._terminal.flush()
