"""Writing: what a call of a KVStore holds while it writes, in a `with` statement: the store's lock alone, or one of these.

So a store without a journal has nothing to ask, however many reasons there are not to write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn
from weakref import WeakMethod

from kvserver.errors import CacheFull, KVServerError
from kvserver.library.journal import Journal
from kvserver.library.once import Once
from kvserver.resp.request import Request


class Journaled:
    """The lock, and the journal that grows: a frame is written before it is too long, and what was written is settled.

    `flush`, a method of the store, writes such a frame. It is held weakly, so that the store goes when nobody uses it.
    RuntimeError, before anything happens, for a signal handler that comes amid (`once`).
    """

    def __init__(self, lock: Once, journal: Journal, flush: Callable[[Journal], None]) -> None:
        self._lock = lock
        self._journal = journal
        self._flush = WeakMethod(flush)
        # The number of records when the lock was taken.
        self._before = 0

    def __enter__(self) -> None:
        journal = self._journal
        if journal.is_always:
            # What would be written is to be synced, too.
            journal.syncing.refuse_if_amid()
        if journal.is_outgrown and (flush := self._flush()):
            self._lock.refuse_if_amid()
            flush(journal)
        self._lock.__enter__()
        self._before = journal.written

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        # What a signal handler raises may have come between a record and the change that it tells of. After a record, a store
        # itself raises CacheFull alone, and that where the two agree.
        if kind is not None and self._journal.written != self._before and kind is not CacheFull:
            self._journal.fail(f"a call was interrupted by {kind.__name__}")
        self._lock.__exit__()
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
