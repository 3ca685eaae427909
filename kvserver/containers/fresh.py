"""Members in lists that are new, counted for whoever keeps the garbage collector from looking through them. Pure.

Python's collector looks at each object in each list that is new to it. Where they are out of the cache, that takes some 60 ns
a member: 100 ms for the lists of a sorted set that has grown by some millions. Members are bytes, so that there is nothing to
find. So who makes such lists notes how long they are, and when there are many, a server puts away all objects that are there
(`gc.freeze`), which takes some microseconds, however many they are. Where no server runs, nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# The collector may look through so many members at once.
MOST_MEMBERS: Final = 8192

# What each server that runs has given to `begin`. A list, since another thread can't come between while it is changed.
_servers: Final[list[Callable[[], None]]] = []
_noted = 0


def begin(put_away: Callable[[], None]) -> None:
    """Call a function whenever many members were noted, until `end` is called."""
    _servers.append(put_away)


def end() -> None:
    """Call the function no more that `begin` was given last."""
    _servers.pop()


def note(members: int) -> None:
    """Note that a list or a tuple of so many members was made, or a dict that the collector looks through."""
    global _noted
    _noted += members
    if _noted > MOST_MEMBERS:
        _noted = 0
        for put_away in _servers[-1:]:
            put_away()
