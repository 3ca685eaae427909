"""json: documents go in and come back, and what is not taken changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from documents import canonical_by_json, tag_like_values, values
from hypothesis import given, settings
from sessions import Server, run, text

from kvserver.formats.codec import MAX_DEPTH
from kvserver.resp.reply import OK
from kvserver.state.session import Session


@settings(max_examples=80)
@given(values | tag_like_values)
def test_document_comes_back_as_canonical_json(document: Any) -> None:
    session = Server().session()
    assert run(session, "JSON.SET", "k", "$", json.dumps(document, indent=1)) is OK
    assert run(session, "JSON.GET", "k") == canonical_by_json(document)
    assert run(session, "JSON.GET", "k", "$") == b"[%b]" % canonical_by_json(document)


def test_string_of_json_and_string_of_redis_are_one(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '"text"')
    assert run(session, "GET", "k") == b"text"
    run(session, "SET", "k", 'a"b')
    assert run(session, "JSON.GET", "k") == rb'"a\"b"'


def test_bytes_that_json_cannot_express_are_the_wrong_type(session: Session) -> None:
    run(session, "SET", "k", b"\xff")
    for command in ("JSON.GET", "JSON.TYPE"):
        assert text(run(session, command, "k")).startswith("WRONGTYPE ")
    assert run(session, "JSON.DEL", "k") == 1


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ("{}", "object"),
        ("[]", "array"),
        ('"a"', "string"),
        ("true", "boolean"),
        ("false", "boolean"),
        ("null", "null"),
        ("1", "integer"),
        ("-1", "integer"),
        ("1.0", "number"),
        ("-0.0", "number"),
        ("1e5", "number"),
        (str(10**30), "integer"),
    ],
)
def test_type_of_each_document_is_told(session: Session, document: str, kind: str) -> None:
    run(session, "JSON.SET", "k", ".", document)
    assert run(session, "JSON.TYPE", "k") == kind.encode()
    assert run(session, "JSON.TYPE", "k", "$") == [kind.encode()]
    session.protocol = 3
    assert run(session, "JSON.TYPE", "k", "$") == [[kind.encode()]]


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "NaN",
        "[Infinity]",
        "1e999",
        '"\\ud800"',
        '{"a":"\\udfff"}',
        "1" * 4301,
        "[" * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1),
        "[" * 100000,
        b"\xff",
        b'"\xed\xa0\x80"',
    ],
    ids=lambda document: repr(document[:12]),
)
def test_what_no_start_could_read_again_is_refused_and_changes_nothing(session: Session, document: str | bytes) -> None:
    run(session, "SET", "k", "old")
    assert text(run(session, "JSON.SET", "k", "$", document)).startswith("ERR ")
    assert run(session, "GET", "k") == b"old"


def test_deepest_document_is_taken(session: Session) -> None:
    document = "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH
    assert run(session, "JSON.SET", "k", "$", document) is OK
    assert run(session, "JSON.GET", "k") == document.encode()


def test_set_drops_the_expiry(session: Session) -> None:
    run(session, "SET", "k", "v", "PX", 100)
    run(session, "JSON.SET", "k", "$", "1")
    assert run(session, "PTTL", "k") == -1


def test_conditions_are_obeyed_and_checked_behind_the_document(session: Session) -> None:
    assert run(session, "JSON.SET", "k", "$", "1", "XX") is None
    assert run(session, "JSON.SET", "k", "$", "1", "nx") is OK
    assert run(session, "JSON.SET", "k", "$", "2", "NX") is None
    assert run(session, "JSON.SET", "k", "$", "3", "XX") is OK
    assert run(session, "JSON.GET", "k") == b"3"
    assert text(run(session, "JSON.SET", "k", "$", "4", "ONCE")) == "ERR syntax error"
    assert text(run(session, "JSON.SET", "k", "$", "4", "NX", "XX")) == "ERR syntax error"
    assert text(run(session, "JSON.SET", "k", "$", "{", "NX")).startswith("ERR ")


def test_path_below_the_root_is_refused_in_words(session: Session) -> None:
    assert text(run(session, "JSON.SET", "k", "$.a", "1")) == "ERR new objects must be created at the root"
    run(session, "JSON.SET", "k", "$", '{"a":1}')
    for words in (("JSON.SET", "k", "$.a", "2"), ("JSON.GET", "k", "a"), ("JSON.TYPE", "k", "$..a"), ("JSON.DEL", "k", "$.a")):
        assert "root path" in text(run(session, *words))
    assert run(session, "JSON.GET", "k", ".") == b'{"a":1}'
    assert run(session, "JSON.GET", "k", ".", "$") == b'{".":[{"a":1}],"$":[{"a":1}]}'
    assert run(session, "JSON.GET", "k", "INDENT", "  ", "NOESCAPE") == b'{"a":1}'


def test_missing_key_is_null_and_removing_it_nothing(session: Session) -> None:
    assert run(session, "JSON.GET", "k", "$") is None
    assert run(session, "JSON.TYPE", "k") is None
    assert run(session, "JSON.DEL", "k") == run(session, "JSON.FORGET", "k", "$") == 0
    run(session, "JSON.SET", "k", "$", "1")
    assert run(session, "JSON.DEL", "k", "$") == 1
    assert run(session, "EXISTS", "k") == 0
