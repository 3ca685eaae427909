"""Signals that are held back while a script runs, out of which no exception comes: they act behind it.

Otherwise ctrl-C would be an error of the script, and the import would go on without what the script had yet to do.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_HELD: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class HeldSignals:
    """Signals for which this process has handlers of its own. Another thread than the main one gets none."""

    def __init__(self) -> None:
        self._come: list[tuple[int, FrameType | None]] = []

    @property
    def have_come(self) -> bool:
        """True if one has come that acts behind the block: it should end soon."""
        return bool(self._come)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold back signals that come in the block, and let the first of them act behind it."""
        handlers = {number: handler for number in _HELD if callable(handler := signal.getsignal(number))}
        try:
            for number in handlers:
                signal.signal(number, lambda number, frame: self._come.append((number, frame)))
        except ValueError:
            handlers = {}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            if self._come:
                (first, frame), self._come = self._come[0], []
                handlers[signal.Signals(first)](first, frame)
