"""The engine in memory: servers of one process that name it share it."""

from __future__ import annotations

import pytest

from kvserver.errors import MediumError
from kvserver.formats.manifest import BEGINNING
from kvserver.media.memory_engine import open_memory_engine
from kvserver.media.shared import Mark


def test_who_names_an_engine_shares_it_and_closes_a_view_alone() -> None:
    one, other = open_memory_engine("shared-by-two"), open_memory_engine("shared-by-two")
    position = one.log.append(b"data", Mark(1, 1, ""), BEGINNING)
    one.close()
    assert [entry.data for entry in other.log.read(BEGINNING, 0)] == [b"data"]
    with pytest.raises(MediumError):
        one.log.append(b"", Mark(1, 2, ""), position)
    assert not open_memory_engine("another").log.read(BEGINNING, 0)
