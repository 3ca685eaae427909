"""Values of megabytes are written and read in short steps, without a copy of the whole, and are the same values behind it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import pytest
from documents import AWKWARD_BYTES, AWKWARD_TEXTS, as_json_text, canonical_by_json, cut_of, is_utf8, tagged_value
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvserver.data.entries import Entry, Expiring
from kvserver.formats import codec, encoder, tags
from kvserver.formats.codec import PIECE_BYTES
from kvserver.formats.encoder import encode
from kvserver.formats.tags import PLAIN, TAGGED

LONG_BYTES = 8_000_000
LONG_VALUES: dict[str, Entry] = {
    "plain": b"0123456789abcdefghijklmnopqrstuvwxyz " * (LONG_BYTES // 37),
    "escapes": 'é"\\\n\x01'.encode() * (LONG_BYTES // 6),
    "binary": b"\xff\x00\x80abcde" * (LONG_BYTES // 8),
    "binary at its end": b"x" * LONG_BYTES + b"\xc3",
    "expiring": Expiring(b"x" * LONG_BYTES, 1_700_000_000_000),
    "document": as_json_text([{"name": "Grace", "born": 1906, "x": [1.5, True, None]}] * (LONG_BYTES // 50)),
}


@contextmanager
def short_pieces(length: int) -> Iterator[None]:
    """Whatever is longer than this is a long value."""
    with ExitStack() as stack:
        for module in (codec, encoder, tags):
            stack.enter_context(mock.patch.object(module, "PIECE_BYTES", length))
        stack.enter_context(mock.patch.object(tags, "_BASE64_PIECE_BYTES", length // 4 * 3))
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
