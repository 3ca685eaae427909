"""The names of the files beside a medium: the segments of its journal, those that were put aside, and some more.

    dump.kvs.0000000007.journal                    a segment
    dump.kvs.0000000007.journal.damaged            put aside by a start: it is behind the end of what can be replayed
    dump.kvs.0000000007.journal.unlinked           put aside by a start: the snapshot that it goes on from is nowhere
    dump.kvs.0000000007.journal.dropped            put aside by RESTORE, which went back to the snapshot before it
    dump.kvs.0000000007.journal.dropped-earlier    the same, a snapshot later
    dump.kvs.0000000007.journal.foreign            put aside by a running server: somebody else had put it there
    dump.kvs.0000000007.journal.applied            put aside once, and replayed since by a person's decision
    dump.kvs.next-segment                          an empty file that becomes the next segment when it gets its name
    dump.kvs.restoring                             what `kvserver restore` has of a snapshot so far: no server starts beside it
    dump.kvs.owner                                 the id by which backups of this folder are known to be its own

If such a name was taken, a dot and a number follow it. Pure: this module makes and reads names, and touches no file.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from kvserver.media.medium import Aside

NUMBER_DIGITS: Final = 10

_SEGMENT = re.compile(rf"\.([0-9]{{{NUMBER_DIGITS}}})\.journal(?:\.([a-z-]+)(?:\.[0-9]+)?)?")
_SEGMENT_END = re.compile(rf"\.journal(?:\.(?:{'|'.join(Aside)})(?:\.[0-9]+)?)?\Z")


def spare_path(medium_path: str) -> str:
    """The path of the file that is to become the next segment."""
    return f"{medium_path}.next-segment"


def restoring_path(medium_path: str) -> str:
    """The path of the file that becomes the medium's when all of a snapshot was restored."""
    return f"{medium_path}.restoring"


def owner_path(medium_path: str) -> str:
    """The path of the file with the id that owns the backups of the medium at this path."""
    return f"{medium_path}.owner"


class SegmentName(NamedTuple):
    """The number of a segment, as the name of its file tells it, and the reason why it was put aside, or an empty string."""

    number: int
    aside: str


def segment_path(medium_path: str, number: int) -> str:
    """The path of a segment of the medium at this path."""
    return f"{medium_path}.{number:0{NUMBER_DIGITS}d}.journal"


def is_segment(path: str) -> bool:
    """True if this is the name of a segment, or of a copy of one, put aside or not."""
    return _SEGMENT_END.search(path) is not None


def segment_name(medium_path: str, path: str) -> SegmentName | None:
    """The segment of the medium at `medium_path` that this path names, or None if it names none."""
    match = _SEGMENT.fullmatch(path.removeprefix(medium_path)) if path.startswith(medium_path) else None
    return SegmentName(int(match[1]), match[2] or "") if match else None
