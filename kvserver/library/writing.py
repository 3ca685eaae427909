"""Writing: what a call of a KVStore holds while it writes, in a `with` statement: the store's lock alone, or one of these.

So a store without a journal has nothing to ask, however many reasons there are not to write.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import NoReturn
from weakref import WeakMethod

from kvserver.errors import KVServerError
from kvserver.library.journal import Journal
from kvserver.resp.request import Request


class Journaled:
    """The lock, and the journal that grows: a frame is written before it is too long, and what was written is settled.

    `flush`, a method of the store, writes such a frame. It is held weakly, so that the store goes when nobody uses it.
    """

    def __init__(self, lock: RLock, journal: Journal, flush: Callable[[Journal], None]) -> None:
        self._lock = lock
        self._journal = journal
        self._flush = WeakMethod(flush)

    def __enter__(self) -> None:
        if self._journal.is_outgrown and (flush := self._flush()):
            flush(self._journal)
        self._lock.acquire()

    def __exit__(self, kind: object, *exception: object) -> None:
        self._lock.release()
        if kind is None:
            self._journal.settle()


class Refused:
    """No lock: whoever comes is told why nothing can be written. `error` is called with the reason.

    It is a journal, too, for one who has waited for the lock while the store was closed.
    """

    def __init__(self, error: type[KVServerError], reason: str) -> None:
        self._error = error
        self._reason = reason

    def __enter__(self) -> NoReturn:
        raise self._error(self._reason)

    def __exit__(self, *exception: object) -> None:
        """Do nothing: nobody comes here."""

    def write(self, commands: list[Request]) -> NoReturn:
        """Raise the error."""
        raise self._error(self._reason)
