"""Long strings: they are read in short steps, without a copy of the whole, and are the same values wherever they are cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.documents import as_json_text, canonical_by_json, cut_of, exact, tag_like_values, tagged_value
from helpers.long_values import (
    CHUNK_BYTES,
    LONG_BYTES,
    LONG_STRINGS,
    bytes_in_steps,
    check_reading,
    decode,
    long_entries,
    long_value,
    short_pieces,
)
from kvserver.data.entries import Entry, Expiring
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.encoder import encode
from kvserver.formats.tags import Mapping
from kvserver.types import PLAIN, TAGGED

# Beside the pieces, the buffer that a value is gathered in grows by an eighth now and then.
MOST_BYTES_IN_A_STEP = LONG_BYTES // 7 + 8 * CHUNK_BYTES


@pytest.mark.parametrize("name", ["binary", "expiring"])
def test_tag_is_decoded_in_short_steps_where_its_end_is_in_another_chunk(name: str) -> None:
    payload = b"".join(encode([cut_of({b"long": long_value(name)})], TAGGED))
    assert bytes_in_steps(decode(payload, TAGGED, CHUNK_BYTES, last=len(b"}}")))[0] < MOST_BYTES_IN_A_STEP


@pytest.mark.parametrize("name", LONG_STRINGS)
def test_long_string_is_decoded_in_short_steps(name: str) -> None:
    contents: dict[bytes, Entry] = {b"a": b"1", b"long": long_value(name), b"z": as_json_text([1])}
    payload = b"".join(encode([cut_of(contents)], TAGGED))
    assert bytes_in_steps(decode(payload, TAGGED, CHUNK_BYTES))[0] < MOST_BYTES_IN_A_STEP
    steps = list(decode(payload, TAGGED, CHUNK_BYTES))
    assert exact(dict(member for members in steps for member in members.get(0, ()))) == exact(contents)
    assert len(steps) > LONG_BYTES // PIECE_BYTES


@settings(max_examples=200)
@given(long_entries, st.integers(32, 96), st.integers(1, 40))
@example(b"\xff" * 40, 32, 1)
@example(Expiring(b"\xff" * 40, -1), 32, 7)
def test_value_encoded_is_decoded_wherever_it_is_cut(entry: Entry, length: int, size: int) -> None:
    payload = b'{"k":%b,"z":"1"}' % canonical_by_json(tagged_value(entry))
    with short_pieces(length):
        found = dict(member for members in decode(payload, TAGGED, size) for member in members.get(0, ()))
    assert exact(found) == exact({b"k": entry, b"z": b"1"})


units = st.sampled_from(
    [
        r"\ud83c",
        r"\udf88",
        r"\uD83C\uDF88",
        r"\u0041",
        r"\u00e9",
        r"\n",
        r"\/",
        r"\\",
        r"\"",
        "é",
        "\U0001f388",
        "a",
        "xyz",
        " ",
        *(r"\u12", r"\x", "\\", '"', "\n", "\0", '","', "}}", "gA==", "QUJD"),
    ]
)
string_texts = st.lists(units, max_size=30).map("".join)
openings = [
    '"',
    '{"$kvs":{"base64":"',
    '{"$kvs":{"expires_at_ms":1700000000000,"value":"',
    '{"$kvs":{"expires_at_ms":-0,"value":"',
]
endings = ['"', '"}}', '","expires_at_ms":17}}', '","value":"x"}}', '"} }', '","expires_at_ms":1.5}}', '"}', ""]
string_payloads = st.builds(
    lambda opening, text, ending, behind: f'{{"k" : {opening}{text}{ending}{behind}'.encode(),
    st.sampled_from(openings),
    string_texts
    | st.sampled_from(["gIGC" * 20, "gIGC" * 20 + "gA==", "gIGC" * 20 + "gB==", "QUJD" * 20, "gIGC" * 9 + "\\u0041" * 9]),
    st.sampled_from(endings),
    st.sampled_from(["}", ',"z":"1"}', ',"k":2}', " }", ""]),
)
documents = tag_like_values.map(lambda value: json.dumps({"k": value, "z": "x" * 30}, separators=(",", ":")).encode())


@settings(max_examples=600)
@given(string_payloads | documents, st.sampled_from([PLAIN, TAGGED]), st.integers(32, 96), st.integers(1, 40))
@example(b'{"k":"' + rb"\ud83c\udf88" * 9 + b'"}', PLAIN, 32, 1)
@example(b'{"k":"' + b"\xc3\xa9" * 30 + b'\xc3"}', PLAIN, 32, 7)
@example(b'{"k":"' + b"\0" * 30 + b'"}', PLAIN, 32, 7)
@example(b'{"k":{"$kvs":{"base64":"' + b"gIGC" * 9 + b"gA==gIGC" + b'"}}}', TAGGED, 32, 3)
@example(b'{"k":{"$kvs":{"base64":"' + b"gIGC" * 9 + b"gA==" + b'","base64":"gA=="}}}', TAGGED, 32, 3)
@example(b'{"k":{"$kvs":{"base64":"' + b"gIGC" * 9 + b"gB==" + b'"}}}', TAGGED, 32, 3)
@example(b'{"k":{"$kvs":{"base64":"' + b"QUJD" * 9 + b'"}}}', TAGGED, 32, 3)
@example(b'{"$kvs:YQ==":{"$kvs":{"base64":"' + b"gIGC" * 9 + b'"}},"z":"1"}', TAGGED, 32, 3)
@example(b'{"$kvs:gA==":{"$kvs":{"expires_at_ms":1,"value":"' + b"x" * 30 + b'","value":1}}}', TAGGED, 32, 3)
def test_long_string_is_read_or_refused_as_json_does(payload: bytes, mapping: Mapping, length: int, size: int) -> None:
    check_reading(payload, mapping, length, size)
