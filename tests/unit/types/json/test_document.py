"""Documents are read and changed at locations, forks are independent, and what they let go of is freed in steps."""

from __future__ import annotations

import copy
import gc
import random
from typing import Any

import pytest

from helpers.sessions import run
from kvserver.containers import lazyfree
from kvserver.data.keyspace import Keyspace
from kvserver.errors import CommandError
from kvserver.formats.codec import MAX_DEPTH, JSONText, canonical
from kvserver.state.session import Session
from kvserver.types.json.document import (
    TEXT_BYTES,
    Document,
    Location,
    change_document,
    document_of,
    own_document,
    read_document,
    size_of,
    value_of,
)

LONG = {"names": ["x" * 20] * TEXT_BYTES}


def test_values_are_read_replaced_added_and_deleted() -> None:
    document = Document({"a": [1, {"b": 2}], "c": "text"})
    assert document.at(()) is document.root
    assert document.at(("a", 1, "b")) == 2
    document.put(("a", 1, "b"), [3])
    document.put(("d",), None)
    document.delete(("a", 0))
    document.delete(("c",))
    assert document.root == {"a": [{"b": [3]}], "d": None}
    document.put((), 5)
    assert (document.root, document.text()) == (5, b"5")


@pytest.mark.parametrize("location", [("b",), ("a", 2), ("a", "b"), ("a", 0, "b")])
def test_missing_values_raise(location: Location) -> None:
    document = Document({"a": [1, 2]})
    for call in (document.at, document.delete):
        with pytest.raises((LookupError, TypeError, AttributeError)):
            call(location)


def test_containers_are_given_by_their_types() -> None:
    document = Document({"a": [1], "b": {}})
    document.list_at(("a",)).append(2)
    document.dict_at(("b",))["c"] = 3
    assert document.root == {"a": [1, 2], "b": {"c": 3}}
    with pytest.raises(TypeError):
        document.list_at(("b",))
    with pytest.raises(TypeError):
        document.dict_at(("a",))


def _random_change(document: Document, generator: random.Random) -> None:
    location: list[str | int] = []
    value: Any = document.root
    while isinstance(value, (dict, list)) and value and generator.random() < 0.8:
        key = generator.choice(list(value)) if isinstance(value, dict) else generator.randrange(len(value))
        location.append(key)
        value = value[key]
    fresh: Any = generator.choice([1, "x", [1, [2]], {"a": {"b": []}}])
    place = tuple(location)
    if isinstance(value, list) and generator.random() < 0.5:
        document.list_at(place).append(fresh)
    elif isinstance(value, dict) and generator.random() < 0.5:
        document.dict_at(place)[generator.choice("abc")] = fresh
    elif place and generator.random() < 0.3:
        document.delete(place)
    elif place:
        document.put(place, fresh)


@pytest.mark.parametrize("seed", range(20))
def test_forks_never_see_each_others_changes(seed: int) -> None:
    generator = random.Random(seed)
    documents = [Document({"a": [{"b": [1, 2, {"c": 3}]}, []], "b": {"a": {}}})]
    expected = [copy.deepcopy(documents[0].root)]
    for _ in range(200):
        place = generator.randrange(len(documents))
        if generator.random() < 0.1:
            documents.append(documents[place].fork())
            expected.append(copy.deepcopy(expected[place]))
        else:
            _random_change(documents[place], generator)
            expected[place] = copy.deepcopy(documents[place].root)
        assert [document.root for document in documents] == expected, f"seed {seed}"


def test_change_below_a_fork_copies_the_way_alone() -> None:
    document = Document({"way": {"here": [1]}, "other": {"large": [2]}})
    fork = document.fork()
    document.list_at(("way", "here")).append(3)
    assert document.at(("other",)) is fork.at(("other",))
    assert document.at(("way",)) is not fork.at(("way",))
    own = document.at(("way", "here"))
    document.list_at(("way", "here")).append(4)
    assert document.at(("way", "here")) is own
    assert fork.root == {"way": {"here": [1]}, "other": {"large": [2]}}


