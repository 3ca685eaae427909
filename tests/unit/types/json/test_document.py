"""Documents are read and changed at locations, forks are independent, and what they let go of is freed in steps."""

from __future__ import annotations

import copy
import gc
import random
from typing import Any

import pytest

from helpers.sessions import run
from kvserver.containers import lazyfree
from kvserver.formats.codec import MAX_DEPTH
from kvserver.state.session import Session
from kvserver.types.json.document import Document, Location, size_of


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


def test_hold_keeps_what_is_there_until_its_release() -> None:
    document = Document({"a": [1], "b": {}})
    root, first, other = document.root, document.at(("a",)), document.at(("b",))
    hold = document.hold()
    document.list_at(("a",)).append(2)
    assert (root, first) == ({"a": [1], "b": {}}, [1])
    assert document.root == {"a": [1, 2], "b": {}}
    hold.release()
    # The other container may be another reader's by now: who knows.
    document.dict_at(("b",))["x"] = 1
    assert other == {}


def test_document_that_nobody_holds_any_more_is_changed_in_place() -> None:
    document = Document({"a": [1]})
    first = document.at(("a",))
    one, other = document.hold(), document.hold()
    other.release()
    one.release()
    document.list_at(("a",)).append(2)
    assert document.at(("a",)) is first == [1, 2]


def test_hold_that_ends_amid_others_lets_nobody_change_what_they_read() -> None:
    document = Document({"a": [1]})
    first = document.at(("a",))
    one, other = document.hold(), document.hold()
    one.release()
    document.list_at(("a",)).append(2)
    assert first == [1]
    other.release()
    assert document.root == {"a": [1, 2]}


def test_fork_that_was_made_amid_a_hold_stays_as_it_is() -> None:
    document = Document({"a": [1]})
    hold = document.hold()
    fork = document.fork()
    hold.release()
    document.list_at(("a",)).append(2)
    assert fork.root == {"a": [1]}


@pytest.mark.parametrize("way", ["gone", "deleted", "replaced", "by a draft"])
def test_large_values_are_freed_in_steps(way: str) -> None:
    # No document of a test before may go meanwhile.
    gc.collect()
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
        elif way == "by a draft":
            draft = document.draft()
            draft.put(("large",), 1)
            assert not lazyfree.pending()
            document.become(draft)
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
