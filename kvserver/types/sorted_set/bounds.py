"""Bounds of ranges of a sorted set: `1.5`, `(1.5` and `+inf` for scores; `[a`, `(a`, `-` and `+` for members. Pure.

A bound is a place between members: those before it, and those behind. So a range that begins with `(a` and one that ends
with `[a` have the same bound, the place right behind `a`.
"""

from __future__ import annotations

from typing import NamedTuple

from kvserver.errors import CommandError
from kvserver.types.sorted_set.score import score_in


class ScoreBound(NamedTuple):
    """The place before all members with a score, or behind them."""

    score: float
    is_behind: bool


class MemberBound(NamedTuple):
    """The place before a member, or behind it; None as the member: the place behind all members."""

    member: bytes | None
    is_behind: bool

    def is_passed_by(self, member: bytes) -> bool:
        """True if the member does not lie before this bound."""
        return self.member is not None and (member > self.member if self.is_behind else member >= self.member)


def score_bounds(low: bytes, high: bytes) -> tuple[ScoreBound, ScoreBound]:
    """The bounds of a range of scores. CommandError if one of the texts is no bound."""
    return _score_bound(low, is_high=False), _score_bound(high, is_high=True)


def _score_bound(text: bytes, *, is_high: bool) -> ScoreBound:
    is_exclusive = text.startswith(b"(")
    score = score_in(text[1:] if is_exclusive else text)
    if score is None:
        raise CommandError("ERR min or max is not a float")
    return ScoreBound(score, is_high is not is_exclusive)


def member_bounds(low: bytes, high: bytes) -> tuple[MemberBound, MemberBound]:
    """The bounds of a range of members. CommandError if one of the texts is no bound."""
    return _member_bound(low, is_high=False), _member_bound(high, is_high=True)


def _member_bound(text: bytes, *, is_high: bool) -> MemberBound:
    mark = text[:1]
    if mark in (b"[", b"("):
        return MemberBound(text[1:], is_high is not (mark == b"("))
    # Redis looks at the character behind, which is a NUL at the end of a string.
    if mark in (b"-", b"+") and text[1:2] in (b"", b"\0"):
        # No member is less than the empty one.
        return MemberBound(b"" if mark == b"-" else None, False)
    raise CommandError("ERR min or max not valid string range item")
