"""repair: what a crash leaves is cut, damage is copied aside before that, and a medium without either stays as it is."""

from __future__ import annotations

import logging

import pytest

from kvserver.formats.frame import encode_frame
from kvserver.formats.tags import PLAIN
from kvserver.library.store import run
from kvserver.media.medium import repair
from kvserver.media.memory import MemoryMedium

GOOD = encode_frame(b'{"a":1}')


class UncopyableMedium(MemoryMedium):
    """Has no room for a copy."""

    def set_aside(self, offset: int, end: int | None = None) -> str:
        raise OSError("no space left")


@pytest.mark.parametrize(
    ("tail", "aside", "level"),
    [(b"", [], None), (GOOD[:30], [], logging.WARNING), (b"garbage", [b"garbage"], logging.ERROR)],
    ids=["nothing", "torn", "damage"],
)
def test_medium_ends_with_its_last_valid_frame_and_no_damage_is_lost(
    tail: bytes, aside: list[bytes], level: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    medium = MemoryMedium(GOOD + tail)
    assert repair(medium, run(medium, PLAIN, load=False)) == len(GOOD)
    assert medium.read_all() == GOOD
    assert medium.asides == aside
    assert [record.levelno for record in caplog.records] == ([level] if level else [])


def test_damage_that_can_not_be_copied_is_not_cut() -> None:
    medium = UncopyableMedium(GOOD + b"garbage")
    with pytest.raises(OSError, match="no space"):
        repair(medium, run(medium, PLAIN, load=False))
    assert medium.read_all() == GOOD + b"garbage"
