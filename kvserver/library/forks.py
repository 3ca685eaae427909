"""Forks: what must be put right in a process that was forked off, where of all threads only the one that forked is left.

A lock that another thread held is held there for ever, and the files are those of the process that opened them. The objects
that have either are told of the fork, in the new process, before its first step.
"""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakValueDictionary


class Forked(Protocol):
    """An object that must be told."""

    def after_fork(self) -> None:
        """Take note that this process was forked off, and has one thread: it must not wait for any other."""


# Mappings can't be members of a set.
_present: Final = WeakValueDictionary[int, Forked]()


def mind_forks(whom: Forked) -> None:
    """Tell this object, for as long as it is there, of each fork, in the process that was forked off."""
    _present[id(whom)] = whom


def of_other_process(process: int) -> str:
    """The one line that says why a store can't be used here, which was opened in another process."""
    return f"the store was opened in process {process}, from which this one was forked: open one here"


def _tell() -> None:
    for reference in _present.valuerefs():
        whom = reference()
        if whom is not None:
            whom.after_fork()


os.register_at_fork(after_in_child=_tell)
