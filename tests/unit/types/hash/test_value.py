"""The value of a hash: packed while it is small, one and the same in a payload, and independent of its forks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvserver.containers import packed
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.formats.codec import JSONText
from kvserver.formats.members import LATEST_MS
from kvserver.formats.names import name_of
from kvserver.types import TAGGED
from kvserver.types.hash.value import HASH, TAG, Hash, fields_of, value_of

strings = st.sampled_from([b"", b"a", b"b", b"\0", b"\xff", b"$kvs:", "é".encode(), b"x" * 65]) | st.binary(max_size=5)
hashes = st.dictionaries(strings, strings, min_size=1, max_size=8)


@given(hashes, st.booleans())
def test_value_holds_its_fields(fields: dict[bytes, bytes], is_listpack: bool) -> None:
    value = value_of(fields, is_listpack=is_listpack)
    found = fields_of(value)
    assert found is not None
    assert dict(found.items()) == fields
    can_be_packed = is_listpack and all(map(packed.can_pack, [*fields, *fields.values()]))
    assert type(value) is (str if can_be_packed else Hash)
    assert HASH.encoding(value) == (b"listpack" if is_listpack else b"hashtable")


@given(hashes)
def test_payload_is_what_json_dumps_gives(fields: dict[bytes, bytes]) -> None:
    for value in (value_of(fields, is_listpack=True), Hash(fields.items(), is_listpack=False)):
        tag, text = HASH.json(value)
        named = {name_of(field): name_of(content) for field, content in fields.items()}
        assert tag == TAG
        assert text.decode() == json.dumps(named, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@given(st.dictionaries(strings, st.tuples(strings, st.none() | st.integers(1, LATEST_MS)), min_size=1, max_size=8))
def test_payload_holds_deadlines(fields: dict[bytes, tuple[bytes, int | None]]) -> None:
    hash_ = Hash(((field, content) for field, (content, _) in fields.items()), is_listpack=True)
    named: dict[str, Any] = {}
    for field, (content, expires_at_ms) in fields.items():
        named[name_of(field)] = name_of(content)
        if expires_at_ms is not None:
            hash_.expire(field, expires_at_ms)
            named[name_of(field)] = {"expires_at_ms": expires_at_ms, "value": name_of(content)}
    text = HASH.json(hash_)[1]
    assert text.decode() == json.dumps(named, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    again = HASH.forms[TAG].read(named)
    body = HASH.dump(hash_)
    for value in (again, HASH.loads[body[0]].value(body[1:], 1 << 20)):
        assert isinstance(value, str | Hash)
        assert HASH.json(value)[1] == text


@pytest.mark.parametrize(
    "inner",
    [
        {},
        {"value": "v"},
        {"expires_at_ms": 5},
        {"expires_at_ms": "5", "value": "v"},
        {"expires_at_ms": 5.0, "value": "v"},
        {"expires_at_ms": True, "value": "v"},
        {"expires_at_ms": -1, "value": "v"},
        {"expires_at_ms": 0, "value": "v"},
        {"expires_at_ms": LATEST_MS + 1, "value": "v"},
        {"expires_at_ms": 5, "value": 1},
        {"expires_at_ms": 5, "value": "v", "more": 1},
    ],
)
def test_other_documents_are_no_field_that_expires(inner: Any) -> None:
    document = {"$kvs": {"hash": {"f": inner}}}
    assert isinstance(TAGGED.decode_entry(document), JSONText)


@pytest.mark.parametrize("document", [{}, [], "a", 1, None, {"a": 1}, {"a": None}, {"$kvs:YQ==": "b"}, {"a": "$kvs:YQ=="}])
def test_other_documents_are_no_hashes(document: Any) -> None:
    assert HASH.forms[TAG].read(document) is None


def test_fork_is_equal_and_independent() -> None:
    hash_ = Hash(((b"%d" % number, b"v") for number in range(1_000)), is_listpack=False)
    forks = [hash_.fork() for _ in range(2)]
    hash_[b"new"] = b"v"
    assert forks[0].pop(b"5", None) == b"v"
    forks[1].set(b"6", b"other")
    assert (len(hash_), len(forks[0]), len(forks[1])) == (1_001, 999, 1_000)
    assert (hash_.get(b"5"), hash_.get(b"6"), forks[1].get(b"5"), forks[0].get(b"6")) == (b"v",) * 4
    assert type(forks[0]) is Hash
    assert not forks[0].is_listpack


def test_fork_has_deadlines_of_its_own() -> None:
    hash_ = Hash(((b"%d" % number, b"v") for number in range(3)), is_listpack=True)
    hash_.expire(b"0", 5)
    fork = hash_.fork()
    hash_.expire(b"1", 3)
    assert fork.lapse(9, 9) == [b"0"]
    assert (hash_.earliest_ms, fork.earliest_ms, len(hash_), len(fork)) == (3, None, 3, 2)
    assert hash_.size_bytes() > fork.size_bytes()


@pytest.mark.parametrize("value", [b"string", JSONText(b"{}"), "s\0a\0"])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(CommandError, match=WRONG_TYPE):
        fields_of(value)
    assert fields_of(None) is None
