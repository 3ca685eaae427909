"""The names of the files beside a medium: the segments of its journal, and those that were put aside.

    dump.kvs.0000000007.journal                    a segment
    dump.kvs.0000000007.journal.damaged            put aside by a start: behind the end of what can be replayed
    dump.kvs.0000000007.journal.unlinked           put aside by a start: the snapshot that it goes on from is nowhere
    dump.kvs.0000000007.journal.dropped            put aside by RESTORE, which went back to the snapshot before it
    dump.kvs.0000000007.journal.dropped-earlier    the same, a snapshot later
    dump.kvs.0000000007.journal.foreign            put aside by a running server: it was put there by somebody else
    dump.kvs.next-segment                          an empty file that becomes the next segment when it is given that name
    dump.kvs.0000000007.journal.applied            was put aside, and replayed since by a person's decision

A number behind a dot may follow, where such a name was taken. Pure.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

NUMBER_DIGITS: Final = 10
DAMAGED: Final = "damaged"
UNLINKED: Final = "unlinked"
DROPPED: Final = "dropped"
DROPPED_EARLIER: Final = "dropped-earlier"
FOREIGN: Final = "foreign"
APPLIED: Final = "applied"

_SEGMENT = re.compile(rf"\.([0-9]{{{NUMBER_DIGITS}}})\.journal(?:\.([a-z-]+)(?:\.[0-9]+)?)?")
_SEGMENT_END = re.compile(
    rf"\.journal(?:\.(?:{'|'.join((DAMAGED, UNLINKED, DROPPED, DROPPED_EARLIER, FOREIGN, APPLIED))})(?:\.[0-9]+)?)?\Z"
)


def spare_path(medium_path: str) -> str:
    """Where the file that is to become the next segment is."""
    return f"{medium_path}.next-segment"


class SegmentName(NamedTuple):
    """What the name of a segment's file tells: its number, and why it was put aside, or an empty string."""

    number: int
    aside: str


def segment_path(medium_path: str, number: int) -> str:
    """Where a segment of the medium at this path is."""
    return f"{medium_path}.{number:0{NUMBER_DIGITS}d}.journal"


def is_segment(path: str) -> bool:
    """Whether this is the name of a segment, or of a copy of one, put aside or not."""
    return _SEGMENT_END.search(path) is not None


def segment_name(medium_path: str, path: str) -> SegmentName | None:
    """What this path tells of a segment of the medium at `medium_path`, or None where it is none of its segments."""
    match = _SEGMENT.fullmatch(path.removeprefix(medium_path)) if path.startswith(medium_path) else None
    return SegmentName(int(match[1]), match[2] or "") if match else None
