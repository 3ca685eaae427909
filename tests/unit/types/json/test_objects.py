"""The members of objects, as RedisJSON tells them."""

from __future__ import annotations

from helpers.sessions import run, text
from kvserver.state.session import Session


def test_names_of_members_come_in_their_order_however_large_the_document_is(session: Session) -> None:
    for fill in ("", "x" * 10_000):
        run(session, "JSON.SET", "k", "$", '{"b": 1, "c": "' + fill + '", "a": 2}')
        assert run(session, "JSON.OBJKEYS", "k") == [b"a", b"b", b"c"]


def test_shapes(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":{"x":1,"y":2},"b":{"a":{}},"c":[1]}')
    assert run(session, "JSON.OBJKEYS", "k") == [b"a", b"b", b"c"]
    assert run(session, "JSON.OBJKEYS", "k", "$.*") == [[b"x", b"y"], [b"a"], None]
    assert run(session, "JSON.OBJKEYS", "k", ".none") is None
    assert run(session, "JSON.OBJKEYS", "none") is None
    assert text(run(session, "JSON.OBJKEYS", "k", ".c")) == "ERR Path does not exist or not an object"
    assert text(run(session, "JSON.OBJKEYS", "none", "$")).startswith("ERR could not perform this operation")
    assert run(session, "JSON.OBJLEN", "k") == 3
    assert run(session, "JSON.OBJLEN", "k", "$.*") == [2, 1, None]
    assert run(session, "JSON.OBJLEN", "k", ".none") is None
    assert run(session, "JSON.OBJLEN", "none") is None
    assert (
        text(run(session, "JSON.OBJLEN", "k", ".c")) == "WRONGTYPE wrong type of path value - expected object but found array"
    )
    assert text(run(session, "JSON.OBJLEN", "none", "$")) == "ERR Path does not exist or not an object"
