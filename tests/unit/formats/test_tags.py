"""Both mappings of keys and values are total and reversible, and nothing that needs no tag has one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.documents import (
    AWKWARD_BYTES,
    as_json_text,
    canonical_by_json,
    entries,
    exact,
    is_utf8,
    json_texts,
    keys,
    tag_like_values,
    tagged_name,
    tagged_value,
    texts,
    texts_with_surrogates,
    values,
)
from helpers.long_values import long_entries, short_pieces
from kvserver.data.entries import Entry, Expiring
from kvserver.formats.codec import JSONText, canonical
from kvserver.formats.tags import Mapping, decode_value
from kvserver.options.table import MOST_DATABASES
from kvserver.types import PLAIN, TAGGED

quick = settings(max_examples=120)


# --- Keys ---


@quick
@given(keys)
@example(b"$kvs:")
@example(b"$kvs")
@example(b"$kvs:gA==")
def test_key_comes_back_from_its_member_name(key: bytes) -> None:
    assert TAGGED.encode_key(key) == tagged_name(key)
    assert TAGGED.decode_key(TAGGED.encode_key(key)) == (0, key)


@quick
@given(keys)
def test_key_is_plain_exactly_if_its_bytes_are_its_member_name(key: bytes) -> None:
    assert TAGGED.is_plain_key(key) == (TAGGED.encode_key(key).encode() == key)


def test_every_key_of_two_bytes_has_a_member_name_of_its_own() -> None:
    all_keys = [bytes((first, second)) for first in range(256) for second in range(256)]
    names = [TAGGED.encode_key(key) for key in all_keys]
    assert len(set(names)) == len(all_keys)
    assert [TAGGED.decode_key(name) for name in names] == [(0, key) for key in all_keys]


@quick
@given(texts | texts.map(lambda text: "$kvs:" + text))
@example("$kvs:gB==")  # base64 of 0x80 as nobody would write it, beside "$kvs:gA=="
@example("$kvs:YQ==")  # base64 of a key that needs none
@example("$kvs:g A==")
def test_no_two_member_names_are_one_key(name: str) -> None:
    """A key's own name leads back to it; a name that is no key's own is a key that is spelled like this."""
    number, key = TAGGED.decode_key(name)
    assert (number, key) == (0, name.encode()) or TAGGED.encode_key(key, number) == name


@quick
@given(texts_with_surrogates)
def test_member_name_with_a_lone_surrogate_is_a_key_that_comes_back(name: str) -> None:
    for mapping in (PLAIN, TAGGED):
        _, key = mapping.decode_key(name)
        assert mapping.decode_key(mapping.encode_key(key)) == (0, key)
    _, key = PLAIN.decode_key(name)
    assert PLAIN.encode_key(key) == name


@quick
@given(keys, st.integers(1, MOST_DATABASES - 1))
def test_key_of_another_database_comes_back_from_its_member_name(key: bytes, number: int) -> None:
    name = TAGGED.encode_key(key, number)
    assert name == f"$kvs:{number}:{tagged_name(key)}"
    assert TAGGED.decode_key(name) == (number, key)


@pytest.mark.parametrize(
    "name",
    ["$kvs:0:k", "$kvs:01:k", "$kvs:-1:k", "$kvs:+1:k", "$kvs:1", "$kvs::k", "$kvs: 1:k", "$kvs:1024:k", "$kvs:1:$kvs:YQ=="],
)
def test_name_that_no_database_gives_is_a_key_of_database_0(name: str) -> None:
    assert TAGGED.decode_key(name) == (0, name.encode())
    assert TAGGED.encode_key(name.encode()) != name


def test_library_has_one_database() -> None:
    assert PLAIN.decode_key("$kvs:1:k") == (0, b"$kvs:1:k")
    with pytest.raises(TypeError, match="one database"):
        PLAIN.encode_key(b"k", 1)


# --- Values ---


@quick
@given(entries)
def test_entry_comes_back_from_its_json(entry: Entry) -> None:
    text = TAGGED.encode_entry(entry)
    assert text == canonical_by_json(tagged_value(entry))
    assert exact(TAGGED.decode_entry(json.loads(text))) == exact(entry)


def test_bytes_come_back_with_and_without_an_expiry() -> None:
    for value in (*AWKWARD_BYTES, *(bytes((code,)) for code in range(256)), bytes(range(256))):
        for entry in (value, Expiring(value, 1_700_000_000_000)):
            assert exact(TAGGED.decode_entry(json.loads(TAGGED.encode_entry(entry)))) == exact(entry)


@quick
@given(tag_like_values | values | texts_with_surrogates)
@example({"$kvs": {"base64": "gB=="}})
@example({"$kvs": {"base64": "YQ=="}})
@example({"$kvs": {"base64": "gA==", "x": 1}})
@example({"$kvs": {"base64": 1}})
@example({"$kvs": {"expires_at_ms": None, "value": 1}})
@example({"$kvs": {"expires_at_ms": True, "value": 1}})
@example({"$kvs": {"expires_at_ms": 1.0, "value": 1}})
@example({"$kvs": {"value": 1}})
@example({"$kvs": {"value": {"$kvs": {"value": {"$kvs": 0}}}}})
@example({"$kvs": {}})
@example({"$kvs": 0, "a": 1})
@example({"!": 0, "$kvs": {"base64": "gA=="}})
def test_any_document_of_a_foreign_frame_is_read_and_stays_what_it_is(document: Any) -> None:
    entry = TAGGED.decode_entry(document)
    text = TAGGED.encode_entry(entry)
    if text != canonical_by_json(document):
        # It only looked like a tag, so it is a user's document, and is written with its escape.
        assert exact(entry) == exact(as_json_text(document))
        assert json.loads(text) == {"$kvs": {"value": json.loads(json.dumps(document))}}
    assert exact(TAGGED.decode_entry(json.loads(text))) == exact(entry)


@pytest.mark.parametrize("expires_at_ms", [2**63, -(2**63) - 1, 10**30])
def test_expiry_of_more_than_64_bits_makes_no_tag(expires_at_ms: int) -> None:
    document = {"$kvs": {"expires_at_ms": expires_at_ms, "value": "x"}}
    entry = TAGGED.decode_entry(document)
    assert entry == JSONText(canonical(document))
    assert TAGGED.decode_entry(json.loads(TAGGED.encode_entry(entry))) == entry


@quick
@given(tag_like_values | values)
def test_document_of_a_user_is_never_read_as_a_tag(document: Any) -> None:
    entry = decode_value(document)
    assert exact(TAGGED.decode_entry(json.loads(TAGGED.encode_entry(entry)))) == exact(entry)
    wrapped = as_json_text({"$kvs": {"value": document}})
    assert exact(TAGGED.decode_entry(json.loads(TAGGED.encode_entry(wrapped)))) == exact(wrapped)


@quick
@given(values.map(lambda value: [value] if isinstance(value, dict) and "$kvs" in value else value))
def test_what_needs_no_tag_has_none(value: Any) -> None:
    assert TAGGED.encode_entry(decode_value(value)) == canonical_by_json(value)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (b"1", b'"1"'),
        (JSONText(b"1"), b"1"),
        (b"\x80", b'{"$kvs":{"base64":"gA=="}}'),
        (Expiring(JSONText(b"1"), 1_700_000_000_000), b'{"$kvs":{"expires_at_ms":1700000000000,"value":1}}'),
        (Expiring(b"1", -5), b'{"$kvs":{"expires_at_ms":-5,"value":"1"}}'),
        (Expiring(b"\x80", 7), b'{"$kvs":{"base64":"gA==","expires_at_ms":7}}'),
        (JSONText(b'{"$kvs":0}'), b'{"$kvs":{"value":{"$kvs":0}}}'),
        (JSONText(b'[{"$kvs":0}]'), b'[{"$kvs":0}]'),
    ],
)
def test_tags_are_spelled_as_documented(entry: Entry, text: bytes) -> None:
    assert TAGGED.encode_entry(entry) == text


def test_lone_surrogate_stays_json_in_both_mappings() -> None:
    for mapping in (PLAIN, TAGGED):
        entry = mapping.decode_entry("a\ud800")
        assert exact(entry) == exact(JSONText(rb'"a\ud800"'))
        assert mapping.encode_entry(entry) == rb'"a\ud800"'


# --- The library's mapping ---


@quick
@given(values | tag_like_values)
def test_library_knows_no_tags(value: Any) -> None:
    entry = PLAIN.decode_entry(value)
    assert PLAIN.encode_entry(entry) == canonical_by_json(value)
    assert exact(PLAIN.decode_entry(json.loads(PLAIN.encode_entry(entry)))) == exact(entry)


@quick
@given(texts | texts.map(lambda text: "$kvs:" + text))
def test_library_key_is_its_own_member_name(name: str) -> None:
    number, key = PLAIN.decode_key(name)
    assert (number, key) == (0, name.encode())
    assert PLAIN.is_plain_key(key)
    assert PLAIN.encode_key(key) == name


def test_library_holds_no_expiry() -> None:
    with pytest.raises(TypeError, match="Expiring"):
        PLAIN.encode_entry(Expiring(b"a", 1))


@quick
@given(st.sampled_from([PLAIN, TAGGED]), json_texts)
def test_json_is_written_as_it_is_held(mapping: Mapping, value: JSONText) -> None:
    text = mapping.encode_entry(value)
    assert type(text) is bytes
    assert text == value or text == b'{"$kvs":{"value":%b}}' % value


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
