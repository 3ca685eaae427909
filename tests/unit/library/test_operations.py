"""Operations give what the vectors say, byte for byte, or are refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from helpers.documents import canonical_by_json
from helpers.servers import PROJECT
from kvserver import run_operations
from kvserver.formats.frame import encode_frame
from kvserver.library.operations import PlainBuffer

VECTORS = json.loads(PROJECT.joinpath("tests", "vectors").joinpath("operations.json").read_text(encoding="utf-8"))


def same(results: Any, expected: Any) -> bool:
    """Equal with types: 1 is neither 1.0 nor True, and -0.0 not 0.0."""
    return json.dumps(results, sort_keys=True) == json.dumps(expected, sort_keys=True)


@pytest.mark.parametrize("form", [list, tuple])
def test_vector_gives_its_results_and_its_very_medium(form: type) -> None:
    for number, vector in enumerate(VECTORS):
        medium = PlainBuffer()
        results = run_operations([form(operation) for operation in vector["operations"]], medium)
        assert same(results, vector["expected"]), f"vector {number}"
        assert len(medium.read_all()) == vector["medium_length"], f"vector {number}"
        assert hashlib.sha256(medium.read_all()).hexdigest() == vector["medium_sha256"], f"vector {number}"


def test_vectors_hold_every_operation_and_end_in_every_way() -> None:
    names = {operation[0] for vector in VECTORS for operation in vector["operations"]}
    assert names == {"set", "get", "shutdown", "restore", "crash"}
    assert {True, False} <= {result for vector in VECTORS for result in vector["expected"] if isinstance(result, bool)}


def test_results_are_one_per_operation() -> None:
    operations = [("set", "a", [1]), ("get", "a"), ("get", "b"), ("restore",), ("shutdown",), ("crash",), ("restore",)]
    assert run_operations(operations) == [None, [1], None, False, True, None, True]
    assert run_operations([]) == []


def test_frame_behind_a_torn_one_is_not_found() -> None:
    medium = PlainBuffer()
    operations = [("set", "a", 1), ("shutdown",), ("set", "a", 2), ("crash",), ("shutdown",), ("restore",), ("get", "a")]
    assert run_operations(operations, medium)[-2:] == [True, 1]
    first, second = (encode_frame(canonical_by_json({"a": number})) for number in (1, 2))
    assert medium.read_all() == first + second[: len(second) // 2] + second


def test_crash_of_a_frame_with_an_odd_length_appends_the_shorter_half() -> None:
    medium = PlainBuffer()
    run_operations([["set", "a", 1], ["crash"]], medium)
    assert len(encode_frame(b'{"a":1}')) == 87
    assert medium.read_all() == encode_frame(b'{"a":1}')[:43]


@pytest.mark.parametrize(
    "operation",
    [
        ("del", "a"),
        ("SET", "a", 1),
        ("set", "a"),
        ("set", "a", 1, 2),
        ("get",),
        ("shutdown", 1),
        ("crash", "now"),
        (),
        ("",),
        (5,),
    ],
)
def test_unknown_operation_is_named_in_a_value_error(operation: tuple[Any, ...]) -> None:
    medium = PlainBuffer()
    with pytest.raises(ValueError, match="unknown operation") as raised:
        run_operations([("set", "a", 1), ("shutdown",), operation], medium)
    assert repr(operation) in str(raised.value)
    assert medium.read_all() == encode_frame(b'{"a":1}')
