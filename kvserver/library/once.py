"""Once: a lock that a thread has once at a time, so that a signal handler that comes amid a step is told, and breaks nothing.

A handler runs in the thread that it interrupts, which may be half-way through a change: an RLock would let it in there, and
with a Lock it would wait for itself.
"""

from __future__ import annotations

from threading import RLock, get_ident

AMID = (
    "a signal handler (or a finalizer) has interrupted a call of this store, and can't do this meanwhile: let it set a flag, "
    "which the program looks at"
)


class Once:
    """A lock, or a way to take one that others take as it is. RuntimeError if the thread is within it already."""

    def __init__(self, lock: RLock | None = None) -> None:
        self._lock = lock or RLock()
        # The thread that is within. A handler that comes before this is set, or behind its end, is done before what follows.
        self._owner = 0

    def __enter__(self) -> None:
        self._lock.acquire()
        # Whoever has the lock finds nobody's number here but its own.
        if self._owner:
            self._lock.release()
            raise RuntimeError(AMID)
        self._owner = get_ident()

    def __exit__(self, *exception: object) -> None:
        self._owner = 0
        self._lock.release()

    def refuse_if_amid(self) -> None:
        """Raise RuntimeError if this thread is within."""
        if self._owner == get_ident():
            raise RuntimeError(AMID)
