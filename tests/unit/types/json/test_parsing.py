"""JSON is read as Python's json reads it, by whichever reader, at once or in steps; and refused with the same error."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any
from unittest import mock

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.documents import texts, values
from kvserver.formats.codec import MAX_DEPTH, canonical, canonical_strict, parse_strict
from kvserver.types.json import parsing
from kvserver.types.json.parsing import LONG_BYTES, STEP_BYTES, parse, parse_outside, parse_steps

SIZES = (1, 8, 40, 200)
Found = tuple[str, str]


def finish(steps: Generator[None, None, Any]) -> Any:
    """The end of steps."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def shown(value: Any) -> Found:
    # The order of members is compared as well.
    return "value", json.dumps(value)


def by_json(text: bytes) -> Found:
    try:
        value = parse_strict(text)
        canonical_strict(value)
    except ValueError as error:
        return "error", str(error)
    return shown(value)


def at_once(text: bytes) -> Found:
    try:
        return shown(parse_outside(text))
    except ValueError as error:
        return "error", str(error)


def in_steps(text: bytes, size: int) -> Found:
    with mock.patch.object(parsing, "STEP_BYTES", size):
        try:
            return shown(finish(parse_steps(text, is_canonical=False))[0])
        except ValueError as error:
            return "error", str(error)


@given(values)
def test_canonical_json_is_read_as_it_was(value: object) -> None:
    text = canonical(value)
    found, _ = parse(text)
    assert canonical(found) == text
    for size in SIZES:
        with mock.patch.object(parsing, "STEP_BYTES", size):
            in_pieces, _ = finish(parse_steps(text, is_canonical=True))
        assert canonical(in_pieces) == text


@pytest.mark.parametrize("text", [b"[123456789012345678901234567890]", b'"1234567890123456789"', b'["\\ud800"]', b"[NaN]"])
def test_what_orjson_does_not_read_is_read(text: bytes) -> None:
    found, has_constants = parse(text)
    assert canonical(found) == text
    assert has_constants


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", [b"[1,NaN,2]", b'{"a":[-Infinity],"b":["\\ud800"]}'])
def test_constants_are_told_of(text: bytes, size: int) -> None:
    with mock.patch.object(parsing, "STEP_BYTES", size):
        found, has_constants = finish(parse_steps(text, is_canonical=True))
    assert (canonical(found), has_constants) == (text, True)


spaces = st.sampled_from(["", "", " ", "\n", "\r\n  \t"])
names = st.sampled_from(['"a"', '"b"', '""', '"\\u0061"']) | texts.map(json.dumps)
leaves = st.sampled_from(
    [
        "1",
        "-0",
        "1.5",
        "1e16",
        "1E400",
        "true",
        "null",
        "NaN",
        "-",
        "12345678901234567890123",
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\x"',
    ]
) | texts.map(lambda text: json.dumps(text, ensure_ascii=False))


def _written(parts: list[str], space: str, brackets: str) -> str:
    return brackets[0] + space + f"{space},{space}".join(parts) + space + brackets[1]


outside_texts = st.recursive(
    leaves,
    lambda children: (
        st.builds(_written, st.lists(children, max_size=4), spaces, st.just("[]"))
        | st.builds(
            _written,
            st.lists(st.builds("{}{}:{}".format, names, spaces, children), max_size=4),
            spaces,
            st.just("{}"),
        )
    ),
    max_leaves=12,
)


@st.composite
def damaged_texts(draw: st.DrawFn) -> bytes:
    text = draw(spaces) + draw(outside_texts) + draw(spaces)
    if text and draw(st.booleans()):
        place = draw(st.integers(0, len(text) - 1))
        text = text[:place] + draw(st.sampled_from(["", *',:[]{}"\\1 \n'])) + text[place + draw(st.integers(0, 1)) :]
    return text.encode()


@settings(max_examples=150)
@given(damaged_texts(), st.sampled_from(SIZES))
@example(b"[1,]", 1)
@example(b'{"a":1,}', 8)
@example(b"[,1]", 1)
@example(b'{"a":[1],"b":2,"a":[3,4]}', 8)
@example(b'{"a":1e400,"a":2}', 8)
@example(b'{"":{"":[1,2]},"":[3]}', 1)
@example(b"[1] x", 1)
@example(b"[1,2", 1)
@example(b'["\xff"', 1)
@example(b'{"name":"a long string, with a comma","b":1}', 8)
@example(b'["a long string that has a wrong escape \\x"]', 8)
@example(b'["a long string that does not end', 8)
def test_text_is_read_or_refused_as_python_does_it(text: bytes, size: int) -> None:
    assert at_once(text) == by_json(text)
    assert in_steps(text, size) == by_json(text)


@pytest.mark.parametrize("size", [8, STEP_BYTES])
@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('[{"a":', "}]")])
def test_depth_has_its_limit(brackets: tuple[str, str], depth: int, size: int) -> None:
    count = depth if len(brackets[0]) == 1 else depth // 2
    text = f"{brackets[0] * count}[1,2]{brackets[1] * count}".encode()
    assert in_steps(text, size) == at_once(text) == by_json(text)


def _steps_of(text: bytes) -> int:
    """The most bytes that a step has the parsers read."""
    longest = 0

    def note(read: Any) -> Any:
        def call(text: str | bytes) -> Any:
            nonlocal longest
            longest = max(longest, len(text))
            return read(text)

        return call

    decoder = mock.Mock(decode=note(parsing._strict.decode), raw_decode=note(parsing._strict.raw_decode))
    noting = mock.Mock(loads=note(orjson.loads), JSONDecodeError=orjson.JSONDecodeError)
    with mock.patch.object(parsing, "orjson", noting), mock.patch.object(parsing, "_strict", decoder):
        finish(parse_steps(text, is_canonical=False))
    return longest


RECORD = {"id": 1, "name": "Grace", "tags": ["a", "b"], "at": {"x": 1.5, "y": -2}, "note": 'é"\\\n'}


@pytest.mark.parametrize(
    "document",
    [
        [RECORD] * 2_000,
        {f"{number:06}": number for number in range(20_000)},
        [[[[RECORD] * 10] * 10] * 20],
        {"text": "a string\n" * 100_000, "more": ["x" * 500_000]},
        [[]] * 60_000,
    ],
    ids=["records", "names", "nested", "strings", "empty"],
)
def test_no_step_reads_much(document: Any) -> None:
    text = json.dumps(document, indent=1).encode()
    assert len(text) > 3 * LONG_BYTES
    assert finish(parse_steps(text, is_canonical=False)) == (document, False)
    # The brackets that are missing are few.
    assert _steps_of(text) < STEP_BYTES + 100
