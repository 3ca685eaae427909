"""Strings in documents: lengths are in bytes, and a string of Redis's is a document, too."""

from __future__ import annotations

from helpers.sessions import run, text
from kvserver.state.session import Session


def test_shapes(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":"foo","b":{"a":"hellö"},"c":{"a":31}}')
    assert run(session, "JSON.STRLEN", "k", "$..a") == [3, 6, None]
    assert run(session, "JSON.STRAPPEND", "k", "$..a", '"bar"') == [6, 9, None]
    assert run(session, "JSON.STRAPPEND", "k", "..a", '"é"') == 11
    assert run(session, "JSON.STRLEN", "k", ".b.a") == 11
    assert run(session, "JSON.GET", "k") == '{"a":"foobaré","b":{"a":"hellöbaré"},"c":{"a":31}}'.encode()
    assert text(run(session, "JSON.STRAPPEND", "k", ".c.a", '"x"')) == "ERR Path does not exist or not a string"
    assert text(run(session, "JSON.STRAPPEND", "none", '"x"')).startswith("ERR could not perform this operation")
    for words, found in (
        (("STRAPPEND", "k", "$.a", "1"), "integer"),
        (("STRLEN", "k", ".c.a"), "integer"),
        (("STRLEN", "k"), "object"),
    ):
        error = text(run(session, f"JSON.{words[0]}", *words[1:]))
        assert error == f"WRONGTYPE wrong type of path value - expected string but found {found}"
    assert text(run(session, "JSON.STRLEN", "k", ".none")) == "ERR Path does not exist"
    assert text(run(session, "JSON.STRLEN", "none", "$")).startswith("ERR could not perform this operation")
    assert run(session, "JSON.STRLEN", "none") is None


def test_string_of_redis_is_appended_to_and_keeps_its_expiry(session: Session) -> None:
    run(session, "SET", "k", "foo", "PX", 100)
    assert run(session, "JSON.STRAPPEND", "k", '"bar"') == 6
    assert run(session, "JSON.STRLEN", "k") == 6
    assert run(session, "GET", "k") == b"foobar"
    assert run(session, "PTTL", "k") == 100
