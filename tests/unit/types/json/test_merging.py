"""A merge patch does what RFC 7396 says, in steps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import exact
from kvserver.data.steps import at_once
from kvserver.types.json.document import Document
from kvserver.types.json.merging import merge_patch
from kvserver.types.json.work import Work

# The examples of the RFC, in its appendix A: a value, a patch, and the result.
EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


def merged(value: Any, patch: Any) -> Any:
    """The function of the RFC."""
    if not isinstance(patch, dict):
        return patch
    value = dict(value) if isinstance(value, dict) else {}
    for name, member in patch.items():
        if member is None:
            value.pop(name, None)
        else:
            value[name] = merged(value.get(name), member)
    return value


@pytest.mark.parametrize(("value", "patch", "result"), EXAMPLES)
def test_examples_of_the_rfc(value: Any, patch: Any, result: Any) -> None:
    document = Document({"at": value})
    at_once(merge_patch(document, ("at",), patch, Work()))
    assert exact(document.root) == exact({"at": result})


_values = st.recursive(
    st.sampled_from([None, 1, "x", [None]]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200)
@given(_values, _values)
def test_any_patch_gives_what_the_function_of_the_rfc_does(value: Any, patch: Any) -> None:
    expected = merged(copy.deepcopy(value), copy.deepcopy(patch))
    document = Document(copy.deepcopy(value))
    draft = document.draft()
    at_once(merge_patch(draft, (), patch, Work()))
    assert exact(draft.root) == exact(expected)
    assert exact(document.root) == exact(value)


def test_long_patch_goes_in_steps() -> None:
    document, patch = Document({}), {f"n{number}": {"x": number} for number in range(5000)}
    assert len([*merge_patch(document, (), patch, Work())]) > 5
    assert document.root == {f"n{number}": {"x": number} for number in range(5000)}
