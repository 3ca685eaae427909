"""The records: the commands that repeat what was written, of all databases of a server together, in their order.

They are what the journal writes, WATCH looks through and save points count. A request that was not recorded in database 0 has
the number of its database beside it, so that nothing of this is on the path of database 0. Pure; never writes to the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from kvserver.resp.request import Request


class Observer(Protocol):
    """An object that is told what becomes of the keys (`Watches`, `Tracking`). A number is that of a database."""

    def before_taking(self) -> None:
        """Take notice that the records are about to be taken."""

    def before_replacing(self, number: int) -> None:
        """Take notice that all data of a database is about to be replaced."""

    def after_replacing(self, number: int) -> None:
        """Take notice that all data of a database was replaced."""

    def wrote_beside(self, number: int, key: bytes) -> None:
        """Take notice of a key that was written by a command of another database."""


class Records:
    """What was written, in order. A position is the number of records since the start.

    `observers` are told what becomes of the keys. `expiries` counts the records of keys and members that have expired.
    """

    def __init__(self) -> None:
        # Another tuple for each change, since an observer may leave while all are told.
        self.observers: tuple[Observer, ...] = ()
        self.expiries = 0
        # The records that were not taken, always the same list.
        self._written: list[Request] = []
        # The databases of those records that were not made in database 0, by their place in the list.
        self._elsewhere: dict[int, int] = {}
        # The number of records that were taken since the start.
        self._taken = 0
        # What lies behind this position is not taken, since it is half of something.
        self._kept_from: int | None = None

    def recorders(self, number: int) -> tuple[Callable[[Request], None], Callable[[Iterable[Request]], None]]:
        """The functions that record a request, and several, in the database of this number."""
        written, elsewhere = self._written, self._elsewhere
        if not number:
            return written.append, written.extend

        def record(request: Request) -> None:
            elsewhere[len(written)] = number
            written.append(request)

        def record_all(requests: Iterable[Request]) -> None:
            for request in requests:
                record(request)

        return record, record_all

    def attend(self, observer: Observer) -> None:
        """Tell this observer, too, from now on, if it is none yet."""
        if observer not in self.observers:
            self.observers += (observer,)

    def leave(self, observer: Observer) -> None:
        """Tell this observer nothing more."""
        self.observers = tuple(each for each in self.observers if each is not observer)

    @property
    def changes(self) -> int:
        """The number of write commands since the start: save points and INFO subtract the number that they last saw.

        As in Redis, a key or a member that expires is no change.
        """
        return self.position - self.expiries

    @property
    def position(self) -> int:
        """The number of all records since the start, for `since`."""
        return self._taken + len(self._written)

    @property
    def whole(self) -> int:
        """The position up to which no record is half of something."""
        return self.position if self._kept_from is None else self._kept_from

    @property
    def has_any(self) -> bool:
        """True if there is a record to take."""
        return len(self._written) > 0 and (self._kept_from is None or self._kept_from > self._taken)

    def keep_from(self, position: int | None) -> None:
        """Let nothing behind a position be taken, since it is half of what is one record of the journal; None ends that."""
        self._kept_from = position

    def take(self) -> list[Request]:
        """The records since the last call, in order, with a SELECT where the database changes. They begin and end in 0."""
        for observer in self.observers:
            observer.before_taking()
        if self._kept_from is not None:
            return self._take_some(self._kept_from - self._taken)
        taken = self._with_selects() if self._elsewhere else self._written.copy()
        self._taken += len(self._written)
        self._written.clear()
        self._elsewhere.clear()
        return taken

    def _take_some(self, count: int) -> list[Request]:
        """Take so many records. The lists stay the same ones, since whoever records holds them."""
        rest, rest_elsewhere = self._written[count:], dict(self._elsewhere)
        del self._written[count:]
        for place in [place for place in self._elsewhere if place >= count]:
            del self._elsewhere[place]
        taken = self._with_selects() if self._elsewhere else self._written.copy()
        self._taken += count
        self._written[:] = rest
        self._elsewhere.clear()
        self._elsewhere.update({place - count: number for place, number in rest_elsewhere.items() if place >= count})
        return taken

    def _with_selects(self) -> list[Request]:
        requests: list[Request] = []
        selected = 0
        for place, request in enumerate(self._written):
            number = self._elsewhere.get(place, 0)
            if number != selected:
                requests.append([b"SELECT", b"%d" % number])
                selected = number
            requests.append(request)
        return [*requests, [b"SELECT", b"0"]] if selected else requests

    def since(self, position: int) -> list[tuple[int, Request]]:
        """The records behind this position, but for those that were taken, each with its database. This takes none."""
        start = max(0, position - self._taken)
        elsewhere = self._elsewhere
        return [(elsewhere.get(place, 0), request) for place, request in enumerate(self._written[start:], start)]
