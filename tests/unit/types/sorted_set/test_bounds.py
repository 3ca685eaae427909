"""Bounds of ranges: the places between members that Redis's words mean."""

from __future__ import annotations

import pytest

from kvserver.errors import CommandError
from kvserver.types.sorted_set.bounds import MemberBound, ScoreBound, member_bounds, score_bounds


@pytest.mark.parametrize(
    ("low", "high", "places"),
    [
        (b"1", b"2", ((1.0, False), (2.0, True))),
        (b"(1", b"(2", ((1.0, True), (2.0, False))),
        (b"-inf", b"(+inf", ((float("-inf"), False), (float("inf"), False))),
        (b"", b"(", ((0.0, False), (0.0, False))),
    ],
)
def test_bounds_of_scores(low: bytes, high: bytes, places: tuple[tuple[float, bool], tuple[float, bool]]) -> None:
    assert score_bounds(low, high) == (ScoreBound(*places[0]), ScoreBound(*places[1]))


@pytest.mark.parametrize(("low", "high"), [(b"x", b"1"), (b"1", b"nan"), (b"((1", b"2"), (b"1", b"2 "), (b"[1", b"2")])
def test_what_bounds_no_scores(low: bytes, high: bytes) -> None:
    with pytest.raises(CommandError, match="ERR min or max is not a float"):
        score_bounds(low, high)


def passing(bound: MemberBound) -> list[bytes]:
    return [member for member in (b"", b"a", b"a\0", b"b") if bound.is_passed_by(member)]


@pytest.mark.parametrize(
    ("text", "of_low", "of_high"),
    [
        (b"[a", [b"a", b"a\0", b"b"], [b"a\0", b"b"]),
        (b"(a", [b"a\0", b"b"], [b"a", b"a\0", b"b"]),
        (b"-", [b"", b"a", b"a\0", b"b"], [b"", b"a", b"a\0", b"b"]),
        (b"+", [], []),
        (b"[", [b"", b"a", b"a\0", b"b"], [b"a", b"a\0", b"b"]),
        (b"(", [b"a", b"a\0", b"b"], [b"", b"a", b"a\0", b"b"]),
        (b"+\0x", [], []),
    ],
)
def test_bounds_of_members(text: bytes, of_low: list[bytes], of_high: list[bytes]) -> None:
    low, high = member_bounds(text, text)
    assert (passing(low), passing(high)) == (of_low, of_high)


@pytest.mark.parametrize("text", [b"", b"a", b"-a", b"+a", b"--", b"{a"])
def test_what_bounds_no_members(text: bytes) -> None:
    for bounds in ((text, b"+"), (b"-", text)):
        with pytest.raises(CommandError, match="ERR min or max not valid string range item"):
            member_bounds(*bounds)
