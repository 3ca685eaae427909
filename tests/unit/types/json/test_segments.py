"""Segments lead to values in the order of RFC 9535, in chunks, and count what they look at."""

from __future__ import annotations

from typing import Any

import pytest

from kvserver.errors import CommandError
from kvserver.types.json.segments import Index, Name, Search, Segment, Slice, Wildcard, follow, location
from kvserver.types.json.work import Work


def found(document: Any, *segments: Segment, work: int = 10_000) -> list[tuple[tuple[str | int, ...], Any]]:
    chunks = follow(segments, document, Search(document, Work(work)))
    return [(location(link), value) for chunk in chunks for value, link in chunk]


def test_nothing_leads_to_the_root() -> None:
    assert found([1]) == [((), [1])]


def test_selectors_of_a_segment_select_by_turns_of_each_node() -> None:
    document = [[1, 2], {"a": 3}, "text", None]
    assert found(document, Segment((Wildcard(),), False), Segment((Index(-1), Name("a"), Index(0)), False)) == [
        ((0, 1), 2),
        ((0, 0), 1),
        ((1, "a"), 3),
    ]
    assert found(document, Segment((Slice(None, None, 0),), False)) == []
    assert found(document, Segment((Slice(-3, None, 2),), False)) == [((1,), {"a": 3}), ((3,), None)]


def test_descendants_come_after_what_they_are_in() -> None:
    document = {"a": {"a": [{"a": 1}]}, "b": {"a": 2}}
    assert [where for where, _ in found(document, Segment((Name("a"),), True))] == [
        ("a",),
        ("a", "a"),
        ("a", "a", 0, "a"),
        ("b", "a"),
    ]


@pytest.mark.parametrize("is_descendant", [False, True])
def test_too_much_work_is_an_error(is_descendant: bool) -> None:
    document = [[1] * 500] * 10
    with pytest.raises(CommandError, match="too many values"):
        found(document, Segment((Wildcard(),), is_descendant), Segment((Wildcard(),), True), work=3000)
