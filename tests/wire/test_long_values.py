"""Values of megabytes are written and read in short steps, without a copy of the whole, and are the same values behind it."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.documents import (
    AWKWARD_BYTES,
    AWKWARD_TEXTS,
    as_json_text,
    canonical_by_json,
    cut_of,
    exact,
    is_utf8,
    tag_like_values,
    tagged_value,
)
from kvserver.data.encodings import JSONText
from kvserver.data.entries import Entry, Expiring
from kvserver.errors import PayloadInvalid
from kvserver.formats import codec, decoder, encoder, longdocument, longstring, tags
from kvserver.formats.codec import MAX_DEPTH, PIECE_BYTES
from kvserver.formats.decoder import Decoder, Member
from kvserver.formats.encoder import encode
from kvserver.formats.longdocument import LongDocument, begin_document
from kvserver.formats.tags import PLAIN, TAGGED, Mapping

LONG_BYTES = 8_000_000
DOCUMENT_BYTES = 3_000_000  # which take longer
LONG_VALUES: dict[str, Entry] = {
    "plain": b"0123456789abcdefghijklmnopqrstuvwxyz " * (LONG_BYTES // 37),
    "escapes": 'é"\\\n\x01'.encode() * (LONG_BYTES // 6),
    "binary": b"\xff\x00\x80abcde" * (LONG_BYTES // 8),
    "binary at its end": b"x" * LONG_BYTES + b"\xc3",
    "expiring": Expiring(b"x" * LONG_BYTES, 1_700_000_000_000),
    "document": as_json_text([{"name": "Grace", "born": 1906, "x": [1.5, True, None]}] * (DOCUMENT_BYTES // 50)),
    "document of long strings": as_json_text(
        {"a": "\0" * (DOCUMENT_BYTES // 12), "b": ["aé\U0001f388" * (DOCUMENT_BYTES // 14)]}
    ),
    "document that expires": Expiring(
        as_json_text({f"{number:07}": [] for number in range(DOCUMENT_BYTES // 13)}), 1_700_000_000_000
    ),
    "document like a tag": as_json_text({"$kvs": {"value": [123_456] * (DOCUMENT_BYTES // 7)}}),
}

LONG_DOCUMENTS = [name for name in LONG_VALUES if "document" in name]
LONG_STRINGS = [name for name in LONG_VALUES if name not in LONG_DOCUMENTS]


@contextmanager
def short_pieces(length: int) -> Iterator[None]:
    """Whatever is longer than this is a long value."""
    with ExitStack() as stack:
        for module in (codec, encoder, tags, longstring, longdocument):
            stack.enter_context(mock.patch.object(module, "PIECE_BYTES", length))
        stack.enter_context(mock.patch.object(tags, "_BASE64_PIECE_BYTES", length // 4 * 3))
        stack.enter_context(mock.patch.object(decoder, "_WINDOW_BYTES", 1))
        yield


def bytes_in_steps(steps: Iterable[object]) -> list[int]:
    """How much each step allocates at most beyond what is there before it, the most first; what a step gives is dropped."""
    allocated: list[int] = []
    tracemalloc.start()
    try:
        iterator = iter(steps)
        while True:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                next(iterator)
            except StopIteration:
                return sorted(allocated, reverse=True)
            allocated.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


# --- Written ---


@pytest.mark.parametrize("name", LONG_VALUES)
def test_long_value_is_encoded_in_short_steps(name: str) -> None:
    cut = cut_of({b"a": b"1", b"long": LONG_VALUES[name], b"z": b"1"})
    assert bytes_in_steps(encode(cut, TAGGED))[0] < 24 * PIECE_BYTES  # escapes take six times as much as what they escape
    assert max(map(len, encode(cut, TAGGED))) <= 6 * PIECE_BYTES


@pytest.mark.parametrize("name", LONG_VALUES)
def test_long_value_is_encoded_canonically(name: str) -> None:
    entry = LONG_VALUES[name]
    payload = b"".join(encode(cut_of({b"a": b"1", b"long": entry, b"z": b"1"}), TAGGED))
    assert payload == canonical_by_json({"a": "1", "long": tagged_value(entry), "z": "1"})


long_texts = st.lists(st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=12), max_size=12).map("".join)
long_bytes = st.lists(st.sampled_from(AWKWARD_BYTES) | st.binary(max_size=8), max_size=12).map(b"".join)
long_documents = st.dictionaries(st.sampled_from(AWKWARD_TEXTS), st.floats(allow_nan=False) | long_texts).map(as_json_text)
long_values = long_texts.map(str.encode) | long_bytes | long_documents
long_entries = long_values | st.builds(Expiring, long_values, st.integers(-(2**63), 2**63))


@settings(max_examples=300)
@given(long_entries, st.integers(4, 24))
@example("é\U0001f388".encode() * 5, 5)
@example("é\U0001f388".encode() * 5 + b"\xf0\x9f\x8e", 5)
@example(as_json_text({"$kvs": "x" * 30}), 8)
@example(Expiring(as_json_text({"$kvs": 0}), 1), 8)
def test_value_encoded_in_pieces_is_canonical_wherever_it_is_cut(entry: Entry, length: int) -> None:
    with short_pieces(length):
        assert b"".join(TAGGED.encode_long(entry)) == canonical_by_json(tagged_value(entry))
        if isinstance(entry, bytes) and is_utf8(entry):
            assert b"".join(PLAIN.encode_long(entry)) == PLAIN.encode_entry(entry)


@settings(max_examples=20)
@given(st.lists(long_entries, min_size=20, max_size=40), st.integers(4, 24))
def test_long_and_short_values_are_members_of_one_object(some: list[Entry], length: int) -> None:
    contents = {b"%d" % number: entry for number, entry in enumerate(some)}
    with short_pieces(length):
        payload = b"".join(encode(cut_of(contents), TAGGED))
    assert payload == canonical_by_json({key.decode(): tagged_value(entry) for key, entry in contents.items()})


# --- Read ---

CHUNK_BYTES = 1 << 18


def decode(payload: bytes, mapping: Mapping, size: int, last: int = 0) -> Iterator[list[Member]]:
    """The steps of a decoder that is fed in chunks of this size; but so many bytes come in a chunk of their own, the last."""
    found = Decoder(mapping)
    end = len(payload) - last
    for start in range(0, end, size):
        yield from found.feed(payload[start : min(start + size, end)])
    yield from found.feed(payload[end:])
    yield from found.finish()


# Beside the pieces, the buffer that a value is gathered in grows by an eighth now and then.
MOST_BYTES_IN_A_STEP = LONG_BYTES // 7 + 8 * CHUNK_BYTES


@pytest.mark.parametrize("name", ["binary", "expiring"])
def test_tag_is_decoded_in_short_steps_where_its_end_is_in_another_chunk(name: str) -> None:
    payload = b"".join(encode(cut_of({b"long": LONG_VALUES[name]}), TAGGED))
    assert bytes_in_steps(decode(payload, TAGGED, CHUNK_BYTES, last=len(b"}}")))[0] < MOST_BYTES_IN_A_STEP


@pytest.mark.parametrize("name", LONG_STRINGS)
def test_long_string_is_decoded_in_short_steps(name: str) -> None:
    contents: dict[bytes, Entry] = {b"a": b"1", b"long": LONG_VALUES[name], b"z": as_json_text([1])}
    payload = b"".join(encode(cut_of(contents), TAGGED))
    assert bytes_in_steps(decode(payload, TAGGED, CHUNK_BYTES))[0] < MOST_BYTES_IN_A_STEP
    steps = list(decode(payload, TAGGED, CHUNK_BYTES))
    assert exact(dict(member for members in steps for member in members)) == exact(contents)
    assert len(steps) > LONG_BYTES // PIECE_BYTES


@settings(max_examples=200)
@given(long_entries, st.integers(32, 96), st.integers(1, 40))
@example(b"\xff" * 40, 32, 1)
@example(Expiring(b"\xff" * 40, -1), 32, 7)
def test_value_encoded_is_decoded_wherever_it_is_cut(entry: Entry, length: int, size: int) -> None:
    payload = b'{"k":%b,"z":"1"}' % canonical_by_json(tagged_value(entry))
    with short_pieces(length):
        found = dict(member for members in decode(payload, TAGGED, size) for member in members)
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


def check_reading(payload: bytes, mapping: Mapping, length: int, size: int) -> None:
    """Fed in chunks of this size, with pieces of this length, the payload holds what json finds, or is refused as by json."""
    expected: dict[bytes, Entry] | None
    try:
        document = json.loads(payload.decode())
    except ValueError:
        expected = None
    else:
        expected = {mapping.decode_key(name): mapping.decode_entry(value) for name, value in document.items()}
    found: dict[bytes, Entry] | None
    try:
        with short_pieces(length):
            found = dict(member for members in decode(payload, mapping, size) for member in members)
    except PayloadInvalid:
        found = None
    assert exact(found) == exact(expected)


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


@pytest.mark.parametrize("name", LONG_DOCUMENTS)
def test_long_document_is_decoded_in_short_steps(name: str) -> None:
    contents: dict[bytes, Entry] = {b"a": b"1", b"long": LONG_VALUES[name], b"z": as_json_text([1])}
    payload = b"".join(encode(cut_of(contents), TAGGED))
    allocated = bytes_in_steps(decode(payload, TAGGED, CHUNK_BYTES))
    # The one that gives the value copies it, and nothing more: to parse it as a whole would take several times as much.
    assert allocated[0] < 2 * DOCUMENT_BYTES
    assert allocated[1] < DOCUMENT_BYTES // 2
    steps = list(decode(payload, TAGGED, CHUNK_BYTES))
    assert exact(dict(member for members in steps for member in members)) == exact(contents)
    assert len(steps) > 7 * DOCUMENT_BYTES // PIECE_BYTES


def nested(depth: int) -> bytes:
    return b"[" * depth + b'"x",' * 30_000 + b"1" + b"]" * depth


@pytest.mark.parametrize(("depth", "is_in_steps"), [(1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_long_document_is_decoded_in_steps_up_to_the_depth_that_is_taken(depth: int, is_in_steps: bool) -> None:
    payload = b'{"k":%b}' % nested(depth)
    with mock.patch.object(LongDocument, "as_json", autospec=True, side_effect=LongDocument.as_json) as as_json:
        found = [member for members in decode(payload, PLAIN, CHUNK_BYTES) for member in members]
    assert exact(found) == exact([(b"k", JSONText(nested(depth)))])
    assert as_json.called == (not is_in_steps)


def test_long_document_with_names_too_long_to_read_with_each_piece_is_read_as_a_whole() -> None:
    text = b'{"a":0,"%b":' % (b"n" * 1000) * 40 + b"[" + b'"x",' * 30_000 + b"1]" + b"}" * 40
    with mock.patch.object(LongDocument, "as_json", autospec=True, side_effect=LongDocument.as_json) as as_json:
        found = [member for members in decode(b'{"k":%b}' % text, PLAIN, CHUNK_BYTES) for member in members]
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
