"""Values come back as they were given, by the short ways as by the long ones."""

from __future__ import annotations

import datetime
import enum
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.documents import AWKWARD_NUMBERS, AWKWARD_TEXTS, exact, values
from kvserver.formats.codec import JSONText, canonical_strict
from kvserver.library.values import add, decode_value, encode_value, expires_at_ms

NOW_MS = 1_700_000_000_000


usual = st.none() | st.booleans() | st.integers() | st.text()


class Text(str):
    __slots__ = ()


class Number(enum.IntEnum):
    ONE = 1


@given(values)
def test_value_comes_back_and_is_kept_as_canonical_json(value: Any) -> None:
    entry = encode_value(value, takes_bytes=False)
    assert exact(decode_value(entry)) == exact(value)
    if not isinstance(value, str):
        assert type(entry) is JSONText
        assert entry == canonical_strict(value)


@given(st.recursive(usual, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30))
def test_document_without_floats_is_kept_as_canonical_json(value: Any) -> None:
    assert encode_value([value], takes_bytes=False) == canonical_strict([value])
    assert encode_value({"": value, "é": value, "z": value}, takes_bytes=False) == canonical_strict(
        {"z": value, "": value, "é": value}
    )


@pytest.mark.parametrize(
    "value", [[Text("a")], {Text("b"): 1}, [Number.ONE], [(1, 2)], [[1.0]], [1e16, 1e-7], [2**63], [{"a": [-(2**63) - 1]}]]
)
def test_document_of_unusual_types_is_kept_as_canonical_json(value: Any) -> None:
    assert encode_value(value, takes_bytes=False) == canonical_strict(value)


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [{1: 2}, [{None: 1}], [b"x"], [uuid.UUID(int=0)], [datetime.date.min], ["\ud800"], {"\ud800": 1}, nested(600), CYCLE],
)
def test_document_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_value(value, takes_bytes=True)


@given(st.integers())
def test_integer_is_kept_as_canonical_json(number: int) -> None:
    assert encode_value(number, takes_bytes=False) == canonical_strict(number)


@pytest.mark.parametrize(
    "value", [*AWKWARD_TEXTS, *AWKWARD_NUMBERS, True, False, None, 2**63, -(2**63) - 1, Number.ONE, Text("é")]
)
def test_awkward_value_comes_back(value: Any) -> None:
    entry = encode_value(value, takes_bytes=True)
    assert decode_value(entry) == value
    assert type(decode_value(entry)) in (str, int, float, bool, type(None))


def test_bytes_are_taken_where_tags_are() -> None:
    assert decode_value(encode_value(b"\xff", takes_bytes=True)) == b"\xff"
    assert decode_value(encode_value(b"text", takes_bytes=True)) == "text"
    with pytest.raises(TypeError, match="bytes"):
        encode_value(b"text", takes_bytes=False)


def test_sum_has_the_type_of_its_parts() -> None:
    assert add(None, 2) == (2, b"2")
    assert add(JSONText(b"1"), 0.5) == (1.5, b"1.5")
    assert type(add(JSONText(b"1"), 1)[1]) is JSONText
    assert type(add(b"1", 1)[1]) is bytes


def test_expiry_is_a_time_to_come() -> None:
    assert expires_at_ms(1.5, NOW_MS) == NOW_MS + 1500
    assert expires_at_ms(1e-9, NOW_MS) == NOW_MS + 1
    with pytest.raises(ValueError, match="longer than any"):
        expires_at_ms(2**60, NOW_MS)