def test_size_follows_changes() -> None:
    document = Document({"a": {"b": list(range(1000, 2000))}, "c": {"d": 1}})
    before = document.size_bytes()
    document.put(("e",), "x" * 10_000)
    assert before + 10_000 < document.size_bytes() < before + 11_000
    document.delete(("e",))
    assert document.size_bytes() == before
    document.delete(("a", "b"))
    assert document.size_bytes() < before - 30_000
    document.changed(-(10**9))
    assert document.size_bytes() == 0


def test_size_is_estimated_well() -> None:
    records: list[Any] = [{"id": number + 1000, "name": "x" * 50, "marks": [1.5, None, True]} for number in range(5000)]
    one = size_of(records[0])
    assert size_of(records) == pytest.approx(5000 * one, rel=0.05)
    names = {f"name {number:06}": 1.5 for number in range(5000)}
    assert size_of(names) > 5000 * (60 + 24)


def test_small_documents_are_texts_and_large_ones_are_kept() -> None:
    assert value_of(Document({"b": 1, "a": 1.5})) == JSONText(b'{"a":1.5,"b":1}')
    assert value_of(Document("text")) == b"text"
    large = Document(LONG)
    assert value_of(large) is large
    assert document_of(large) is large
    assert document_of(None) is None


def test_strings_are_documents_unless_they_are_not_text() -> None:
    found = document_of("é".encode())
    assert found is not None
    assert found.root == "é"
    for other in (b"\xff", "packed"):
        with pytest.raises(CommandError, match="WRONGTYPE"):
            document_of(other)


def test_text_that_is_long_stays_parsed_when_it_was_read() -> None:
    keyspace = Keyspace(lambda: 0)
    keyspace.set(b"small", JSONText(b"[1]"))
    keyspace.set(b"large", JSONText(canonical(LONG)))
    for key in (b"small", b"large"):
        assert read_document(keyspace, key) is not None
    assert type(keyspace.live(b"small")) is JSONText
    assert type(keyspace.live(b"large")) is Document
    assert not keyspace.records.has_any


def test_frozen_document_is_left_alone() -> None:
    keyspace = Keyspace(lambda: 0)
    keyspace.set(b"key", value_of(Document(copy.deepcopy(LONG))))
    cut = keyspace.cut()
    document = own_document(keyspace, b"key")
    assert document is not None
    document.list_at(("names",)).append(1)
    change_document(keyspace, b"key", document, [b"JSON.ARRAPPEND", b"key", b"$.names", b"1"])
    frozen: Any = cut.lookup(b"key")
    assert frozen.root == LONG
    for _ in keyspace.fold(cut):
        pass
    kept: Any = keyspace.live(b"key")
    assert len(kept.root["names"]) == TEXT_BYTES + 1


@pytest.mark.parametrize("way", ["gone", "deleted", "replaced"])
def test_large_values_are_freed_in_steps(way: str) -> None:
    lazyfree.begin()
    try:
        before = lazyfree.freed()
        document = Document({"large": [[{"a": 1}] * 3 for _ in range(10_000)] + list(range(1000, 50_000))})
        document.is_kept = True
        kept = document.at(("large", 0))
        if way == "gone":
            del document
        elif way == "deleted":
            document.delete(("large",))
        else:
            document.put(("large",), 1)
        steps = 0
        while lazyfree.pending():
            lazyfree.free_some()
            steps += 1
        assert steps > 10_000
        assert lazyfree.freed() == before + 1
        # The list of its caller is left.
        assert kept == [{"a": 1}] * 3
    finally:
        lazyfree.end()
        gc.collect()


@pytest.mark.parametrize(("before", "behind"), [('{"a":', "}"), ("[", "]")], ids=["objects", "arrays"])
def test_deepest_values_are_set_and_recorded(session: Session, before: str, behind: str) -> None:
    deep = before * (MAX_DEPTH - 2) + "1" + behind * (MAX_DEPTH - 2)
    text = f'{{"l":[1,2],"pad":"{"x" * 3000}"}}'
    run(session, "JSON.SET", "k", "$", text)
    assert run(session, "MEMORY", "USAGE", "k") is not None
    session.server.databases[0].records.take()
    run(session, "JSON.SET", "k", "$.l[0]", deep)
    run(session, "JSON.MERGE", "k", "$.l[1]", deep)
    assert run(session, "JSON.ARRAPPEND", "k", "$.l", deep) == [3]
    assert len(session.server.databases[0].records.take()) == 3
