"""Both forms put strings in the same order, that of their bytes, and write the members that JSON writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups.choice import IS_COMPILED
from kvserver._speedups.ordering import encode_members, sort_strings, sorted_members

# Strings that have much or nothing in common, and differ in a NUL at their end.
strings = st.one_of(
    st.binary(max_size=12),
    st.lists(st.sampled_from([b"\0", b"a", b"\xff"]), max_size=12).map(b"".join),
    st.integers(0, 300).map(lambda number: b"key:%012d" % number),
)
names = st.binary(max_size=6).filter(lambda name: b"\0" not in name)
texts = st.text(max_size=6) | st.text(st.characters(max_codepoint=0x7F), max_size=20)
pieces = st.one_of(
    texts.map(str.encode), st.binary(max_size=5), st.sampled_from([b"\0", b'"', b"\\", b"\x1f", b"\x7f", b"\xc3"])
)


@settings(max_examples=300)
@given(st.lists(strings, max_size=80))
@example([])
@example([b"a\0", b"a"])
@example([b"key:%03d" % (number * 7 % 500) for number in range(500)])
def test_strings_are_sorted_in_place(unsorted: list[bytes]) -> None:
    for form in forms("sort_strings").values():
        found = unsorted.copy()
        assert form(found) is None
        assert found == sorted(unsorted)
        assert sorted(map(id, found)) == sorted(map(id, unsorted))


@given(st.dictionaries(names, st.binary(max_size=9) | st.integers() | st.text(max_size=3), max_size=40), st.integers(0, 9))
def test_members_are_sorted_with_their_values(contents: dict[bytes, Any], most: int) -> None:
    if not contents:
        return
    expected = [
        name + b"\0" + (value if isinstance(value, bytes) and len(value) <= most else b"\0")
        for name, value in sorted(contents.items())
    ]
    assert same("sorted_members", list(contents), list(contents.values()), most) == expected


def test_bytes_of_another_type_are_no_plain_value() -> None:
    class Other(bytes):
        pass

    assert same("sorted_members", [b"b", b"a"], [Other(b"x"), b"y"], 5) == [b"a\0y", b"b\0\0"]


@settings(max_examples=300)
@given(
    st.lists(st.tuples(pieces, pieces).map(b"\0".join), min_size=1, max_size=8),
    st.sampled_from([b"", b"$kvs:3:"]),
    st.sampled_from([b"{", b","]),
)
@example([b"k\0" + b"x" * 7 + b'"'], b"", b"{")
@example([b"k\0" + b"x" * 8 + b"\\"], b"", b"{")
@example([b"k\0\xc3", b"\xa9\0v"], b"", b"{")
@example([b"k\0\0"], b"", b"{")
def test_members_are_written_as_json_writes_them_or_not_at_all(members: list[bytes], start: bytes, separator: bytes) -> None:
    found = same("encode_members", members, start, separator)
    try:
        pairs = [(start + member).decode().split("\0") for member in members]
        expected = ",".join(
            f"{json.dumps(name, ensure_ascii=False)}:{json.dumps(value, ensure_ascii=False)}" for name, value in pairs
        )
        is_plain = not any("\\" in json.dumps(text, ensure_ascii=False) for pair in pairs for text in pair)
    except ValueError:
        is_plain = False
    assert found == (separator + expected.encode() if is_plain else None)


@each_form("sort_strings")
def test_sorting_holds_nothing(leaf: Callable[..., None]) -> None:
    found = [b"key:%d" % (number * 7 % 50) for number in range(50)]
    assert_frees_all(lambda: leaf(found), found, *found[:5])


@each_form("sorted_members")
def test_members_hold_nothing(leaf: Callable[..., list[bytes]]) -> None:
    keys, values = [b"b", b"a"], [b"value", object()]
    assert_frees_all(lambda: leaf(keys, values, 10), keys, values, *keys, *values)


@each_form("encode_members")
@pytest.mark.parametrize("members", [[b"k\0v"], [b"k\0v", b"none"], [b"k\0\xff"], ["k\0é".encode()], [b'k\0"']])
def test_writing_holds_nothing(leaf: Callable[..., bytes | None], members: list[bytes]) -> None:
    assert_frees_all(lambda: leaf(members, b"", b"{"), members, *members)


@pytest.mark.skipif(not IS_COMPILED, reason="there is no form in C")
@pytest.mark.parametrize(
    ("leaf", "arguments"),
    [
        *((sort_strings, arguments) for arguments in [(), ((),), ([b"a", "b"],), ([1],), ([b"a"], 1)]),
        *(
            (sorted_members, arguments)
            for arguments in [(), ([b"a"], [], 1), ([b"a"], [b"b"], None), (["a"], [b"b"], 1), ((b"a",), (b"b",), 1)]
        ),
        *(
            (encode_members, arguments)
            for arguments in [(), ([], b"", b"{"), (["a"], b"", b"{"), ([b"a\0b"], "", b"{"), ([b"a\0b"], b"", None)]
        ),
    ],
)
def test_wrong_arguments_are_refused(leaf: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        leaf(*arguments)
