"""A medium in memory begins with the bytes that it is given, and a place in memory is found again by who has it."""

from __future__ import annotations

from helpers.frames import FIRST, SECOND
from kvserver.media.memory import MemoryMedium, new_place


def test_memory_medium_starts_from_bytes() -> None:
    medium = MemoryMedium(FIRST)
    medium.append(SECOND)
    assert MemoryMedium(FIRST).read_all() == FIRST
    assert medium.read_all() == FIRST + SECOND


def test_place_in_memory_is_empty_and_can_be_come_back_to() -> None:
    place = new_place()
    assert (place.medium.size(), place.log.segments(), place.lease.hold()) == (0, {}, False)
    place.medium.append(FIRST)
    place.log.cut(1)
    place.log.write(b"record", synced=True)
    place.close()
    assert place.medium.read_all() == FIRST
    assert list(place.log.segments()) == [1]
    place.log.adopt([1], 6, 1)
    place.log.cut(2)
    assert place.log.number == 2
    assert new_place().medium.size() == 0
