"""Long documents: they are read in short steps, without a copy of the whole, and are read or refused as by Python's json."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.documents import AWKWARD_TEXTS, as_json_text, canonical_by_json, cut_of, exact, placed
from helpers.long_values import (
    CHUNK_BYTES,
    DOCUMENT_BYTES,
    LONG_DOCUMENTS,
    bytes_in_steps,
    check_reading,
    decode,
    long_value,
    short_pieces,
)
from kvserver.data.entries import Entry, Expiring
from kvserver.errors import PayloadInvalid
from kvserver.formats.codec import MAX_DEPTH, PIECE_BYTES, JSONText
from kvserver.formats.encoder import encode
from kvserver.formats.longdocument import LongDocument, begin_document
from kvserver.formats.tags import Mapping
from kvserver.types import PLAIN, TAGGED


@pytest.mark.parametrize("name", LONG_DOCUMENTS)
def test_long_document_is_decoded_in_short_steps(name: str) -> None:
    contents: dict[bytes, Entry] = {b"a": b"1", b"long": long_value(name), b"z": as_json_text([1])}
    payload = b"".join(encode([cut_of(contents)], TAGGED))
    allocated = bytes_in_steps(decode(payload, TAGGED, CHUNK_BYTES))
    # The one that gives the value copies it, and nothing more: to parse it as a whole would take several times as much.
    assert allocated[0] < 2 * DOCUMENT_BYTES
    assert allocated[1] < DOCUMENT_BYTES // 2
    steps = list(decode(payload, TAGGED, CHUNK_BYTES))
    assert exact(dict(member for members in steps for member in members.get(0, ()))) == exact(contents)
    assert len(steps) > 7 * DOCUMENT_BYTES // PIECE_BYTES


def nested(depth: int) -> bytes:
    return b"[" * depth + b'"x",' * 30_000 + b"1" + b"]" * depth


@pytest.mark.parametrize(("depth", "is_in_steps"), [(1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_long_document_is_decoded_in_steps_up_to_the_depth_that_is_taken(depth: int, is_in_steps: bool) -> None:
    payload = b'{"k":%b}' % nested(depth)
    with mock.patch.object(LongDocument, "as_json", autospec=True, side_effect=LongDocument.as_json) as as_json:
        found = [member for members in decode(payload, PLAIN, CHUNK_BYTES) for member in placed(members)]
    assert exact(found) == exact([(b"k", JSONText(nested(depth)))])
    assert as_json.called == (not is_in_steps)


def test_long_document_with_names_too_long_to_read_with_each_piece_is_read_as_a_whole() -> None:
    text = b'{"a":0,"%b":' % (b"n" * 1000) * 40 + b"[" + b'"x",' * 30_000 + b"1]" + b"}" * 40
    with mock.patch.object(LongDocument, "as_json", autospec=True, side_effect=LongDocument.as_json) as as_json:
        found = [member for members in decode(b'{"k":%b}' % text, PLAIN, CHUNK_BYTES) for member in placed(members)]
    assert exact(found) == exact([(b"k", JSONText(text))])
    assert as_json.called


def test_long_document_that_is_nested_deeper_than_python_reads_is_refused() -> None:
    with pytest.raises(PayloadInvalid, match="nested deeper"):
        list(decode(b'{"k":%b}' % nested(100_000), PLAIN, CHUNK_BYTES))


names = st.sampled_from(["", "a", "b", "aa", "ab", '"', "\\", "\n", "é", "\uffff", "\U0001f388", "$kvs", "value"])
leaves = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 12, 1.5, -0.0, 1e16, 1e-5, 2**63, 2**64, 10**30])
    | st.sampled_from([*AWKWARD_TEXTS, "a, b", '{"a":[', "\\" * 9, '\\"' * 9, "é" * 9, "\0" * 9, "x" * 40, "\U0001f388" * 9])
    | st.sampled_from(['a\\"' * 90, "aé\U0001f388" * 50, "\0" * 50])
)
nests = st.recursive(
    leaves,
    lambda inner: st.lists(inner, min_size=1, max_size=6) | st.dictionaries(names, inner, min_size=1, max_size=6),
    max_leaves=40,
)
larger_documents = st.lists(nests, min_size=1, max_size=4) | st.dictionaries(names, nests, min_size=1, max_size=6)


@settings(max_examples=200)
@given(larger_documents, st.integers(8 * 80, 8 * 160), st.integers(1, 200), st.booleans())
def test_canonical_document_is_taken_as_it_stands(document: Any, length: int, size: int, is_tagged: bool) -> None:
    text = canonical_by_json(document)
    opening = b'{"$kvs":{"expires_at_ms":-7,"value":' if is_tagged else b""
    data = opening + text + b"}}"
    with short_pieces(length):
        begun = begin_document(data, 0, has_tags=is_tagged)
        if len(text) < 2:
            return
        assert begun
        long, position = begun
        end = position
        while not long.has_ended:
            end = min(end + size, len(data))
            after = long.read(data[:end], position)
            assert after is not None, "it is canonical"
            assert after > position or end < len(data), "no progress"
            position = after
        entry, position = long.finish(data, position) or (None, 0)
    assert exact(entry) == exact(Expiring(JSONText(text), -7) if is_tagged else JSONText(text))
    assert position == len(data) - (0 if is_tagged else len(b"}}"))


scraps = st.sampled_from(
    [
        *b' "[]{},:0123456789-.eE+\\/tfnNI\xc3\x80\xff\0\n'.decode("latin-1"),
        *("0,", "-0", ".0", "e0", "1e5", "1E+16", "NaN", "null", '"a":1,', "[]", "{}"),
        *(r"\u0041", r"\ud83c", r"\udf88", r"\u000a", r"\""),
    ]
).map(lambda text: text.encode("latin-1"))


def repeated(text: bytes, start: int, length: int) -> bytes:
    """With what is between two commas once more behind itself."""
    parts = text.split(b",")
    start %= len(parts)
    return b",".join([*parts[: start + length], *parts[start:]])


def swapped(text: bytes, first: int, second: int) -> bytes:
    parts = text.split(b",")
    first, second = first % len(parts), second % len(parts)
    parts[first], parts[second] = parts[second], parts[first]
    return b",".join(parts)


def respelled(text: bytes, start: int, length: int, scrap: bytes) -> bytes:
    start %= len(text)
    return text[:start] + scrap + text[start + length :]


places = st.integers(0, 1000)
canonical_texts = larger_documents.map(canonical_by_json)
near_canonical_texts = (
    canonical_texts
    | st.builds(repeated, canonical_texts, places, st.integers(1, 3))
    | st.builds(swapped, canonical_texts, places, places)
    | st.builds(respelled, canonical_texts, places, st.integers(0, 2), scraps)
    | larger_documents.map(lambda document: json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())
    | larger_documents.map(lambda document: json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    | larger_documents.map(lambda document: json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode())
)
around = st.sampled_from(
    [
        b'{"k":%b}',
        b'{"a":"1","k":%b,"z":"1"}',
        b'{"k":{"$kvs":{"expires_at_ms":17,"value":%b}},"z":1}',
        b'{"k":{"$kvs":{"value":%b}},"z":1}',
        b'{"k":{"$kvs":%b},"z":1}',
        b'{"k":{"$kvs":{"value":{"$kvs":%b}}},"z":1}',
        b'{"k":{"$kvs":{"value":{"$kvs":%b}},"a":1}}',
        b'{"k":{"$kvs":{"expires_at_ms":-0,"value":%b}}}',
        b'{"k":{"$kvs":{"expires_at_ms":17,"value":%b},"x":1}}',
        b'{"k":[1,%b] ,"z":"1"}',
        b'{"k":{"$kvs":{"expires_at_ms":17,"value":%b,"x":1}}}',
    ]
)


@settings(max_examples=600)
@given(around, near_canonical_texts, st.sampled_from([PLAIN, TAGGED]), st.integers(32, 800), st.integers(1, 60))
@example(b'{"k":%b}', b"[,%b]" % (b"1" * 50), PLAIN, 64, 60)
@example(b'{"k":%b}', b'{"a":1,"a":1,"c":33333333333333333333333333333333333333}', PLAIN, 32, 60)
@example(b'{"k":%b}', b'["' + rb"\ud83c\udf88" * 9 + b'"]', PLAIN, 64, 60)
@example(b'{"k":%b}', b'[1,"' + b"x" * 60 + b"\xf0" * 3 + b'"]', PLAIN, 64, 60)
@example(b'{"k":{"$kvs":{"value":%b}},"z":1}', b'["%b"]' % (b"x" * 90), TAGGED, 64, 60)
def test_document_is_read_or_refused_as_json_does(frame: bytes, text: bytes, mapping: Mapping, length: int, size: int) -> None:
    check_reading(frame % text, mapping, length, size)


@pytest.mark.parametrize(
    "number",
    [
        *("1e16", "1e+16", "1E+16", "0.00001", "1e-5", "1e-05", "1.5", "1.50", "1.0", "1e5", "-0", "-0.0", "5e-324", "1e400"),
        *("123456789012345678901234567890", "18446744073709551616", "NaN", "-Infinity", "01", "1.", "+1", "true", "nul"),
    ],
)
def test_number_of_a_long_document_is_read_or_refused_as_json_does(number: str) -> None:
    for text in (f'[{number},"{"x" * 90}"]', f'["{"x" * 90}",{number}]', f'{{"a":[{number},{number}],"b":"{"x" * 90}"}}'):
        check_reading(b'{"k":%b,"z":"1"}' % text.encode(), PLAIN, 8 * 40, 60)
