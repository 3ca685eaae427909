"""What is done about what is no valid frame of a medium. Never deletes damage: it is copied aside first."""

from __future__ import annotations

import logging

from kvserver.formats.scan import Frame, Scan, Tail
from kvserver.media.medium import Medium

_log = logging.getLogger("kvserver")


def repair(medium: Medium, result: Scan) -> int:
    """Leave a medium with the valid frames that a scan has found, without gaps, and set aside what is damage; its length then.

    Where frames have moved, the scan's have their new places, also the one that was loaded.
    """
    if result.tail is not Tail.NONE:
        where = f"{result.tail_length} bytes at offset {result.valid_length}: {result.reason}"
        if result.tail is Tail.DAMAGED:
            _log.error("damaged medium: %s; copied to %s, then cut", where, medium.set_aside(result.valid_length))
        else:
            _log.warning("torn tail cut: %s", where)
        medium.truncate(result.valid_length)
    if result.damages:
        for offset, end, reason in result.damages:
            where = f"{end - offset} bytes at offset {offset}: {reason}"
            text = "damaged medium: %s; copied to %s, then left out of it; the frames behind them hold"
            _log.error(text, where, medium.set_aside(offset, end))
        moved = _closed_up(medium, result.frames)
        if result.loaded:
            result.loaded = moved[result.frames.index(result.loaded)]
        result.frames = moved
    return medium.size()


def _closed_up(medium: Medium, frames: list[Frame]) -> list[Frame]:
    """Rewrite a medium so that it holds these frames and nothing else; where they are then."""
    rewrite = medium.begin_rewrite()
    moved: list[Frame] = []
    try:
        for frame in frames:
            for _ in rewrite.copy(frame.offset, frame.end - frame.offset):
                pass
            moved.append(frame._replace(offset=moved[-1].end if moved else 0))
        rewrite.commit(None)
    except BaseException:
        rewrite.abort()
        raise
    return moved
