"""The encoder: a payload is canonical JSON, whatever the keys and values are, and comes in short steps."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import (
    Contents,
    canonical_by_json,
    cut_of,
    encoded,
    entries,
    exact,
    keys,
    placed,
    plain_values,
    tag_like_values,
    tagged_name,
    tagged_value,
    texts,
    texts_with_surrogates,
    values,
)
from helpers.long_values import LONG_VALUES, bytes_in_steps, decode, long_entries, long_value, short_pieces
from kvserver.data.databases import Databases
from kvserver.data.entries import Entry, Expiring
from kvserver.data.keyspace import Keyspace
from kvserver.formats.codec import PIECE_BYTES, JSONText
from kvserver.formats.encoder import encode
from kvserver.formats.scan import CHUNK_BYTES
from kvserver.formats.sorting import BATCH_KEYS
from kvserver.types import PLAIN, TAGGED


def all_characters() -> list[str]:
    return [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


@settings(max_examples=80)
@given(st.dictionaries(keys, entries, max_size=30))
def test_payload_is_the_canonical_json_of_the_equivalent_dict(contents: Contents) -> None:
    document = {tagged_name(key): tagged_value(entry) for key, entry in contents.items()}
    assert encoded(contents, TAGGED) == canonical_by_json(document)


@settings(max_examples=60)
@given(st.dictionaries(texts | texts_with_surrogates, values | tag_like_values | texts_with_surrogates, max_size=20))
def test_payload_of_the_library_is_the_canonical_json_of_the_dict(document: dict[str, Any]) -> None:
    document = json.loads(json.dumps(document))  # as a reader gives it: surrogates that make a pair are one character
    contents = {PLAIN.decode_key(name)[1]: PLAIN.decode_entry(value) for name, value in document.items()}
    assert encoded(contents, PLAIN) == canonical_by_json(document)


def scattered(source: random.Random) -> bytes:
    alphabet = "aZ09$:\x7fé\u2028\ud7ff\ue000\uffff\U00010000\U0010ffff"
    return "".join(source.choices(alphabet, k=source.randrange(6))).encode()


def crowded(source: random.Random) -> bytes:
    """Nearly all alike at their start, and most of them in one corner."""
    return b"user:" + b"%d" % int(source.paretovariate(0.1) % 10**9)


def awkward(source: random.Random) -> bytes:
    """With all that is escaped, and all that stands before a quote in the order."""
    return "".join(source.choices('\0\x01\x1f !"#\\\x7f', k=source.randrange(8))).encode()


def tagged(source: random.Random) -> bytes:
    return source.choice([b"$kvs:%d", b"\xff%d", b"$%d", b"%d"]) % source.randrange(10**6)


@pytest.mark.parametrize("make_key", [scattered, crowded, tagged, awkward])
@pytest.mark.parametrize("count", [BATCH_KEYS - 1, BATCH_KEYS, BATCH_KEYS + 1, 1_023, 1_024, 1_025, 2_049, 30_000])
def test_payload_of_many_keys_is_sorted_by_code_points(make_key: Callable[[random.Random], bytes], count: int) -> None:
    source = random.Random(7)
    rare: list[Entry] = [b"\xfe", JSONText(b"1.5"), Expiring(b"x", 5), b'"', b"\0", b"\0\0", b"\x1f", b"\\", b"x" * 2000]
    choices: list[Entry] = [*[b"text"] * 300 * len(rare), *rare]
    contents: Contents = {}
    while len(contents) < count:
        contents[make_key(source)] = source.choice(choices)
    document = {tagged_name(key): tagged_value(entry) for key, entry in contents.items()}
    assert encoded(contents, TAGGED) == canonical_by_json(document)


@pytest.mark.parametrize("count", [10_000, 150_000])
def test_payload_of_strings_alone_is_sorted_by_code_points(count: int) -> None:
    contents: Contents = {b"key:%d" % number: b"v" for number in range(count)}
    document = {key.decode(): "v" for key in contents}
    assert encoded(contents, TAGGED) == encoded(contents, PLAIN) == canonical_by_json(document)


def test_empty_store_is_an_empty_object() -> None:
    assert encoded({}, PLAIN) == encoded({}, TAGGED) == b"{}"


def test_encoding_pauses_every_few_dozen_keys() -> None:
    cut = cut_of({b"key%06d" % number: b"v" for number in range(20_000)})
    pieces = list(encode([cut], TAGGED))
    assert max(piece.count(b":") for piece in pieces) <= BATCH_KEYS
    assert sum(piece.count(b":") for piece in pieces) == 20_000
    # The sorting pauses too: before the first key there are steps that give nothing.
    assert pieces.index(next(filter(None, pieces))) > 100


def test_strings_of_orjson_are_canonical_for_every_character() -> None:
    characters = all_characters()
    assert orjson.dumps("".join(characters)) == canonical_by_json("".join(characters))
    for character in characters[:0x3000]:
        assert orjson.dumps(character) == canonical_by_json(character), hex(ord(character))


def test_every_character_is_encoded_canonically_in_keys_and_values() -> None:
    every = all_characters()
    characters = every[:0x3000] + every[0x3000::509]
    contents: Contents = {character.encode(): (character * 2).encode() for character in characters}
    assert encoded(contents, TAGGED) == canonical_by_json({character: character * 2 for character in characters})


@pytest.mark.parametrize("name", LONG_VALUES)
def test_long_value_is_encoded_in_short_steps(name: str) -> None:
    cut = cut_of({b"a": b"1", b"long": long_value(name), b"z": b"1"})
    assert bytes_in_steps(encode([cut], TAGGED))[0] < 24 * PIECE_BYTES  # escapes take six times as much as what they escape
    assert max(map(len, encode([cut], TAGGED))) <= 6 * PIECE_BYTES


@pytest.mark.parametrize("name", LONG_VALUES)
def test_long_value_is_encoded_canonically(name: str) -> None:
    entry = long_value(name)
    payload = b"".join(encode([cut_of({b"a": b"1", b"long": entry, b"z": b"1"})], TAGGED))
    assert payload == canonical_by_json({"a": "1", "long": tagged_value(entry), "z": "1"})


@settings(max_examples=20)
@given(st.lists(long_entries, min_size=20, max_size=40), st.integers(4, 24))
def test_long_and_short_values_are_members_of_one_object(some: list[Entry], length: int) -> None:
    contents = {b"%d" % number: entry for number, entry in enumerate(some)}
    with short_pieces(length):
        payload = b"".join(encode([cut_of(contents)], TAGGED))
    assert payload == canonical_by_json({key.decode(): tagged_value(entry) for key, entry in contents.items()})


def test_step_of_an_encoder_takes_no_more_than_a_batch_of_keys() -> None:
    keyspace = Keyspace(lambda: 0)
    for number in range(30_000):
        keyspace.set(b"key:%d" % number, b"value")
    counts = [piece.count(b'":"') for piece in encode([keyspace.cut()], TAGGED)]
    assert sum(counts) == 30_000
    assert max(counts) <= BATCH_KEYS
    # Sorting is steps as well, none of which takes more than five hundred keys or so.
    assert counts.count(0) >= 2 * 30_000 / 512


def test_step_of_an_encoder_takes_no_more_than_a_chunk_of_long_values() -> None:
    """Else sixty-four values of a megabyte would be one step, and one chunk."""
    keyspace = Keyspace(lambda: 0)
    for number in range(100):
        keyspace.set(b"key:%d" % number, b"x" * 50_000)
    assert max(map(len, encode([keyspace.cut()], TAGGED))) <= CHUNK_BYTES + 50_100


numbers = st.sampled_from([0, 0, 1, 2, 3, 10, 11, 100, 1023])
# Keys whose names stand before, behind and between those of other databases.
neighbours = keys | st.sampled_from(
    [b"\xd1", b"\xd7\x10", b"$kvs", b"$kvs:", b"$kvs:1:k", b"$kvt", b"$kvs:zz", b"\xff\xff\xff"]
)


@settings(max_examples=100)
@given(st.dictionaries(st.tuples(numbers, neighbours), plain_values, max_size=40))
def test_payload_of_several_databases_is_the_canonical_json_of_all(contents: dict[tuple[int, bytes], Entry]) -> None:
    databases = Databases(lambda: 0)
    for (number, key), entry in contents.items():
        databases[number].set(key, entry)
    document = {
        (f"$kvs:{number}:" if number else "") + tagged_name(key): tagged_value(entry)
        for (number, key), entry in contents.items()
    }  # fmt: skip
    payload = b"".join(encode(databases.cut().cuts, TAGGED))
    assert payload == canonical_by_json(document)
    found = [pair for members in decode(payload, TAGGED, 50) for pair in placed(members)]
    wanted = {(number, key) if number else key: entry for (number, key), entry in contents.items()}
    assert exact(dict(found)) == exact(wanted)


def test_many_keys_of_several_databases_are_in_order() -> None:
    source = random.Random(5)
    databases = Databases(lambda: 0)
    document = {}
    for number in (0, 1, 2, 10):
        for _ in range(3_000):
            key = scattered(source) + bytes((source.randrange(256),))
            databases[number].set(key, b"v")
            document[(f"$kvs:{number}:" if number else "") + tagged_name(key)] = "v"
    pieces = list(encode(databases.cut().cuts, TAGGED))
    assert b"".join(pieces) == canonical_by_json(document)
    assert max(map(len, pieces)) < 100_000
