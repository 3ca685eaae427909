"""What is written is canonical JSON, by whichever writer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.formats.codec import canonical
from kvserver.types.json.writing import write

numbers = st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(values)
def test_values_are_written_as_canonical_json(value: object) -> None:
    assert write(value) == canonical(value)


@pytest.mark.parametrize("value", [1e16, -1e-7, 1e300, [2**64], {"b": 1, "a": "\ud800"}, {"e": ["0e0", 1]}])
def test_what_orjson_writes_otherwise_is_written_canonically(value: object) -> None:
    assert write(value) == canonical(value)


def test_constants_are_written_where_they_may_be() -> None:
    assert write([math.nan, -math.inf], has_constants=True) == b"[NaN,-Infinity]"
