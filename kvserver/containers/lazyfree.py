"""Large containers that nobody refers to any more, freed in short steps: a million members at once would stall the event loop.

A container gives its pieces away when it goes (`free`), and servers free them between commands (`free_some`). In a process
where no server runs, nobody would do so: there, pieces are freed at once. Several servers of a process, each in a thread of
its own, share what waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

# The pieces of so many of a container's last pages are freed one object at a time. Once the arenas of memory are nearly
# empty, an object that goes is often the last one of its arena, and to give one back takes the system some 100 µs.
# Measured: the last chunk of a million members took 23 ms at once.
LAST_PAGES: Final = 2
# The objects that such a step frees: one gives back one arena at most.
STEP: Final = 1


class _Container(NamedTuple):
    pages: list[list[Any]]
    contents: Callable[[Any], list[object]]
    # The pieces of a page that is gone, and the objects of a piece that is gone.
    pieces: list[Any]
    loose: list[object]


# An item for each server that frees. A list, since another thread can't come between while it is changed. It stands first,
# since the end of the interpreter takes names away in their order: who finds this one gone needs none of the others.
_servers: Final[list[None]] = []
_waiting: Final[list[_Container | Iterator[None]]] = []
_freed = 0
_ENDED: Final = object()


def begin() -> None:
    """Let containers wait from now on: a server frees them by `free_some` until it calls `end`."""
    _servers.append(None)


def end() -> None:
    """Free no more. When the last server ends, all that waits is freed at once."""
    _servers.pop()
    if not _servers:
        _waiting.clear()


def begun() -> bool:
    """True if there is a server that frees. At the end of the interpreter there is none."""
    return bool(_servers)


def free(pages: list[list[Any]], contents: Callable[[Any], list[object]]) -> None:
    """Let the pages of a container that is about to go wait until they are freed, if a server does that. Else do nothing.

    A page has some hundred pieces at most, and a piece some hundred members; what others refer to, too, is only let go of.
    `contents` gives the objects of a piece, which go in turn where the piece as a whole would take too long. The list of
    pages is used up.
    """
    if _servers:
        _waiting.append(_Container(pages, contents, [], []))
        # The last server may have ended meanwhile.
        if not _servers:
            _waiting.clear()


def free_in_steps(steps: Iterator[None]) -> None:
    """Let what an iterator holds wait until a server has it freed, a step of the iterator at a time. Else do nothing.

    This is for what has no pages: a tree, of which each step lets go of some.
    """
    if _servers:
        _waiting.append(steps)
        # The last server may have ended meanwhile.
        if not _servers:
            _waiting.clear()


def free_some() -> bool:
    """Free a piece, or some objects. Return True if something waited, so that there may be more; else nothing was done."""
    global _freed
    try:
        # No other thread finds the container meanwhile.
        container = _waiting.pop()
    except IndexError:
        return False
    if not isinstance(container, _Container):
        if next(container, _ENDED) is _ENDED:
            _freed += 1
        else:
            _waiting.append(container)
        return True
    pages, contents, pieces, loose = container
    if loose:
        del loose[-STEP:]
    elif not pieces:
        pieces += pages.pop()
    elif len(pages) < LAST_PAGES:
        loose += contents(pieces.pop())
    else:
        pieces.pop()
    if loose or pieces or pages:
        _waiting.append(container)
    else:
        _freed += 1
    return True


def pending() -> int:
    """The number of containers that wait."""
    return len(_waiting)


def freed() -> int:
    """The number of containers that were freed in steps so far."""
    return _freed
