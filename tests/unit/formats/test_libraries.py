"""Function libraries in a payload: one member, in its place among the names, which is read back and is no key."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.documents import Contents, canonical_by_json, cut_of, keys, place_of, plain_values, tagged_name, tagged_value
from kvserver.data.databases import Databases
from kvserver.data.entries import Entry
from kvserver.formats.codec import JSONText
from kvserver.formats.decoder import Decoder
from kvserver.formats.encoder import encode
from kvserver.formats.libraries import MEMBER, pieces, read
from kvserver.formats.names import name_of
from kvserver.types import PLAIN, TAGGED

names = st.text("aZ09_", min_size=1, max_size=4).map(str.encode)
texts = (
    st.sampled_from([b"#!lua name=x\nreturn \xff", b"#!lua name=x\n", b"", b"$kvs:x", b'\x00\xf0\x9f\x98\x80"\\'])
    | st.binary()
)
libraries = st.dictionaries(names, texts, min_size=1, max_size=4)
# They stand before and behind the libraries among the names.
neighbours = st.sampled_from([b"$kvs:", b"$kvs::functions", b"$kvs:\xff", b"\xfb\xef\xbe", b"\xff\xff\xff", b"$", b"z"])


def decoded(payload: bytes, size: int = 1 << 20) -> tuple[list[tuple[int, bytes, Entry]], dict[bytes, bytes]]:
    """The members and the libraries of a payload that comes in chunks of some size."""
    decoder = Decoder(TAGGED)
    found: list[tuple[int, bytes, Entry]] = []

    def note(steps: Iterator[dict[int, list[tuple[bytes, Entry]]]]) -> None:
        for members in steps:
            found.extend((number, key, entry) for number, some in members.items() for key, entry in some)

    for start in range(0, len(payload), size):
        note(decoder.feed(payload[start : start + size]))
    note(decoder.finish())
    assert decoder.member_count == len(found)
    return found, decoder.libraries


@given(st.dictionaries(neighbours | keys, plain_values, max_size=4), st.booleans(), libraries)
def test_libraries_stand_in_their_place_and_come_back(members: Contents, has_others: bool, held: dict[bytes, bytes]) -> None:
    databases = Databases(lambda: 0)
    for number in (0, 3) if has_others else (0,):
        for key, entry in members.items():
            databases[number].set(key, entry)
    frozen = databases.cut()
    payload = b"".join(encode(frozen.cuts, TAGGED, held))
    document = {("$kvs:3:" if number else "") + tagged_name(key): tagged_value(members[key])
                for number in ((0, 3) if has_others else (0,)) for key in members}  # fmt: skip
    assert payload == canonical_by_json(document | {MEMBER: {name.decode(): name_of(text) for name, text in held.items()}})
    for size in (1 << 20, 7):
        found, read_back = decoded(payload, size)
        assert read_back == held
        assert len(found) == len(document)


def test_long_libraries_come_back_in_chunks_between_other_members() -> None:
    held = {b"one": b"#!lua name=one\n" + b"x" * 100_000, b"two": b"#!lua name=two\n" + b"-- \xff\n" * 30_000}
    payload = b"".join(encode([cut_of({b"a": b"1", b"\xff": b"2", b"$": b"y" * 40_000})], TAGGED, held))
    for size in (1 << 20, 1 << 15, 1000):
        found, read_back = decoded(payload, size)
        assert read_back == held
        assert [key for _, key, _ in found] == [b"$", b"\xff", b"a"]


@pytest.mark.parametrize(
    "value",
    [
        1,
        "text",
        [],
        {},
        {"a": 1},
        {"a-b": "x"},
        {"": "x"},
        {"é": "x"},
        {"a": "$kvs:eA=="},
        {"a": "$kvs:!"},
        {"$kvs": "x"},
        {"a": None},
    ],
)
def test_what_would_not_be_written_so_is_a_document_of_a_user(value: object) -> None:
    found, read_back = decoded(canonical_by_json({MEMBER: value}))
    assert (read_back, [key for _, key, _ in found]) == ({}, [MEMBER.encode()])


def test_other_order_or_white_space_is_still_the_same_object() -> None:
    # A document is put into its canonical form before it is looked at.
    found, read_back = decoded(b'{ "$kvs::functions" : {"b": "2", "a": "1"} }')
    assert (read_back, found) == ({b"a": b"1", b"b": b"2"}, [])


def test_frames_of_the_library_have_no_such_member() -> None:
    place = place_of(PLAIN, MEMBER)
    assert place == MEMBER.encode()
    decoder = Decoder(PLAIN)
    members = [*decoder.feed(b'{"$kvs::functions":{"a":"1"}}'), *decoder.finish()]
    assert [dict(each) for each in members if each] == [{0: [(MEMBER.encode(), JSONText(b'{"a":"1"}'))]}]
    assert decoder.libraries == {}


@given(libraries)
def test_pieces_are_canonical_json(held: dict[bytes, bytes]) -> None:
    text = b"".join(pieces(held))
    assert text == canonical_by_json(json.loads(text))
    assert read(JSONText(text)) == held
