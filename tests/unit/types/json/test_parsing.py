"""Canonical JSON is read as Python's json reads it, by whichever reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.formats.codec import canonical
from kvserver.types.json.parsing import parse

numbers = st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(values)
def test_canonical_json_is_read_as_it_was(value: object) -> None:
    found, has_constants = parse(canonical(value))
    assert canonical(found) == canonical(value)
    assert not has_constants or b"NaN" not in canonical(value)


@pytest.mark.parametrize("text", [b"[123456789012345678901234567890]", b'"1234567890123456789"', b'["\\ud800"]', b"[NaN]"])
def test_what_orjson_does_not_read_is_read(text: bytes) -> None:
    found, has_constants = parse(text)
    assert canonical(found) == text
    assert has_constants
