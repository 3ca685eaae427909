"""The work of a command on documents: what it may still look at, and the steps in which it goes on. Pure.

What takes long is a generator of steps (`data.steps`). Who can't let others have their turn takes all steps `at_once`.
"""

from __future__ import annotations

from collections.abc import Iterator
from sys import maxsize
from typing import Final, TypeVar

from kvserver.errors import CommandError

T = TypeVar("T")

# The values that one command may look at, which takes some ten seconds. A path such as `$..*..*..*` looks at each many times.
MOST_WORK: Final = 1 << 24
# A step looks at so many values, ...
STEP_VALUES: Final = 512
# ... and each piece of it takes the time of so many more.
PIECE_VALUES: Final = 8


class Work:
    """What a command may still look at, `left`, in values."""

    __slots__ = ("_ends_at", "left")

    def __init__(self, left: int = MOST_WORK) -> None:
        self.left = left
        # The step ends when no more than that is left.
        self._ends_at = left - STEP_VALUES

    @classmethod
    def unlimited(cls) -> Work:
        """The work of a command that was accepted before, when less may have had to be looked at."""
        return cls(maxsize)

    def spend(self, values: int) -> None:
        """Take notice that so many values are looked at. CommandError if these are too many."""
        self.left -= values
        if self.left < 0:
            raise CommandError("ERR path looks at too many values")

    def is_due(self) -> bool:
        """Return True if a step ends here: it is asked behind each piece of the work."""
        self._ends_at += PIECE_VALUES
        if self.left > self._ends_at:
            return False
        self._ends_at = self.left - STEP_VALUES
        return True


def pieces(items: list[T], size: int = STEP_VALUES // 2) -> Iterator[list[T]]:
    """Cut a list into pieces, each of which is part of a step."""
    return (items[start : start + size] for start in range(0, len(items), size))
