"""Both forms read the members that Python's json reads, if these are strings, and nothing else; and store alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.leaves import assert_frees_all, each_form, forms, same
from kvserver._speedups.choice import IS_COMPILED
from kvserver._speedups.members import put_pairs, read_strings, table_place

Found = tuple[dict[bytes, bytes], bool] | None
Read = Callable[[bytes, int, int], Found]

# Pieces of JSON, whole and damaged, so that most texts are nearly right.
pieces = st.sampled_from(
    [*b'"a":"b"|"":""|"a":|,|:|"|{|}|[]|1|null|"$kvs"'.split(b"|"),
     *rb'\|\"|\\|\n|\/|\x|\u0041|\u00|\u00e9|\u0000'.split(b"|"),
     rb"\ud83d\ude00", rb"\ud83d", rb"\ude00", b" ", b"\t\r\n", b"\0", b"\x1f", b"\x7f", "é€😀".encode(), b"\xc3", b"\xa9",
     b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"x" * 90]
)  # fmt: skip
texts = st.lists(pieces, max_size=12).map(b"".join)
strings = st.text(max_size=8) | st.text(st.characters(max_codepoint=0x7F), max_size=100)
objects = st.dictionaries(strings, strings, min_size=1, max_size=6)


def by_json(text: bytes) -> Found:
    """What Python's json makes of it; None for what UTF-8 has no bytes for, too."""
    try:
        found = {name.encode(): value.encode() for name, value in json.loads(b"{%b}" % text).items()}
    except (ValueError, AttributeError):
        return None
    return (found, any(name[:1] == b"$" for name in found)) if found else None


@settings(max_examples=500)
@given(texts)
@example(b'"a":"b"},{"c":"d"')
@example(b'"a":"b",')
@example(b'"a":"b","a":"c"')
@example(b'"a":{"b":"c"}')
@example(b'"a":"\\')
@example(b'"a":"\\u004')
@example(b'"a":"\\ud83d\\u0041"')
def test_forms_read_what_json_reads(text: bytes) -> None:
    assert same("read_strings", text, 0, len(text)) == by_json(text)


@given(objects, st.booleans(), st.sampled_from([(",", ":"), (" ,\n", "\t: ")]), st.binary(max_size=3), st.binary(max_size=3))
def test_what_json_writes_is_read_between_its_positions(
    found: dict[str, str], ensure_ascii: bool, separators: tuple[str, str], before: bytes, behind: bytes
) -> None:
    text = json.dumps(found, ensure_ascii=ensure_ascii, separators=separators).encode()[1:-1]
    expected = {name.encode(): value.encode() for name, value in found.items()}
    read, _ = same("read_strings", before + text + behind, len(before), len(before) + len(text))
    assert (list(read), read) == (list(expected), expected)


def test_every_cut_of_some_members_is_read_as_json_reads_it() -> None:
    text = '"k\\n1":"v","é":"\\ud83d\\ude00" , "$kvs:x" :"\\"","k":"😀"'.encode()
    for position in range(len(text) + 1):
        for part in (text[:position], text[position:]):
            assert same("read_strings", part, 0, len(part)) == by_json(part)


@each_form("read_strings")
def test_names_and_values_are_bytes_of_their_own(leaf: Read) -> None:
    text = b'"name":"%b"' % (b"x" * 50_000)
    read = leaf(text, 0, len(text))
    assert read
    (pair,) = read[0].items()
    assert pair == (b"name", b"x" * 50_000)
    assert list(map(type, pair)) == [bytes, bytes]


@each_form("read_strings")
@pytest.mark.parametrize(
    "text",
    [
        b'"a":"b",' * 20 + b'"a":"c"',
        b'"\\u00e9":"\\n","b":"\\ud83d\\ude00"',
        '"é":"€"'.encode(),
        b'"a":"\xff"',
        b'"a":"\\x"',
        b'"a":1',
        b"",
    ],
)
def test_all_is_freed(leaf: Read, text: bytes) -> None:
    assert_frees_all(lambda: leaf(text, 0, len(text)), text)


@pytest.mark.skipif(not IS_COMPILED, reason="there is no form in C")
@pytest.mark.parametrize(
    "arguments", [(), ("text", 0, 1), (bytearray(b'"a":"b"'), 0, 7), (b"", None, 0), (b"", 0, "1"), (b"", 0)]
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        read_strings(*arguments)


@pytest.mark.skipif(not IS_COMPILED, reason="there is no form in C")
@pytest.mark.parametrize(("start", "end"), [(-1, 3), (3, 2), (9, 9), (2**70, 2**70), (-(2**70), 2**70)])
def test_positions_outside_of_the_text_find_nothing(start: int, end: int) -> None:
    assert read_strings(b'"a":"b"', start, end) is None
    assert read_strings(b'"a":"b"', 0, 2**70) == ({b"a": b"b"}, False)


@given(
    st.lists(st.tuples(st.binary(max_size=3), st.binary(max_size=2) | st.integers()), max_size=200),
    st.integers(1, 9),
    st.sampled_from([hash, len, lambda key: -1, lambda key: 2**40 + len(key)]),
)
def test_pairs_are_stored_in_their_shards_in_order(
    pairs: list[tuple[bytes, Any]], count: int, digest: Callable[[bytes], int]
) -> None:
    expected: list[dict[bytes, Any]] = [{} for _ in range(count)]
    for key, value in pairs:
        expected[digest(key) % count][key] = value
    for form in forms("put_pairs").values():
        shards: list[dict[bytes, Any]] = [{} for _ in range(count)]
        form(shards, digest, pairs)
        assert [list(shard.items()) for shard in shards] == [list(shard.items()) for shard in expected]


@each_form("put_pairs")
def test_shards_that_grow_keep_all_pairs(leaf: Callable[..., None]) -> None:
    pairs = [(b"key:%d" % number, b"%d" % number) for number in range(20_000)]
    shards: list[dict[bytes, Any]] = [{}, {}, {}]
    for start in range(0, len(pairs), 50):
        leaf(shards, hash, pairs[start : start + 50])
    assert {key: value for shard in shards for key, value in shard.items()} == dict(pairs)


@each_form("put_pairs")
def test_pairs_that_are_replaced_are_freed(leaf: Callable[..., None]) -> None:
    pairs, shards = [(b"key:%d" % number, object()) for number in range(100)], [dict[bytes, Any]() for _ in range(7)]
    assert_frees_all(lambda: leaf(shards, hash, pairs), *pairs[0])


@pytest.mark.skipif(not IS_COMPILED, reason="there is no form in C")
@pytest.mark.parametrize(
    "arguments",
    [(), ([], hash, []), ([{}], hash, ()), ({}, hash, []), ([1], hash, [(b"k", 1)]), ([{}], hash, [(b"k",)]),
     ([{}], hash, [("k", 1)]), ([{}], hash, [[b"k", 1]]), ([{}], None, [(b"k", 1)]), ([{}], lambda key: "x", [(b"k", 1)])],
)  # fmt: skip
def test_what_are_no_pairs_or_shards_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        put_pairs(*arguments)


@pytest.mark.skipif(not IS_COMPILED, reason="there is no form in C")
def test_table_has_a_place_that_changes_as_it_grows() -> None:
    shard: dict[bytes, Any] = {b"k": b"v"}
    place = table_place(shard)
    assert place == table_place(shard) > 0
    shard.update({b"%d" % number: b"v" for number in range(1_000)})
    assert table_place(shard) != place
    wrong: Any
    for wrong in ([], None, b""):
        with pytest.raises(TypeError):
            table_place(wrong)
