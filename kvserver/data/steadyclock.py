"""The clock of the data, which stands still while commands run: as in Redis, a command sees one time from start to end.

A command looks at the time more than once: a key that was there at the first look must not be gone at the second. Pure.
"""

from __future__ import annotations

from collections.abc import Callable


class SteadyClock:
    """A clock over another one, `now_ms` (Unix milliseconds). While it is held, it tells the time of its first look."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._is_held = False
        # The time that it tells while it is held, or None before the first look: most commands never ask.
        self._at_ms: int | None = None

    def hold(self) -> None:
        """Tell one time from now on, until `release`; a new one, if the clock is held already."""
        self._is_held = True
        self._at_ms = None

    def release(self) -> None:
        """Go on."""
        self._is_held = False

    def now_ms(self) -> int:
        """The Unix time in milliseconds."""
        if not self._is_held:
            return self._now_ms()
        if self._at_ms is None:
            self._at_ms = self._now_ms()
        return self._at_ms
