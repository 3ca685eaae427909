"""Commands at paths do what a plain model in Python does, and the journal gives the same documents again."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from helpers.document_models import ERROR, FINDS, DocumentModel, Location, Text
from helpers.documents import exact
from helpers.servers import parse
from helpers.sessions import Server, run, text
from kvserver.data.steps import at_once
from kvserver.resp.reply import Encoded, Error, Simple
from kvserver.state.session import REPLAY_ID, Session
from kvserver.types.json.document import Document
from kvserver.types.json.places import AT_ONCE, delete_all, in_order, outermost
from kvserver.types.json.work import Work

NAMES = ("a", "b", "c")
_scalars = st.sampled_from([None, True, False, 0, 1, -7, 2**70, 2.5, 1e300, "", "x", "ü"])
_documents = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=12,
)


_index = st.integers(-6, 6)
_calls = st.one_of(
    st.tuples(st.sampled_from(["SET", "MERGE"]), _documents),
    st.tuples(st.sampled_from(["DEL", "CLEAR", "TOGGLE"])),
    st.tuples(st.sampled_from(["NUMINCRBY", "NUMMULTBY"]), st.sampled_from([0, 1, -3, 2**65, 0.5, 1e10])),
    st.tuples(st.just("STRAPPEND"), st.sampled_from(["", "y", "é"])),
    st.tuples(st.just("ARRAPPEND"), _documents, _documents),
    st.tuples(st.just("ARRINSERT"), _index, _documents),
    st.tuples(st.just("ARRPOP"), _index),
    st.tuples(st.just("ARRTRIM"), _index, _index),
)
_steps = st.lists(st.tuples(_calls, st.sampled_from(sorted(FINDS))), max_size=8)


def words_of(name: str, path: str, args: tuple[Any, ...]) -> list[str]:
    as_json = [json.dumps(each) for each in args]
    return [f"JSON.{name}", "k", path, *as_json]


def as_reply(name: str, path: str, reply: Any) -> Any:
    """A reply of the model, as it is sent in RESP2."""
    if isinstance(reply, Text):
        return json.loads(json.dumps(reply.value))
    if isinstance(reply, list):
        return [as_reply(name, path, each) for each in reply]
    if type(reply) is bool and path.startswith("$"):
        return int(reply)
    return reply


def as_value(name: str, reply: Any) -> Any:
    """A reply of the server, in the terms of the model."""
    if isinstance(reply, Encoded):
        reply = parse(reply)
    if isinstance(reply, Error):
        return ERROR
    if isinstance(reply, Simple):
        return reply.text
    if isinstance(reply, bytes):
        return json.loads(reply)
    return [as_value(name, each) for each in reply] if isinstance(reply, list) else reply


def document_of(server: Server) -> Any:
    reply = run(server.session(), "JSON.GET", "k")
    return None if reply is None else json.loads(reply)  # type: ignore[arg-type]


# To explain a failure, hypothesis would trace every line for minutes.
@settings(max_examples=100, deadline=None, phases=[each for each in Phase if each is not Phase.explain])
@given(_documents, _steps)
def test_commands_do_what_a_plain_model_does_and_the_journal_repeats_it(document: Any, steps: Any) -> None:
    server, model = Server(), DocumentModel(copy.deepcopy(document))
    session = server.session()
    run(session, "JSON.SET", "k", "$", json.dumps(document))
    for (name, *args), path in steps:
        expected = as_reply(name, path, model.call(name, path, *copy.deepcopy(args)))
        reply = run(session, *words_of(name, path, tuple(args)))
        assert exact(as_value(name, reply)) == exact(expected), (name, path, args)
        if run(session, "EXISTS", "k") == 0:
            model.root = copy.deepcopy(document)
            run(session, "JSON.SET", "k", "$", json.dumps(document))
        assert exact(document_of(server)) == exact(model.root), (name, path, args)
    again = Server()
    for request in server.keyspace.records.take():
        assert not isinstance(run(again.session(), *request), Error), request
    assert run(again.session(), "JSON.GET", "k") == run(session, "JSON.GET", "k")
    assert again.keyspace.records.take() != []


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("NUMINCRBY", "k", "$..n", "1e308"), "ERR result is not a number"),
        (("NUMMULTBY", "k", "$..n", "9" * 4000), "ERR numeric overflow"),
        (("ARRINSERT", "k", "$..l", "2", "0"), "ERR index out of bounds"),
        (("ARRAPPEND", "k", "$..l", "[" * 511 + "]" * 511), "ERR recursion limit exceeded"),
        (("ARRINSERT", "k", "$..l", "0", "[" * 511 + "]" * 511), "ERR recursion limit exceeded"),
        (("SET", "k", "$..l", "[" * 512 + "]" * 512), "ERR recursion limit exceeded"),
        (("MERGE", "k", "$..l", "[" * 512 + "]" * 512), "ERR recursion limit exceeded"),
        (("STRAPPEND", "k", "$..s", '"123456789"'), "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
    ],
)
def test_command_that_fails_at_one_place_changes_none(session: Session, words: tuple[str, ...], error: str) -> None:
    number = 1.7e308 if words[0] == "NUMINCRBY" else 10**1000
    document = {"n": 1, "l": [1, 2], "s": "a", "z": {"n": number, "l": [1], "s": "a long string"}}
    run(session, "JSON.SET", "k", "$", json.dumps(document))
    before = run(session, "JSON.GET", "k")
    session.server.config.proto_max_bulk_len = 20
    session.server.databases[0].records.take()
    assert text(run(session, f"JSON.{words[0]}", *words[1:])) == error
    session.server.config.proto_max_bulk_len = 1 << 20
    assert run(session, "JSON.GET", "k") == before
    assert session.server.databases[0].records.take() == []


@pytest.mark.parametrize(
    "words",
    [
        ("SET", "k", "$.l[*]", "2"),
        ("MSET", "k", "$.l[*]", "2"),
        ("MERGE", "k", "$.l[*]", "2"),
        ("DEL", "k", "$.l[*]"),
        ("CLEAR", "k", "$.l[*]"),
        ("NUMINCRBY", "k", "$.l[*]", "1"),
        ("STRAPPEND", "k", "$.s", '"more"'),
    ],
    ids=lambda words: words[0],
)
def test_journal_accepts_what_goes_beyond_the_limits(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    server = Server()
    live, journal = server.session(), Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    monkeypatch.setattr(Work.__init__, "__defaults__", (20,))
    server.state.config.proto_max_bulk_len = 4
    run(live, "JSON.SET", "k", "$", json.dumps({"l": list(range(1, 40)), "s": "a"}))
    before = run(live, "JSON.GET", "k")
    assert isinstance(run(live, f"JSON.{words[0]}", *words[1:]), Error)
    assert run(live, "JSON.GET", "k") == before
    assert not isinstance(run(journal, f"JSON.{words[0]}", *words[1:]), Error)
    assert run(live, "JSON.GET", "k") != before


def test_place_that_is_found_twice_is_changed_once(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "[1,[2]]")
    assert run(session, "JSON.NUMINCRBY", "k", "$[0,0,1]", "1") == b"[2,2,null]"
    assert run(session, "JSON.ARRPOP", "k", "$[1,1]") == [b"2", b"2"]
    assert run(session, "JSON.DEL", "k", "$[0,0]") == 1
    assert run(session, "JSON.GET", "k") == b"[[]]"


@pytest.mark.parametrize(
    ("document", "index", "popped", "left"),
    [
        ("[[[null]]]", -1, [b"[]", b"null", None], [[]]),
        ("[[[1,2],[3,4]],[5]]", 0, [b"[2]", b"5", b"1", b"3", None, None, None, None, None], [[[4]], []]),
        # What was popped last is not within what is popped of the array around.
        ("[[[1],[2]]]", -1, [b"[]", b"1", b"2", None, None], [[[]]]),
        ('[[{"a":[[7,8]]}],{"a":[9]}]', -1, [b'{"a":[]}', None, b"[7]", b"9", b"8", *[None] * 4], [[], {"a": []}]),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_popped_has_lost_what_was_popped_within(
    session: Session, document: str, index: int, popped: list[object], left: object
) -> None:
    run(session, "JSON.SET", "k", "$", document)
    replies = run(session, "JSON.ARRPOP", "k", "$..*", index)
    assert json.loads(run(session, "JSON.GET", "k")) == left  # type: ignore[arg-type]
    assert sorted(map(str, replies)) == sorted(map(str, popped))  # type: ignore[arg-type]


# In place, and in steps on a draft.
@pytest.mark.parametrize("count", [1, 3 * AT_ONCE])
def test_pops_within_pops_of_a_long_document(count: int) -> None:
    server = Server()
    session = server.session()
    document = {"a": [[[number, 2], [[3], 4]] for number in range(count)], "b": "x" * 3000}
    run(session, "JSON.SET", "k", "$", json.dumps(document))
    run(session, "JSON.GET", "k", "$.a[0]")
    run(session, "COPY", "k", "copy")
    model = DocumentModel(copy.deepcopy(document))
    for index in (0, -1):
        expected = as_reply("ARRPOP", "$..*", model.call("ARRPOP", "$..*", index))
        assert as_value("ARRPOP", run(session, "JSON.ARRPOP", "k", "$..*", str(index))) == expected
        assert document_of(server) == model.root
    assert json.loads(run(session, "JSON.GET", "copy")) == document  # type: ignore[arg-type]


def test_places_get_values_of_their_own(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":1,"b":1,"l":[[],[]]}')
    run(session, "JSON.SET", "k", "$.*", '{"x":[]}')
    run(session, "JSON.ARRAPPEND", "k", "$.a.x", "1")
    run(session, "JSON.MERGE", "k", "$.*", '{"y":[]}')
    run(session, "JSON.ARRAPPEND", "k", "$.b.y", "2")
    assert json.loads(run(session, "JSON.GET", "k")) == {  # type: ignore[arg-type]
        "a": {"x": [1], "y": []},
        "b": {"x": [], "y": [2]},
        "l": {"x": [], "y": []},
    }


def ordered(places: list[Location]) -> list[Location]:
    return at_once(in_order(places, Work()))


def outer(places: list[Location]) -> list[Location]:
    return at_once(outermost(places, Work()))


def test_order_of_locations() -> None:
    places: list[Location] = [("a",), ("a", 0), ("a", 1, "x"), ("b", 2), ("b", 10), ("ab",)]
    assert outer(places) == [("a",), ("ab",), ("b", 2), ("b", 10)]
    assert ordered([*places, ("b", 2)]) == [("a",), ("a", 0), ("a", 1, "x"), ("ab",), ("b", 2), ("b", 10)]
    assert outer([()]) == [()] == outer([("a",), ()])
    assert outer([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_many_locations_have_the_same_order_in_steps(seed: int) -> None:
    rng = random.Random(seed)
    places: list[Location] = [("l", rng.randrange(2000), "x")[: rng.choice((2, 3))] for _ in range(20 * AT_ONCE)]
    expected = sorted(set(places))
    if seed == 0:
        places = expected
    assert ordered(places) == expected
    assert outer(places) == [each for each in expected if len(each) == 2 or each[:2] not in set(expected)]


def test_removal_of_many_members_keeps_the_others() -> None:
    document = Document({"a": [*range(9), {"l": [1, 2, 3]}], "b": [0], "c": 1})
    places: list[Location] = [("a", 0), ("a", 1), ("a", 8), ("a", 9, "l", 0), ("a", 9, "l", 2), ("b", 0), ("c",)]
    at_once(delete_all(document, places, Work()))
    assert document.root == {"a": [2, 3, 4, 5, 6, 7, {"l": [2]}], "b": []}


@pytest.mark.parametrize(
    "words",
    [
        ("NUMINCRBY", "k", "$.l[*]", "1"),
        ("NUMINCRBY", "k", ".l[*]", "1"),
        ("CLEAR", "k", "$.l[*]"),
        ("SET", "k", "$.l[*]", "[2]"),
        ("MSET", "k", "$.l[*]", "2", "k", "$.new", "3"),
        ("MERGE", "k", "$", '{"l":null,"a":{"b":1},"c":2}'),
        ("DEL", "k", "$.l[0,2]"),
        ("ARRAPPEND", "k", "$.m[*]", "1", "2"),
        ("ARRPOP", "k", "$.m[*]"),
        ("TOGGLE", "k", "$.b[*]"),
    ],
    ids=" ".join,
)
def test_command_that_has_too_much_work_at_any_point_changes_nothing(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_failed = has_run = False
    for budget in range(0, 400, 3):
        server = Server()
        session = server.session()
        # A document that is kept, and changed in place.
        document = {"l": list(range(1, 30)), "m": [[0]] * 20, "b": [True] * 20, "pad": "x" * 3000}
        run(session, "JSON.SET", "k", "$", json.dumps(document))
        run(session, "JSON.GET", "k", "$.l")
        before = run(session, "JSON.GET", "k")
        server.state.databases[0].records.take()
        with monkeypatch.context() as patch:
            patch.setattr(Work.__init__, "__defaults__", (budget,))
            reply = run(session, f"JSON.{words[0]}", *words[1:])
        if isinstance(reply, Error):
            assert reply.text == "ERR path looks at too many values"
            assert run(session, "JSON.GET", "k") == before
            assert server.state.databases[0].records.take() == []
            has_failed = True
        else:
            assert len(server.state.databases[0].records.take()) >= 1
            has_run = True
    assert has_failed
    assert has_run
