"""Small sorted sets: packed pairs of a member and the text of its score, in ascending order. Pure functions on such texts.

Since they are in order, a rank is a count of what stands before the member, and the lowest member is the first one. The
characters are bytes (`containers.packed`), so that members as texts compare as they do as bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from kvserver.types.sorted_set.bounds import ScoreBound

_BYTES: Final = "latin-1"


def rank_of(packed: str, member: bytes) -> int | None:
    """The position of a member, which counts from 0, or None if the member is missing."""
    front, found, _ = packed.partition(f"\0{member.decode(_BYTES)}\1")
    # A member that holds a NUL would find the end of one pair and the beginning of the next.
    return front.count("\1") if found and 0 not in member else None


def in_order(packed: str) -> tuple[list[bytes], list[float]]:
    """The members and their scores, in ascending order."""
    words = packed.encode(_BYTES).replace(b"\1", b"\0").split(b"\0")
    return words[1:-1:2], [*map(float, words[2:-1:2])]


def between(packed: str, low: ScoreBound, high: ScoreBound) -> list[bytes]:
    """The members between two bounds, in ascending order."""
    members, scores = in_order(packed)
    start = bisect_right(scores, low.score) if low.is_behind else bisect_left(scores, low.score)
    stop = bisect_right(scores, high.score) if high.is_behind else bisect_left(scores, high.score)
    return members[start:stop]


def without_first(packed: str) -> tuple[bytes, bytes, str]:
    """The first member, the text of its score, and the sorted set without it. The caller has made sure that there is one."""
    pair, _, rest = packed[2:].partition("\0")
    member, _, score = pair.partition("\1")
    return member.encode(_BYTES), score.encode(), f"{packed[:2]}{rest}"
