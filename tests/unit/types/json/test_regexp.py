"""Patterns match what Python's re says that they match, in a time that grows with the text."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvserver.errors import CommandError
from kvserver.types.json.regexp import Pattern, pattern
from kvserver.types.json.segments import InChunks
from kvserver.types.json.work import Work


def result(steps: InChunks[bool]) -> bool:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)


def matches(text: str, wanted: str, is_search: bool = False, work: int = 1 << 24) -> bool | None:
    found = pattern(wanted, is_search)
    return None if found is None else result(found.matches(text, Work(work)))


@pytest.mark.parametrize(
    ("wanted", "text", "whole", "part"),
    [
        ("", "", True, True),
        ("", "a", False, True),
        ("a.c", "abc", True, True),
        ("a.c", "a\nc", False, False),
        ("^b", "ab", False, False),
        ("b$", "ab", False, True),
        ("a|b", "xb", False, True),
        ("(?i)aB", "Ab", True, True),
        ("[a-c]+", "abc", True, True),
        ("[^a-c]", "b", False, False),
        ("[-a]", "-", True, True),
        ("[a-]", "-", True, True),
        (r"[\]\-\d]+", "]-7", True, True),
        (r"\d+", "12", True, True),
        (r"\D", "1", False, False),
        (r"\w\s\W", "é !", True, True),
        (r"\p{Lu}\P{Lu}\p{L}", "Éab", True, True),
        (r"\.", "a", False, False),
        ("a{2}", "aaa", False, True),
        ("a{2,}", "aaa", True, True),
        ("a{0,2}b", "aaab", False, True),
        ("(a*)*b", "aab", True, True),
        ("(?:ab)+?", "abab", True, True),
        ("(a|ab)(c|bcd)(d*)", "abcd", True, True),
        ("\U0001f388+", "\U0001f388\U0001f388", True, True),
    ],
)
def test_pattern_matches_as_a_whole_or_in_part(wanted: str, text: str, whole: bool, part: bool) -> None:
    assert matches(text, wanted) is whole
    assert matches(text, wanted, is_search=True) is part


@pytest.mark.parametrize(
    "wanted",
    ["(", ")", "a)", "*", "+a", "[", "[]", "[a", "[b-a]", "[a-\\d]", "{", "a{", "a{2,1}", "a{1001}", "a{1", "\\", "\\q", "\\1",
     "\\p{", "\\p{Lux}", "\\pL", "(?=a)", "(?<n>a)", "a{100}{100}", "((a{50}){50}){50}", "(" * 100 + ")" * 100, "]", "}"],
)  # fmt: skip
def test_what_is_no_pattern_or_too_large_is_none(wanted: str) -> None:
    assert pattern(wanted, False) is None


@pytest.mark.parametrize("wanted", ["(a+)+$", "(a|a)*b", "(a|aa)+b", "(.*)(.*)(.*)(.*)x", "(a?){30}a{30}b"])
def test_no_pattern_takes_more_time_than_the_text_says(wanted: str) -> None:
    # Python's re would be at the first one until the end of days.
    text = "a" * 2000 + "!"
    assert matches(text, wanted, work=len(text) + 40_000) is False
    assert matches(text, wanted, is_search=True, work=len(text) + 40_000) is False


def test_sets_of_states_are_forgotten_and_found_again() -> None:
    found = pattern("(a|b)*a(a|b){12}", False)
    assert isinstance(found, Pattern)
    text = "".join("ab"[bin(number).count("1") % 2] for number in range(3000))
    for length in (100, 1000, 2999):
        assert result(found.matches(text[:length], Work())) is (re.fullmatch("(a|b)*a(a|b){12}", text[:length]) is not None)
    assert len(found._sets) <= 500


def test_work_has_an_end() -> None:
    with pytest.raises(CommandError, match="too many values"):
        matches("a" * 10_000, "a*", work=5000)


_pieces = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "^", "$", "1"])
_patterns = st.recursive(
    _pieces,
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map("|".join)
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{1,}", "*?"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(_patterns, st.text("ab1", max_size=6))
@example("$^", "")
@example("a?$^b?", "")
def test_patterns_match_as_those_of_python(wanted: str, text: str) -> None:
    compiled = re.compile(f"(?s:{wanted})")
    assert matches(text, wanted) is (compiled.fullmatch(text) is not None)
    assert matches(text, wanted, is_search=True) is (compiled.search(text) is not None)
