"""A list has one form in payloads and dumps, however it is held, and only what it would write is read as one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.containers.packed import MOST_BYTES, MOST_MEMBERS
from kvserver.data.entries import Value
from kvserver.data.kinds import fork, form_of_tag, load_of_dump
from kvserver.formats.names import name_of
from kvserver.types.list.value import LIST, List, elements_of, list_of, value_of

some_elements = st.lists(st.binary(max_size=80) | st.sampled_from([b"", b"\0", b"a\1b", b'"\\\x7f\n', b"$kvs:"]), min_size=1)


def read(document: Any) -> Value | None:
    form = form_of_tag("list")
    assert form
    return form.read(document)


def held(value: Value | None) -> list[bytes]:
    return list(elements_of(value) or ())


@given(some_elements)
def test_payload_and_dump_are_those_of_the_elements(elements: list[bytes]) -> None:
    value = value_of(List(elements))
    large = List(elements, is_value=True)
    expected = json.dumps([name_of(each) for each in elements], separators=(",", ":"), ensure_ascii=False).encode()
    assert LIST.json(value) == LIST.json(large) == ("list", expected)
    assert LIST.dump(value) == LIST.dump(large)
    assert LIST.encoding(value) == LIST.encoding(large) == b"quicklist"
    assert held(read(json.loads(expected))) == elements
    dumped = LIST.dump(value)
    load = load_of_dump(dumped[0])
    assert load
    assert held(load.value(dumped[1:], 10_000)) == elements


@pytest.mark.parametrize("document", [[], {}, "a", None, 1, {"a": "b"}, ["a", 1], ["a", ["b"]], ["$kvs:"], ["$kvs:YQ=="]])
def test_what_no_list_would_write_is_read_as_none(document: Any) -> None:
    assert read(document) is None


@pytest.mark.parametrize(
    ("elements", "is_packed"),
    [
        ([b"a"] * MOST_MEMBERS, True),
        ([b"a"] * (MOST_MEMBERS + 1), False),
        ([b"a" * MOST_BYTES], True),
        ([b"a" * (MOST_BYTES + 1)], False),
        ([b"a", b"\0"], False),
        ([b"a", b"\1"], False),
        ([b""], True),
    ],
)
def test_small_list_is_packed_and_a_large_one_is_not(elements: list[bytes], is_packed: bool) -> None:
    value = value_of(List(elements))
    assert isinstance(value, str) == is_packed
    assert held(value) == elements


def test_large_list_stays_so() -> None:
    value = value_of(List([b"a"] * (MOST_MEMBERS + 1)))
    assert isinstance(value, List)
    forked = fork(value)
    for each in (value, forked):
        assert isinstance(each, List)
        while len(each) > 1:
            each.pop_left()
        assert value_of(each) is each


@given(some_elements)
def test_size_grows_with_the_elements(elements: list[bytes]) -> None:
    for value in (value_of(List(elements)), List(elements, is_value=True)):
        assert list_of(value) is value
        assert LIST.size_bytes(value) >= sum(map(len, elements)) or len(elements) > 16
