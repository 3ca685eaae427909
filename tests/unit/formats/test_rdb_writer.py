"""Databases are written as an RDB file in short steps, from a cut that later writes do not touch, and are read again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import cut_of, exact, keys, plain_values
from helpers.rdb_files import entries, read
from kvserver.data.databases import Databases
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.kinds import kind_of
from kvserver.formats.codec import PIECE_BYTES, JSONText
from kvserver.formats.rdb import EXPIRING_MEMBERS_VERSION, VERSION, dump
from kvserver.formats.rdb_file import RDBAux, RDBEntry, RDBLibrary, RDBReader, RDBSizes
from kvserver.formats.rdb_writer import encode_rdb, fields_of_redis
from kvserver.types.hash.value import Hash
from kvserver.types.json.document import Document
from kvserver.types.list.value import List
from kvserver.types.set.value import Set
from kvserver.types.sorted_set.value import SortedSet
from kvserver.types.stream.stream import Stream

LATER_MS = 1_900_000_000_123
COUNT = 30_000


def long_hash() -> Hash:
    return Hash(((b"%d" % number, b"value") for number in range(COUNT)), is_listpack=False)


def long_expiring_hash() -> Hash:
    made = long_hash()
    for number in range(0, COUNT, 3):
        made.expire(b"%d" % number, LATER_MS + number)
    return made


def long_stream() -> Stream:
    stream = Stream()
    for number in range(COUNT):
        stream.entries.add((1_000 + number, 1), [b"field", b"%d" % number], 100, 4_096)
        stream.last_id = (1_000 + number, 1)
    stream.added = COUNT
    return stream


LONG: dict[str, Value] = {
    "string": bytes(range(256)) * 10_000,
    "list": List((b"%d" % number for number in range(COUNT)), is_value=True),
    "set": Set((b"member:%d" % number for number in range(COUNT)), is_intset=False),
    "zset": SortedSet(((b"%06d" % number, number / 3) for number in range(COUNT)), is_listpack=False),
    "hash": long_hash(),
    "hash of expiring fields": long_expiring_hash(),
    "stream": long_stream(),
    "document": Document({"names": ["x" * 20] * COUNT}),
    "text of a document": JSONText(b"[" + b"1," * COUNT + b"1]"),
}


def whole(contents: dict[bytes, Entry], libraries: dict[bytes, bytes] | None = None, fields: Iterable[RDBAux] = ()) -> bytes:
    return b"".join(encode_rdb([cut_of(contents)], libraries or {}, fields))


def same(value: Value) -> Any:
    """What tells two values apart, whatever order Redis's format gives them."""
    return kind_of(value).json(value)


def test_file_has_fields_libraries_databases_and_keys() -> None:
    databases = Databases(lambda: 0)
    databases[0].put(b"a", b"1", None)
    databases[0].put(b"b", b"text", LATER_MS)
    databases[7].put(b"c", JSONText(b"[1,2]"), None)
    databases[9].put(b"gone", b"", None)
    databases[9].remove(b"gone")
    frozen = databases.cut()
    fields = fields_of_redis("7.0.15", 1_700_000_000_999, 1_000)
    found = read(b"".join(encode_rdb(frozen.cuts, {b"f": b"#!lua name=f\n"}, fields)))
    assert found[:7] == [
        RDBAux(b"redis-ver", b"7.0.15"),
        RDBAux(b"redis-bits", b"64"),
        RDBAux(b"ctime", b"1700000000"),
        RDBAux(b"used-mem", b"1000"),
        RDBAux(b"aof-base", b"0"),
        RDBLibrary(b"#!lua name=f\n"),
        RDBSizes(0, 2, 1),
    ]
    assert sorted(found[7:9], key=str) == [
        RDBEntry(0, b"a", b"1", None, None, None),
        RDBEntry(0, b"b", b"text", LATER_MS, None, None),
    ]
    assert found[9:] == [RDBSizes(7, 1, 0), RDBEntry(7, b"c", JSONText(b"[1,2]"), None, None, None)]
    assert frozen.keys_encoded == 3


def test_file_without_keys_is_one() -> None:
    assert whole({})[:-8] == b"REDIS0010\xff"
    assert read(whole({})) == []


@settings(max_examples=60)
@given(st.dictionaries(keys, plain_values, max_size=20))
def test_what_is_written_is_read(contents: dict[bytes, Value]) -> None:
    found = {key: item.value for (_, key), item in entries(whole(dict(contents))).items()}
    assert {key: exact(value) for key, value in found.items()} == {key: exact(value) for key, value in contents.items()}


@pytest.mark.parametrize("name", LONG)
def test_long_value_comes_in_short_pieces_and_is_read_as_it_was(name: str) -> None:
    value = LONG[name]
    cut = cut_of({b"before": b"1", b"k": Expiring(value, LATER_MS)})
    pieces = list(encode_rdb([cut], {}, []))
    assert cut.keys_encoded == 2
    assert max(map(len, pieces)) < 3 * PIECE_BYTES
    reader = RDBReader()
    found = {item.key: item for item in reader.feed(b"".join(pieces)) if isinstance(item, RDBEntry)}
    reader.end()
    assert reader.version == (EXPIRING_MEMBERS_VERSION if "expiring" in name else VERSION)
    assert same(found[b"k"].value) == same(value)
    assert (found[b"k"].expires_at_ms, found[b"before"].value) == (LATER_MS, b"1")


def test_documents_are_strings_for_those_who_have_no_modules() -> None:
    for value in (JSONText(b"[1]"), LONG["document"]):
        data = b"".join(encode_rdb([cut_of({b"k": value})], {}, [], has_modules=False))
        assert entries(data)[0, b"k"].value == bytes(kind_of(value).json(value)[1])


def test_step_is_short_where_keys_are_many() -> None:
    cut = cut_of({b"key:%d" % number: b"x" * 100 for number in range(100_000)})
    pieces = list(encode_rdb([cut], {}, []))
    assert max(map(len, pieces)) < 3 * PIECE_BYTES
    assert len(entries(b"".join(pieces))) == 100_000


def test_later_writes_are_not_in_the_file() -> None:
    databases = Databases(lambda: 0)
    for number in range(5_000):
        databases[0].put(b"%d" % number, b"before", None)
    frozen = databases.cut()
    made = []
    for number, piece in enumerate(encode_rdb(frozen.cuts, frozen.libraries, [])):
        made.append(piece)
        databases[0].put(b"%d" % number, b"after", None)
        databases[0].put(b"new:%d" % number, b"after", None)
    assert {item.value for item in entries(b"".join(made)).values()} == {b"before"}
    assert len(entries(b"".join(made))) == 5_000


def test_dump_of_a_value_is_not_changed_by_its_form_in_files() -> None:
    assert dump(JSONText(b"[1]")) == dump(b"[1]")
