"""A medium in memory: it begins with the bytes that it is given."""

from __future__ import annotations

from helpers.frames import FIRST, SECOND
from kvserver.media.memory import MemoryMedium


def test_memory_medium_starts_from_bytes() -> None:
    medium = MemoryMedium(FIRST)
    medium.append(SECOND)
    assert MemoryMedium(FIRST).read_all() == FIRST
    assert medium.read_all() == FIRST + SECOND
