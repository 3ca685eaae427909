"""Canonical JSON is that of json.dumps, and what is refused is refused."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import (
    AWKWARD_NUMBERS,
    AWKWARD_TEXTS,
    canonical_by_json,
    exact,
    tag_like_values,
    texts_with_surrogates,
    values,
)
from kvserver.formats.codec import MAX_DEPTH, canonical, canonical_strict, parse_strict


def nested_lists(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def nested_objects(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"k": value}
    return value


@settings(max_examples=60)
@given(values | tag_like_values)
def test_canonical_is_what_json_dumps_gives(value: Any) -> None:
    assert canonical(value) == canonical_strict(value) == canonical_by_json(value)


@given(st.floats() | st.integers())
def test_numbers_are_spelled_as_json_dumps_spells_them(number: float) -> None:
    assert canonical([number]) == canonical_by_json([number])


@pytest.mark.parametrize("value", [*AWKWARD_NUMBERS, *AWKWARD_TEXTS, [], {}, True, None], ids=repr)
def test_awkward_value_is_canonical_and_read_back_exactly(value: Any) -> None:
    text = canonical_strict(value)
    assert text == canonical_by_json(value)
    assert exact(parse_strict(text)) == exact(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e16, b"1e+16"),
        (-0.0, b"-0.0"),
        (1e-7, b"1e-07"),
        (10**100, b"1" + b"0" * 100),
        ("\x7f\u2028/", b'"\x7f\xe2\x80\xa8/"'),
        ("\0\b\t\n\f\r\x1f", rb'"\u0000\b\t\n\f\r\u001f"'),
        ({"b": 1, "a": [1, 2]}, b'{"a":[1,2],"b":1}'),
        # By code points: in UTF-16 the second one would come first.
        ({"\U0001f388": 1, "\uffff": 2}, '{"\uffff":2,"\U0001f388":1}'.encode()),
        ((1, (2,)), b"[1,[2]]"),
    ],
    ids=repr,
)
def test_canonical_has_these_very_bytes(value: Any, text: bytes) -> None:
    assert canonical_strict(value) == canonical(value) == text


def test_every_control_character_is_escaped_as_json_escapes_it() -> None:
    for code in range(0x20):
        assert canonical(chr(code)) == canonical_by_json(chr(code))


@given(st.recursive(texts_with_surrogates, lambda inner: st.dictionaries(texts_with_surrogates, inner), max_leaves=5))
def test_lone_surrogates_keep_their_escape_and_are_read_back(value: Any) -> None:
    text = canonical(value)
    assert json.loads(text.decode("utf-8")) == json.loads(json.dumps(value))
    assert canonical(json.loads(text)) == text


def test_nan_and_infinity_of_a_frame_written_elsewhere_are_kept() -> None:
    text = b'{"a":NaN,"b":[Infinity,-Infinity]}'
    assert canonical(json.loads(text)) == text


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        {1, 2},
        object(),
        Color.RED,
        {1: "a"},
        {None: 1},
        {True: 1},
        {1.5: 1},
        {("a",): 1},
        {b"a": 1},
        {"a": 1, 2: 3},
        [{"deep": [{"in": {3: 4}}]}],
        float("nan"),
        [float("inf")],
        {"a": float("-inf")},
        "\ud800",
        ["\udfff"],
        {"\ud800": 1},
        10**4300,
        [-(10**5000)],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical_strict(value)


def test_cycle_is_refused() -> None:
    loop: list[Any] = []
    loop.append({"a": loop})
    with pytest.raises(ValueError, match=r"[Cc]ircular"):
        canonical_strict(loop)


@pytest.mark.parametrize("nested", [nested_lists, nested_objects])
def test_depth_up_to_the_limit_is_taken_and_more_is_refused(nested: Any) -> None:
    assert json.loads(canonical_strict(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 5_000):
        with pytest.raises(ValueError, match=f"deeper than {MAX_DEPTH}"):
            canonical_strict(nested(depth))


@given(values)
def test_text_with_white_space_gives_the_value(value: Any) -> None:
    assert exact(parse_strict(json.dumps(value, indent=1).encode())) == exact(value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"{} {}",
        b"{'a':1}",
        b"NaN",
        b"[Infinity]",
        b'{"a":-Infinity}',
        b"\xff",
        b'"\xed\xa0\x80"',
        b'"\x01"',
        b"01",
        b"1" * 4301,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xef\xbb\xbf1",
        b"1\x00",
        "[1]".encode("utf-16"),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_text_that_is_not_json_raises_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (many texts, one kind)
        parse_strict(text)
