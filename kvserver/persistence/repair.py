"""What is done about what stands behind the last valid frame of a medium. Never deletes damage: it is copied aside first."""

from __future__ import annotations

import logging

from kvserver.formats.scan import Scan, Tail
from kvserver.media.medium import Medium

_log = logging.getLogger("kvserver")


def repair(medium: Medium, result: Scan) -> int:
    """Cut what is behind the last valid frame, after setting aside what is damage. The medium's length after that."""
    if result.tail is not Tail.NONE:
        where = f"{result.tail_length} bytes at offset {result.valid_length}: {result.reason}"
        if result.tail is Tail.DAMAGED:
            _log.error("damaged medium: %s; copied to %s, then cut", where, medium.set_aside(result.valid_length))
        else:
            _log.warning("torn tail cut: %s", where)
        medium.truncate(result.valid_length)
    return medium.size()
