"""Conditions compare as JSON has it, where Python would take true for 1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.documents import exact
from kvserver.data.steps import at_once
from kvserver.types.json.filters import NOTHING, equal, walk
from kvserver.types.json.path import parse_path
from kvserver.types.json.segments import InChunks
from kvserver.types.json.work import Work


def result(steps: InChunks[bool]) -> bool:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("@ == 1", [1, 1.0]),
        ("@ == true", [True]),
        ("@ != 1", [True, "1", None, [1], [True], {"a": 1}]),
        ("@ < 2", [1, 1.0]),
        ("@ <= true", [True]),
        ("@ >= null", [None]),
        ("@ == $[5]", [[1]]),
        ("@ <= $[5]", [[1]]),
        ("@ < $[5]", []),
        ("@ != $[5]", [1, 1.0, True, "1", None, [True], {"a": 1}]),
        ("@.a == @.b", [1, 1.0, True, "1", None, [1], [True]]),
        ("@.a", [{"a": 1}]),
        ("!@.a && !(@ == 1 || @[0])", [True, "1", None]),
        ("@.* && count(@.*) == 1", [[1], [True], {"a": 1}]),
        ("value(@.*) == true", [[True]]),
        ("length(@) == 1", ["1", [1], [True], {"a": 1}]),
        ("length(value(@..*)) == 1", []),
        ("@ =~ 1", []),
        ("search(@, $[3])", ["1"]),
    ],
)
def test_condition_keeps(condition: str, kept: list[Any]) -> None:
    document = [1, 1.0, True, "1", None, [1], [True], {"a": 1}]
    assert exact(at_once(parse_path(f"$[?{condition}]".encode()).values(document, Work()))) == exact(kept)


def test_walk_ends_at_what_is_no_container() -> None:
    assert walk({"a": ["x"]}, ("a", -1)) == "x"
    for document, keys in (
        ("abc", (0,)),
        ({"a": "abc"}, ("a", 0)),
        ([1], ("a",)),
        ({"a": 1}, (0,)),
        ([], (0,)),
        (None, ("a",)),
    ):
        assert walk(document, keys) is NOTHING


_scalars = st.sampled_from([0, 1, 1.0, True, False, None, "", "1"])
_documents = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner))


def tagged(value: Any) -> Any:
    """The value with numbers that are equal made the same, and nothing else equal to them."""
    if isinstance(value, list):
        return [tagged(each) for each in value]
    if isinstance(value, dict):
        return {name: tagged(each) for name, each in value.items()}
    return (isinstance(value, bool), value)


@given(_documents, _documents)
def test_equality_is_that_of_json(left: Any, right: Any) -> None:
    assert result(equal(left, right, Work())) is (tagged(left) == tagged(right))
    assert result(equal(left, left, Work()))
