"""A line of JSON gives back the very key, value and expiry that it was made of; whatever else stands in one is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.documents import as_json_text, entries, exact, keys
from helpers.transfers import LIBRARY, filled
from kvserver.data.entries import Entry, Expiring
from kvserver.errors import SourceInvalid
from kvserver.formats.codec import JSONText
from kvserver.formats.json_lines import Library, Member, library_line, member_pieces, read_line
from kvserver.transfer.staging import members_of
from kvserver.types import TAGGED


def line_of(database: int, key: bytes, entry: Entry) -> bytes:
    line = b"".join(member_pieces(database, key, entry, TAGGED))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    return line


@settings(max_examples=300)
@given(keys, entries, st.integers(0, 1023))
@example(b"", JSONText(b'{"":null,"$kvs":null}'), 0)
def test_key_and_entry_come_back(key: bytes, entry: Entry, database: int) -> None:
    found = read_line(line_of(database, key, entry), TAGGED)
    assert isinstance(found, Member)
    assert (found.database, found.key) == (database, key)
    again = found.value if found.expires_at_ms is None else Expiring(found.value, found.expires_at_ms)
    assert exact(again) == exact(entry)


def test_values_of_all_types_come_back() -> None:
    lines = []
    for number, key, entry in members_of(filled()):
        line = line_of(number, key, entry)
        found = read_line(line, TAGGED)
        assert isinstance(found, Member)
        again = found.value if found.expires_at_ms is None else Expiring(found.value, found.expires_at_ms)
        assert line_of(found.database, found.key, again) == line
        lines.append(json.loads(line))
    assert {each["type"] for each in lines} == {"string", "list", "set", "hash", "zset", "stream", "ReJSON-RL"}


def test_usual_string_is_plain_json() -> None:
    assert line_of(0, b"user:1", b"Ada") == b'{"key":"user:1","db":0,"type":"string","value":"Ada"}\n'
    assert line_of(3, b"a", Expiring(b"b", 7)) == b'{"key":"a","db":3,"type":"string","value":"b","expires_at_ms":7}\n'
    assert read_line(b'{"key":"a","value":"b"}', TAGGED) == Member(0, b"a", b"b", None)
    assert read_line(b' {"value":[1.50],"key":"a"} ', TAGGED) == Member(0, b"a", as_json_text([1.5]), None)


@pytest.mark.parametrize("text", [LIBRARY, b"#!lua name=a\n\xff"])
def test_library_comes_back(text: bytes) -> None:
    assert read_line(library_line(b"mylib", text), TAGGED) == Library(b"mylib", text)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"x", "no JSON: Expecting value at column 1"),
        (b'{"key":"a","value":"b"} {}', "no JSON: Extra data"),
        (b"\xff", "not UTF-8"),
        (b"[]", "no JSON object"),
        (b"1", "no JSON object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"key":"a","value":' + b"[" * 600 + b"]" * 600 + b"}", "nested deeper"),
        (b'{"key":"a","value":' + b"9" * 5000 + b"}", "a longer number"),
        (b"{}", "it has no key"),
        (b'{"key":1,"value":"b"}', "key is no string"),
        (b'{"key":"$kvs:x","value":"b"}', "neither UTF-8 nor the base64"),
        (b'{"key":"\\ud800","value":"b"}', "neither UTF-8 nor the base64"),
        (b'{"key":"a"}', "it has no value"),
        (b'{"key":"a","value":"b","db":-1}', "no number of a database"),
        (b'{"key":"a","value":"b","db":1024}', "no number of a database"),
        (b'{"key":"a","value":"b","db":true}', "no number of a database"),
        (b'{"key":"a","value":"b","db":"0"}', "no number of a database"),
        (b'{"key":"a","value":"b","expires_at_ms":"soon"}', "no Unix time"),
        (b'{"key":"a","value":"b","expires_at_ms":1.5}', "no Unix time"),
        (b'{"key":"a","value":"b","ttl":1}', "'ttl', which means nothing"),
        (b'{"key":"a","value":"b","type":"hash"}', "type is 'hash', and the value is a string"),
        (b'{"key":"a","value":{"$kvs":{"set":["b","a"]}}}', "does not stand as it would be written"),
        (b'{"key":"a","value":{"$kvs":{"expires_at_ms":1,"value":"x"}}}', "stands in the value"),
        (b'{"library":"a"}', "it has no code"),
        (b'{"library":"a","code":"x","key":"b"}', "'key', which means nothing"),
    ],
)
def test_lines_that_are_wrong_are_refused(line: bytes, reason: str) -> None:
    with pytest.raises(SourceInvalid, match=reason):
        read_line(line, TAGGED)


@pytest.mark.parametrize("expires_at_ms", [2**63 - 1, -(2**63)])
def test_expiry_of_64_bits_comes_back(expires_at_ms: int) -> None:
    found = read_line(line_of(0, b"k", Expiring(b"v", expires_at_ms)), TAGGED)
    assert isinstance(found, Member)
    assert found.expires_at_ms == expires_at_ms


@pytest.mark.parametrize("expires_at_ms", [2**63, -(2**63) - 1, 2**70])
def test_expiry_of_more_than_64_bits_is_refused(expires_at_ms: int) -> None:
    with pytest.raises(SourceInvalid, match="no Unix time"):
        read_line(line_of(0, b"k", Expiring(b"v", expires_at_ms)), TAGGED)
