"""kinds: the contract of every data type, one suite for all: a new one is a line in VALUES, with a strategy for its values.

A toy, changed in place as collections will be, passes it without a line of data, formats or commands that knows of it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvserver.types
from helpers.documents import cut_of, exact, json_texts, keys
from helpers.sessions import START_MS, Server, run
from helpers.toy import Numbers, registered_toy
from kvserver import KVStore, MemoryMedium
from kvserver.data.entries import Entry, Expiring, Value
from kvserver.data.footprint import EMPTY_BYTES, Footprint, entry_bytes
from kvserver.data.kinds import all_kinds, fork, kind_of, left_of, register
from kvserver.data.shards import Access
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.formats import decoder
from kvserver.formats.codec import JSONText
from kvserver.formats.encoder import encode
from kvserver.formats.members import LATEST_MS
from kvserver.resp.reply import Error, Simple
from kvserver.types import PLAIN, TAGGED
from kvserver.types.hash.value import Hash
from kvserver.types.hash.value import value_of as value_of_hash
from kvserver.types.list.value import List
from kvserver.types.list.value import value_of as value_of_list
from kvserver.types.set.value import INTSET_MEMBERS, is_intset, new_value
from kvserver.types.sorted_set.value import SORTED_SET, SortedSet
from kvserver.types.stream.stream import Stream
from kvserver.types.string.value import embedded, raw

LATER_MS = START_MS + 10_000


def a_set(some: list[bytes]) -> Value:
    return new_value(some, is_intset=is_intset(some, INTSET_MEMBERS))


def integers(count: int) -> Value:
    return a_set([b"%d" % number for number in range(count)])


members = keys | st.binary(max_size=80) | st.integers(-(2**64), 2**64).map(lambda number: b"%d" % number)
strings = keys | st.binary(max_size=100) | st.integers(-3, 20_000).map(lambda number: b"%d" % number)


def sorted_set(scores: dict[bytes, float]) -> Value:
    """The value that a load makes of these scores."""
    pairs = sorted(scores.items(), key=lambda pair: (pair[1], pair[0]))
    dumped = SORTED_SET.dump(SortedSet(pairs, is_listpack=False))
    return SORTED_SET.loads[dumped[0]].value(dumped[1:], 1 << 20)


times = st.integers(LATER_MS, LATEST_MS)


def expiring_hash(fields: dict[bytes, tuple[bytes, int | None]]) -> Value:
    hash_ = Hash(((field, value) for field, (value, _) in fields.items()), is_listpack=True)
    for field, (_, expires_at_ms) in fields.items():
        if expires_at_ms is not None:
            hash_.expire(field, expires_at_ms)
    return hash_


def stream_of(entries: list[list[bytes]]) -> Value:
    stream = Stream()
    for number, strings in enumerate(entries, start=1):
        stream.entries.add((number, number), strings, 4, 4096)
        stream.last_id = (number, number)
        stream.added += 1
    return stream


VALUES: dict[str, st.SearchStrategy[Value]] = {
    "string": strings | strings.map(raw) | strings.map(embedded),
    "ReJSON-RL": json_texts,
    "hash": st.builds(value_of_hash, st.dictionaries(strings, strings, min_size=1, max_size=20), is_listpack=st.booleans())
    | st.dictionaries(strings, st.tuples(strings, st.none() | times), min_size=1, max_size=20).map(expiring_hash),
    "list": st.lists(st.binary(max_size=9), min_size=1, max_size=9).map(lambda elements: value_of_list(List(elements)))
    | st.lists(strings, max_size=3).map(lambda elements: value_of_list(List([*elements, b"\0"]))),
    "set": st.lists(members, min_size=1, max_size=100, unique=True).map(a_set) | st.integers(65, 700).map(integers),
    "zset": st.dictionaries(strings, st.floats(allow_nan=False), min_size=1, max_size=20).map(sorted_set),
    "stream": st.lists(st.lists(strings, min_size=2, max_size=2), max_size=9).map(stream_of),
    "numbers": st.lists(st.integers(0, 2**63), max_size=50).map(Numbers),
}
each_kind = given(st.sampled_from(sorted(VALUES)).flatmap(VALUES.__getitem__))


@pytest.fixture(autouse=True, scope="module")
def toy() -> Iterator[None]:
    with registered_toy():
        yield


def test_every_type_is_a_kind_and_every_kind_is_tested_here() -> None:
    assert VALUES.keys() == {kind.name for kind in all_kinds()}
    folder = Path(kvserver.types.__file__).parent
    modules = {f"kvserver.types.{path.parent.name}.value" for path in folder.glob("*/value.py")}
    assert {type(kind).__module__ for kind in all_kinds()} == modules | {"helpers.toy"}


@pytest.mark.parametrize(
    "module", ["kvserver.server", "kvserver.library.store", "kvserver.library.folder", "kvserver.cli.check", "kvserver.types"]
)
def test_whoever_reads_frames_knows_every_kind(module: str) -> None:
    asked = f"import {module}; from kvserver.data.kinds import all_kinds; print(*[kind.name for kind in all_kinds()])"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert found == [kind.name for kind in all_kinds() if kind.name != "numbers"]


def test_no_two_kinds_answer_for_the_same() -> None:
    for kind in all_kinds():
        with pytest.raises(ValueError, match="another kind"):
            register(kind)


def decoded(payload: bytes, window_bytes: int) -> dict[bytes, Entry]:
    members: dict[bytes, Entry] = {}
    with mock.patch.object(decoder, "_WINDOW_BYTES", window_bytes):
        reader = decoder.Decoder(TAGGED)
        for start in range(0, len(payload), 7):
            for some in reader.feed(payload[start : start + 7]):
                members.update(some.get(0, ()))
        for some in reader.finish():
            members.update(some.get(0, ()))
    return members


@pytest.mark.patches_compiled
@each_kind
def test_frame_holds_it(value: Value) -> None:
    contents: dict[bytes, Entry] = {b"k": value, b"expiring": Expiring(value, LATER_MS), b"string": b"v"}
    payload = b"".join(encode([cut_of(contents)], TAGGED))
    for window_bytes in (1, 4096):
        assert exact(decoded(payload, window_bytes)) == exact(contents)


@each_kind
def test_pieces_make_the_same_json(value: Value) -> None:
    for entry in (value, Expiring(value, LATER_MS)):
        assert b"".join(TAGGED.encode_long(entry)) == TAGGED.encode_entry(entry)


@settings(max_examples=25)
@given(st.sampled_from(sorted(VALUES)).flatmap(VALUES.__getitem__), st.sampled_from([None, LATER_MS]))
def test_journal_brings_it_back(value: Value, expires_at_ms: int | None) -> None:
    server, again = Server(), Server()
    server.keyspace.put(b"k", value, expires_at_ms)
    for request in server.keyspace.records.take():
        run(again.session(), *request)
    assert exact(dict(again.keyspace.members())) == exact(dict(server.keyspace.members()))


@settings(max_examples=25)
@each_kind
def test_restore_takes_what_dump_gave(value: Value) -> None:
    server = Server()
    session = server.session()
    server.keyspace.set(b"k", value)
    payload = run(session, "DUMP", "k")
    assert isinstance(payload, bytes)
    run(session, "RESTORE", "l", 0, payload)
    restored = server.keyspace.live(b"l")
    # A document comes back as the string of its text.
    assert restored == value if isinstance(value, JSONText) else exact(restored) == exact(value)


@settings(max_examples=25)
@each_kind
def test_size_is_what_memory_counts(value: Value) -> None:
    server = Server()
    footprint = Footprint(server.keyspace)
    footprint.restart()
    access: Access = footprint.wrap(Access(*(getattr(server.keyspace, name) for name in ("get", "set", "delete", "peek"))))
    for entry in (value, Expiring(value, LATER_MS), value):
        access.set(b"k", entry)
        assert footprint.used_bytes == EMPTY_BYTES + entry_bytes(b"k", entry)
    assert run(server.session(), "MEMORY", "USAGE", "k") == entry_bytes(b"k", value) > kind_of(value).size_bytes(value) > 0
    access.delete(b"k")
    assert footprint.used_bytes == EMPTY_BYTES


@settings(max_examples=25)
@each_kind
def test_clients_are_told_its_type_and_encoding(value: Value) -> None:
    server = Server()
    session = server.session()
    server.keyspace.set(b"k", value)
    kind = kind_of(value)
    told = run(session, "TYPE", "k")
    assert isinstance(told, Simple)
    assert told.text == kind.name
    assert run(session, "OBJECT", "ENCODING", "k") == kind.encoding(value)
    for name, found in ((kind.name, [b"k"]), ("other", [])):
        assert run(session, "SCAN", 0, "COUNT", 2_000, "TYPE", name) == [b"0", found]


@settings(max_examples=25)
@each_kind
def test_copy_and_rename_keep_it_and_a_frozen_one_sees_no_change(value: Value) -> None:
    server = Server()
    session = server.session()
    server.keyspace.set(b"k", value)
    before = exact(fork(value))
    cut = server.keyspace.cut()
    assert run(session, "COPY", "k", "l") == 1
    assert exact(server.keyspace.live(b"l")) == before
    run(session, "RENAME", "l", "k")
    run(session, "SET", "k", "other")
    assert exact(cut.lookup(b"k")) == before


FORKED = st.sampled_from([Numbers([1, 2])])


@given(value=FORKED, expires_at_ms=st.sampled_from([None, LATER_MS]), words=st.sampled_from(["", "RENAME k l", "PEXPIRE k 9"]))
def test_value_to_be_changed_in_place_is_not_the_frozen_one(value: Numbers, expires_at_ms: int | None, words: str) -> None:
    server = Server()
    keyspace = server.keyspace
    frozen = Numbers(value)
    keyspace.put(b"k", frozen, expires_at_ms)
    assert keyspace.own(b"k") is frozen, "nothing is frozen yet"
    cut = keyspace.cut()
    if words:
        run(server.session(), *words.split())
    key = b"l" if "RENAME" in words else b"k"
    owned = keyspace.own(key)
    assert owned is keyspace.own(key), "one fork is made"
    assert isinstance(owned, Numbers)
    owned.append(3)
    keyspace.change(key, owned, [b"APPEND", b"k", b"3"])
    assert keyspace.live(key) is owned
    entry = cut.lookup(b"k")
    assert (entry.value if isinstance(entry, Expiring) else entry) == value
    for _ in keyspace.fold(cut):
        assert keyspace.own(key) is owned
    assert keyspace.own(key) is owned
    assert (keyspace.expires_at_ms(key) is None) == (expires_at_ms is None and "PEXPIRE" not in words)


def test_what_is_left_of_a_value_is_a_fork_where_members_are_due() -> None:
    value = expiring_hash({b"%d" % number: (b"v", START_MS if number % 2 else None) for number in range(200)})
    assert [*left_of(b"text", START_MS)] == [*left_of(value, START_MS - 1)] == []
    steps = left_of(value, START_MS)
    assert next(steps) is None
    left = finished(steps)
    assert {*left} == {b"%d" % number for number in range(0, 200, 2)}
    assert left.deadlines is None
    assert len(value) == 200  # type: ignore[arg-type]
    assert finished(left_of(value, START_MS - 1)) is value
    assert finished(left_of(expiring_hash({b"a": (b"v", START_MS)}), START_MS)) is None


def finished(steps: Generator[None, None, Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def test_collection_that_becomes_empty_goes() -> None:
    server = Server()
    server.keyspace.put(b"k", Numbers([1]))
    server.keyspace.records.take()
    server.keyspace.change(b"k", None, [b"POP", b"k"])
    assert server.keyspace.live(b"k") is None
    assert server.keyspace.records.take() == [[b"POP", b"k"]]


def test_memory_of_a_value_that_is_changed_in_place_is_counted_once() -> None:
    server = Server()
    keyspace = server.keyspace
    footprint = Footprint(keyspace)
    footprint.restart()
    access: Access = footprint.wrap(Access(*(getattr(keyspace, name) for name in ("get", "set", "delete", "peek"))))
    numbers = Numbers([1])
    for entry in (numbers, Expiring(numbers, LATER_MS), numbers):
        access.set(b"k", entry)
        for number in range(10):
            numbers.append(number)
        access.set(b"k", entry)
        assert footprint.used_bytes == EMPTY_BYTES + entry_bytes(b"k", entry)
    numbers.clear()
    access.delete(b"k")
    assert footprint.used_bytes == EMPTY_BYTES
    footprint.restart()
    keyspace.set(b"k", numbers)
    footprint.restart()
    numbers.append(1)
    access.delete(b"k")
    assert footprint.used_bytes == EMPTY_BYTES


@pytest.mark.parametrize(
    "words",
    [
        "GET k", "GETSET k v", "GETDEL k", "GETEX k", "STRLEN k", "SET k v GET", "GETRANGE k 0 1", "GETBIT k 0", "BITCOUNT k",
        "BITPOS k 1", "BITOP AND l k", "BITFIELD_RO k GET u8 0", "BITFIELD k SET u8 0 1", "INCR k", "DECRBY k 2",
        "INCRBYFLOAT k 1", "APPEND k v", "SETRANGE k 0 v", "SETBIT k 0 1", "JSON.GET k", "JSON.TYPE k",
    ],
)  # fmt: skip
@pytest.mark.parametrize("expires_at_ms", [None, LATER_MS])
def test_commands_of_strings_and_documents_refuse_other_types(words: str, expires_at_ms: int | None) -> None:
    server = Server()
    value = Numbers([1])
    server.keyspace.set(b"k", value) if expires_at_ms is None else server.keyspace.set_expiring(b"k", value, expires_at_ms)
    reply = run(server.session(), *words.split())
    assert isinstance(reply, Error)
    assert reply.text == WRONG_TYPE
    assert server.keyspace.live(b"k") is value
    assert not server.keyspace.records.take()


def test_mget_finds_strings_only_and_set_replaces_anything() -> None:
    server = Server()
    session = server.session()
    server.keyspace.set(b"k", Numbers([1]))
    assert run(session, "MGET", "k", "missing") == [None, None]
    run(session, "SET", "k", "v")
    assert run(session, "MGET", "k") == [b"v"]


def test_library_holds_and_gives_nothing_that_is_no_json() -> None:
    for encode_it in (PLAIN.encode_entry, lambda value: b"".join(PLAIN.encode_long(value))):
        with pytest.raises(TypeError, match="numbers"):
            encode_it(Numbers([1]))
    with KVStore(MemoryMedium()) as store:
        store._keyspace.set(b"k", Numbers([1]))
        with pytest.raises(TypeError, match="numbers"):
            store.get("k")
