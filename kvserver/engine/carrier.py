"""The carrier: a greenlet that ticks run in, so that a long script can stand aside in the middle of one.

A hook of Lua can't yield through the calls of C that may lie below it; a greenlet carries these along, since it has a stack of
its own. It is always the same one, since to make one takes longer than to switch. While a tick stands aside, the event loop
goes on outside. Measured: to run a tick here takes half a microsecond more, so a server that has no scripts has no carrier.

This knows neither scripts nor clients.
"""

from __future__ import annotations

from collections.abc import Callable

from greenlet import GreenletExit, getcurrent, greenlet


class Carrier:
    """A greenlet for one piece of work at a time. All of its methods are called on the thread of the event loop."""

    def __init__(self) -> None:
        # Work runs here now, as against beside it.
        self.is_inside = False
        self._outside = getcurrent()
        self._greenlet: greenlet | None = None

    def run(self, work: Callable[[], None]) -> bool:
        """Run work. False if it stands aside: then `go_on` goes on with it. What it raises comes out here."""
        self._outside = getcurrent()
        carrying = self._greenlet
        if carrying is None or carrying.dead:
            carrying = self._greenlet = greenlet(self._serve)
        self.is_inside = True
        try:
            return bool(carrying.switch(work))
        finally:
            self.is_inside = False

    def go_on(self) -> bool:
        """Go on with what stands aside. The same as for `run`; True where it was ended meanwhile."""
        if self._greenlet is None or self._greenlet.dead:
            return True
        self._outside = getcurrent()
        self.is_inside = True
        try:
            return bool(self._greenlet.switch())
        finally:
            self.is_inside = False

    def stand_aside(self) -> None:
        """Let the loop go on, until it calls `go_on`. The work calls this. GreenletExit if the work is to end."""
        self._outside.switch(False)

    def end(self) -> None:
        """End what stands aside, by a GreenletExit where it does."""
        if self._greenlet is not None and not self._greenlet.dead:
            self._outside = getcurrent()
            self._greenlet.parent = getcurrent()
            self._greenlet.throw(GreenletExit)

    def _serve(self, work: Callable[[], None]) -> None:
        while True:
            work()
            work = self._outside.switch(True)
