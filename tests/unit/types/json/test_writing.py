"""What is written is canonical JSON, by whichever writer, at once or in short steps."""

from __future__ import annotations

import json
import math
from typing import Any
from unittest import mock

import pytest
from hypothesis import given

from helpers.documents import values
from kvserver.formats.codec import MAX_DEPTH, PIECE_BYTES, canonical
from kvserver.types.json import writing
from kvserver.types.json.writing import STEP_WEIGHT, weight, write, write_steps


@given(values)
def test_values_are_written_as_canonical_json(value: object) -> None:
    assert write(value) == canonical(value)
    for most in (1, 3, 10):
        with mock.patch.multiple(writing, STEP_WEIGHT=most, _SORTED_NAMES=4, PIECE_BYTES=8):
            assert b"".join(write_steps(value)) == canonical(value)


@pytest.mark.parametrize("value", [1e16, -1e-7, 1e-5, 1e-4, 1e300, [2**64], {"b": 1, "a": "\ud800"}, {"e": ["0e0", 1]}])
def test_what_orjson_writes_otherwise_is_written_canonically(value: object) -> None:
    assert write(value) == b"".join(write_steps(value)) == canonical(value)


def test_constants_are_written_where_they_may_be() -> None:
    value = [math.nan, [-math.inf] * STEP_WEIGHT]
    assert write(value, has_constants=True) == b"".join(write_steps(value, has_constants=True)) == canonical(value)


def test_heavy_value_at_the_greatest_depth_is_written_in_steps() -> None:
    value: Any = ["x"] * (2 * STEP_WEIGHT)
    for level in range(MAX_DEPTH - 1):
        value = [value] if level % 2 else {"a": value}
    assert b"".join(write_steps(value)) == write(value)


def test_weight_is_exact_up_to_the_most() -> None:
    assert weight([1, "x" * 640, {"a": [None, 2**160]}], 1000) == weight([], 1) + 3 + 1 + 11 + (2 + (3 + 11))
    assert weight([[0] * 10] * 1_000_000, 50) >= 50
    assert weight("x" * 6400, 1000) == 101


RECORD = {"id": 1, "name": "Grace", "tags": ["a", "b"], "at": {"x": 1.5, "y": -2}, "note": 'é"\\\n', "large": 1e100}


@pytest.mark.parametrize(
    "document",
    [
        [RECORD] * 2_000,
        {f"{number:06}": number for number in range(20_000)},
        {f"{number * 7919 % 20_011:06}": number for number in range(20_000)},
        [[[[RECORD] * 10] * 10] * 20],
        {"text": "a string\n" * 100_000, "more": ["x" * 500_000, "y" * 30_000, "z" * 30_000]},
        [[]] * 60_000,
    ],
    ids=["records", "names", "unsorted", "nested", "strings", "empty"],
)
def test_no_step_writes_or_sorts_much(document: Any) -> None:
    most_written = most_sorted = 0

    def note_written(value: Any, *, has_constants: bool) -> bytes:
        nonlocal most_written
        most_written = max(most_written, weight(value, 10**9))
        return write(value, has_constants=has_constants)

    def note_sorted(names: list[str]) -> list[str]:
        nonlocal most_sorted
        most_sorted = max(most_sorted, len(names))
        return sorted(names)

    with mock.patch.object(writing, "write", note_written), mock.patch.object(writing, "sorted", note_sorted, create=True):
        pieces = list(write_steps(document))
    assert json.loads(b"".join(pieces)) == document
    assert most_written < 3 * STEP_WEIGHT
    assert most_sorted <= writing._SORTED_NAMES
    assert max(map(len, pieces)) <= 2 * PIECE_BYTES
