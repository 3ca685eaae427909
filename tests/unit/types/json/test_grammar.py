"""The text of a path becomes its segments, or one error that says where it ends being a path."""

from __future__ import annotations

import pytest

from kvserver.errors import CommandError
from kvserver.types.json.grammar import segments_of
from kvserver.types.json.segments import Filter, Index, Name, Segment, Slice, Wildcard


def test_each_form_of_a_segment() -> None:
    assert segments_of("$.a['b'][-1][1:2:3][*]..c..[0,'d'].*") == (
        Segment((Name("a"),), False),
        Segment((Name("b"),), False),
        Segment((Index(-1),), False),
        Segment((Slice(1, 2, 3),), False),
        Segment((Wildcard(),), False),
        Segment((Name("c"),), True),
        Segment((Index(0), Name("d")), True),
        Segment((Wildcard(),), False),
    )
    (filtered,) = segments_of("$[?@.a == 1]")
    assert isinstance(filtered.selectors[0], Filter)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("'it\\'s \"x\"'", 'it\'s "x"'),
        ('"it\'s \\"x\\""', 'it\'s "x"'),
        ("'\\\\\\''", "\\'"),
        ("'\\u263a\\ud834\\udd1e\\n'", "\u263a\U0001d11e\n"),
    ],
)
def test_strings_with_escapes(text: str, name: str) -> None:
    assert segments_of(f"$[{text}]") == (Segment((Name(name),), False),)


@pytest.mark.parametrize(
    ("text", "place"),
    [("a", 1), ("$a", 2), ("$.a.", 5), ("$[0", 4), ("$[0;1]", 4), ("$['a", 3), ("$[?@.a==]", 9), ("$[?1]", 4),
     ("$[?@.* == 1]", 4), ("$[?count(1) == 1]", 4), ("$['\\ud800']", 3)],
)  # fmt: skip
def test_error_names_the_place(text: str, place: int) -> None:
    with pytest.raises(CommandError, match=f"position {place}, "):
        segments_of(text)
