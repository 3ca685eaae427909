"""Values of megabytes are written and read in short steps, without a copy of the whole, and are the same values behind it."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import pytest
from documents import (
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
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvserver.data.entries import Entry, Expiring
from kvserver.errors import PayloadInvalid
from kvserver.formats import codec, decoder, encoder, longstring, tags
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.decoder import Decoder, Member
from kvserver.formats.encoder import encode
from kvserver.formats.tags import PLAIN, TAGGED, Mapping

LONG_BYTES = 8_000_000
LONG_VALUES: dict[str, Entry] = {
    "plain": b"0123456789abcdefghijklmnopqrstuvwxyz " * (LONG_BYTES // 37),
    "escapes": 'é"\\\n\x01'.encode() * (LONG_BYTES // 6),
    "binary": b"\xff\x00\x80abcde" * (LONG_BYTES // 8),
    "binary at its end": b"x" * LONG_BYTES + b"\xc3",
    "expiring": Expiring(b"x" * LONG_BYTES, 1_700_000_000_000),
    "document": as_json_text([{"name": "Grace", "born": 1906, "x": [1.5, True, None]}] * (LONG_BYTES // 50)),
}

LONG_STRINGS = [name for name in LONG_VALUES if name != "document"]


@contextmanager
def short_pieces(length: int) -> Iterator[None]:
    """Whatever is longer than this is a long value."""
    with ExitStack() as stack:
        for module in (codec, encoder, tags, longstring):
            stack.enter_context(mock.patch.object(module, "PIECE_BYTES", length))
        stack.enter_context(mock.patch.object(tags, "_BASE64_PIECE_BYTES", length // 4 * 3))
        stack.enter_context(mock.patch.object(decoder, "_WINDOW_BYTES", 1))
        yield


def most_bytes_in_a_step(steps: Iterable[object]) -> int:
    """How much one step allocates at most beyond what is there before it; what a step gives is dropped."""
    most = 0
    tracemalloc.start()
    try:
        iterator = iter(steps)
        while True:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                next(iterator)
            except StopIteration:
                return most
            most = max(most, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


# --- Written ---


@pytest.mark.parametrize("name", LONG_VALUES)
def test_long_value_is_encoded_in_short_steps(name: str) -> None:
    cut = cut_of({b"a": b"1", b"long": LONG_VALUES[name], b"z": b"1"})
    assert most_bytes_in_a_step(encode(cut, TAGGED)) < 24 * PIECE_BYTES  # escapes take six times as much as what they escape
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
    assert most_bytes_in_a_step(decode(payload, TAGGED, CHUNK_BYTES, last=len(b"}}"))) < MOST_BYTES_IN_A_STEP


@pytest.mark.parametrize("name", LONG_STRINGS)
def test_long_string_is_decoded_in_short_steps(name: str) -> None:
    contents: dict[bytes, Entry] = {b"a": b"1", b"long": LONG_VALUES[name], b"z": as_json_text([1])}
    payload = b"".join(encode(cut_of(contents), TAGGED))
    assert most_bytes_in_a_step(decode(payload, TAGGED, CHUNK_BYTES)) < MOST_BYTES_IN_A_STEP
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
