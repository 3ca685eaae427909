"""Whoever writes holds the lock, and settles what was written when it is let go; or is told why nothing can be written."""

from __future__ import annotations

from threading import RLock
from typing import cast

import pytest

from kvserver.errors import StoreClosed
from kvserver.library.journal import Journal
from kvserver.library.once import Once
from kvserver.library.writing import Journaled, Refused


class Told:
    """A journal that writes down what it is asked to do, and a store that flushes."""

    is_always = is_outgrown = False
    written = 0

    def __init__(self) -> None:
        self.told: list[str] = []

    def settle(self) -> None:
        self.told.append("settle")

    def flush(self, journal: Journal) -> None:
        self.told.append("flush")


def test_lock_is_held_within_and_settled_behind() -> None:
    told = Told()
    lock = RLock()
    writing = Journaled(Once(lock), cast(Journal, told), told.flush)
    with writing:
        assert lock._is_owned()  # type: ignore[attr-defined]
        assert told.told == []
    assert not lock._is_owned()  # type: ignore[attr-defined]
    assert told.told == ["settle"]
    told.is_outgrown = True
    with pytest.raises(KeyError), writing:
        raise KeyError
    assert not lock._is_owned()  # type: ignore[attr-defined]
    assert told.told == ["settle", "flush"], "what has failed is settled"


def test_who_is_refused_is_told_why_before_anything_happens() -> None:
    with pytest.raises(StoreClosed, match="why"), Refused(StoreClosed, "why"):
        pytest.fail("nobody comes here")
