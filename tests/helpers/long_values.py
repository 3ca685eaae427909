"""Values of megabytes, and short ones that are handled as if they were long: for the tests of encoders and decoders."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from unittest import mock

from hypothesis import strategies as st

from helpers.documents import AWKWARD_BYTES, AWKWARD_TEXTS, Place, as_json_text, exact, place_of, placed
from kvserver.data.entries import Entry, Expiring
from kvserver.errors import PayloadInvalid
from kvserver.formats import codec, decoder, encoder, longcollection, longdocument, longstring, members
from kvserver.formats.decoder import Decoder, Members
from kvserver.formats.tags import Mapping
from kvserver.types.json import value as json_value
from kvserver.types.string import longbase64
from kvserver.types.string import value as string_value

LONG_BYTES = 8_000_000
# Documents take longer than strings.
DOCUMENT_BYTES = 3_000_000
# They are made when a test needs them: each worker of a run collects all tests, and has but some of them to run.
LONG_VALUES: dict[str, Callable[[], Entry]] = {
    "plain": lambda: b"0123456789abcdefghijklmnopqrstuvwxyz " * (LONG_BYTES // 37),
    "escapes": lambda: 'é"\\\n\x01'.encode() * (LONG_BYTES // 6),
    "binary": lambda: b"\xff\x00\x80abcde" * (LONG_BYTES // 8),
    "binary at its end": lambda: b"x" * LONG_BYTES + b"\xc3",
    "expiring": lambda: Expiring(b"x" * LONG_BYTES, 1_700_000_000_000),
    "document": lambda: as_json_text([{"name": "Grace", "born": 1906, "x": [1.5, True, None]}] * (DOCUMENT_BYTES // 50)),
    "document of long strings": lambda: as_json_text(
        {"a": "\0" * (DOCUMENT_BYTES // 12), "b": ["aé\U0001f388" * (DOCUMENT_BYTES // 14)]}
    ),
    "document that expires": lambda: Expiring(
        as_json_text({f"{number:07}": [] for number in range(DOCUMENT_BYTES // 13)}), 1_700_000_000_000
    ),
    "document like a tag": lambda: as_json_text({"$kvs": {"value": [123_456] * (DOCUMENT_BYTES // 7)}}),
}

LONG_DOCUMENTS = [name for name in LONG_VALUES if "document" in name]
LONG_STRINGS = [name for name in LONG_VALUES if name not in LONG_DOCUMENTS]


@cache
def long_value(name: str) -> Entry:
    return LONG_VALUES[name]()


@contextmanager
def short_pieces(length: int) -> Iterator[None]:
    """Let whatever is longer than this be a long value."""
    with ExitStack() as stack:
        for module in (
            codec,
            encoder,
            longstring,
            longdocument,
            longcollection,
            members,
            longbase64,
            string_value,
            json_value,
        ):
            stack.enter_context(mock.patch.object(module, "PIECE_BYTES", length))
        stack.enter_context(mock.patch.object(string_value, "_BASE64_PIECE_BYTES", length // 4 * 3))
        stack.enter_context(mock.patch.object(decoder, "_WINDOW_BYTES", 1))
        yield


def bytes_in_steps(steps: Iterable[object]) -> list[int]:
    """The bytes that each step allocates at most beyond what was there, the most first; what a step gives is dropped."""
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

long_texts = st.lists(st.sampled_from(AWKWARD_TEXTS) | st.text(max_size=12), max_size=12).map("".join)
long_bytes = st.lists(st.sampled_from(AWKWARD_BYTES) | st.binary(max_size=8), max_size=12).map(b"".join)
long_documents = st.dictionaries(st.sampled_from(AWKWARD_TEXTS), st.floats(allow_nan=False) | long_texts).map(as_json_text)
long_values = long_texts.map(str.encode) | long_bytes | long_documents
long_entries = long_values | st.builds(Expiring, long_values, st.integers(-(2**63), 2**63))


# --- Read ---

CHUNK_BYTES = 1 << 18


def decode(payload: bytes, mapping: Mapping, size: int, last: int = 0) -> Iterator[Members]:
    """The steps of a decoder that is fed in chunks of this size; but so many bytes come in a chunk of their own, the last."""
    found = Decoder(mapping)
    end = len(payload) - last
    for start in range(0, end, size):
        yield from found.feed(payload[start : min(start + size, end)])
    yield from found.feed(payload[end:])
    yield from found.finish()


def check_reading(payload: bytes, mapping: Mapping, length: int, size: int) -> None:
    """Fed in chunks of this size, with pieces of this length, the payload holds what json finds, or is refused as by json."""
    expected: dict[Place, Entry] | None
    try:
        document = json.loads(payload.decode())
    except ValueError:
        expected = None
    else:
        expected = {place_of(mapping, name): mapping.decode_entry(value) for name, value in document.items()}
    found: dict[Place, Entry] | None
    try:
        with short_pieces(length):
            found = dict(member for members in decode(payload, mapping, size) for member in placed(members))
    except PayloadInvalid:
        found = None
    assert exact(found) == exact(expected)
