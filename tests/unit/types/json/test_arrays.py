"""Commands of arrays, as RedisJSON's documentation and tests have them."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import run, text
from kvserver.formats.codec import MAX_DEPTH
from kvserver.state.session import Session

NO_PATH = "ERR Path does not exist"
NO_ARRAY = f"{NO_PATH} or not an array"
NO_KEY = "ERR could not perform this operation on a key that doesn't exist"
DOCUMENT = '{"a":["foo"],"b":{"a":["hello",null,"world"]},"c":{"a":31}}'


def outcome(session: Session, *words: str) -> Any:
    reply: Any = run(session, *words)
    return getattr(reply, "text", reply)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(
    ("words", "reply", "document"),
    [
        (
            ("ARRAPPEND", "k", "$..a", "1", "2"),
            [3, 5, None],
            '{"a":["foo",1,2],"b":{"a":["hello",null,"world",1,2]},"c":{"a":31}}',
        ),
        (("ARRAPPEND", "k", "..a", "1", "2"), 5, '{"a":["foo",1,2],"b":{"a":["hello",null,"world",1,2]},"c":{"a":31}}'),
        (("ARRAPPEND", "k", "$.none", "1"), [], DOCUMENT),
        (("ARRAPPEND", "k", ".none", "1"), NO_ARRAY, DOCUMENT),
        (("ARRAPPEND", "k", ".c.a", "1"), NO_ARRAY, DOCUMENT),
        (("ARRAPPEND", "none", "$", "1"), NO_KEY, DOCUMENT),
        (("ARRAPPEND", "none", ".", "1"), NO_KEY, DOCUMENT),
        (
            ("ARRINSERT", "k", "$..a", "1", "1"),
            [2, 4, None],
            '{"a":["foo",1],"b":{"a":["hello",1,null,"world"]},"c":{"a":31}}',
        ),
        (("ARRINSERT", "k", ".b.a", "-1", "1"), 4, '{"a":["foo"],"b":{"a":["hello",null,1,"world"]},"c":{"a":31}}'),
        (("ARRINSERT", "k", "$..a", "2", "1"), "ERR index out of bounds", DOCUMENT),
        (("ARRINSERT", "k", "$..a", "x", "1"), "ERR value is not an integer or out of range", DOCUMENT),
        (("ARRPOP", "k", "$..a", "1"), [b'"foo"', b"null", None], '{"a":[],"b":{"a":["hello","world"]},"c":{"a":31}}'),
        (("ARRPOP", "k", "..a"), b'"world"', '{"a":[],"b":{"a":["hello",null]},"c":{"a":31}}'),
        (("ARRPOP", "k", ".b.a", "-99"), b'"hello"', '{"a":["foo"],"b":{"a":[null,"world"]},"c":{"a":31}}'),
        (("ARRPOP", "k"), NO_ARRAY, DOCUMENT),
        (("ARRPOP", "none"), NO_KEY, DOCUMENT),
        (("ARRTRIM", "k", "$..a", "1", "1"), [0, 1, None], '{"a":[],"b":{"a":[null]},"c":{"a":31}}'),
        (("ARRTRIM", "k", ".b.a", "-2", "-1"), 2, '{"a":["foo"],"b":{"a":[null,"world"]},"c":{"a":31}}'),
        (("ARRTRIM", "k", ".b.a", "0", "99"), 3, DOCUMENT),
        (("ARRTRIM", "k", ".b.a", "99", "2"), 0, '{"a":["foo"],"b":{"a":[]},"c":{"a":31}}'),
        (("ARRLEN", "k", "$..a"), [1, 3, None], DOCUMENT),
        (("ARRLEN", "k", ".b.a"), 3, DOCUMENT),
        (("ARRLEN", "k"), NO_ARRAY, DOCUMENT),
        (("ARRLEN", "k", ".none"), NO_PATH, DOCUMENT),
        (("ARRLEN", "none", "."), None, DOCUMENT),
        (("ARRLEN", "none", "$"), NO_KEY, DOCUMENT),
        (("ARRINDEX", "k", "$..a", "null"), [-1, 1, None], DOCUMENT),
        (("ARRINDEX", "k", ".b.a", '"world"', "-1"), 2, DOCUMENT),
        (("ARRINDEX", "k", ".b.a", '"world"', "0", "2"), -1, DOCUMENT),
        (("ARRINDEX", "k", ".b", "1"), "WRONGTYPE wrong type of path value - expected array but found object", DOCUMENT),
        (("ARRINDEX", "k", ".none", "1"), NO_PATH, DOCUMENT),
        (("ARRINDEX", "none", "$", "1"), NO_PATH, DOCUMENT),
    ],
)
def test_shapes(session: Session, protocol: int, words: tuple[str, ...], reply: Any, document: str) -> None:
    session.protocol = protocol
    run(session, "JSON.SET", "k", "$", DOCUMENT)
    assert outcome(session, f"JSON.{words[0]}", *words[1:]) == reply
    assert run(session, "JSON.GET", "k") == document.encode()


@pytest.mark.parametrize(
    ("value", "bounds", "found"),
    [
        ("0", (), 0), ("3", (), 3), ("4", (), -1), ("0", ("1",), 6), ("0", ("-1",), 6), ("0", ("6",), 6), ("0", ("4", "0"), 6),
        ("0", ("5", "-1"), -1), ("2", ("-2", "6"), -1), ('"foo"', (), -1), ("0", ("99",), 6), ("0", ("-99",), 0),
        # 1.0 is another number than 1 here.
        ("1.0", (), -1), ("false", (), -1),
    ],
)  # fmt: skip
def test_index_of_a_value(session: Session, value: str, bounds: tuple[str, ...], found: int) -> None:
    run(session, "JSON.SET", "k", "$", "[0,1,2,3,2,1,0]")
    assert run(session, "JSON.ARRINDEX", "k", ".", value, *bounds) == found


def test_index_of_a_container(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '[[1],{"a":[1.0]},{"a":[1]},[]]')
    assert run(session, "JSON.ARRINDEX", "k", "$", '{"a":[1]}') == [2]
    assert run(session, "JSON.ARRINDEX", "k", "$", "[]") == [3]
    assert run(session, "JSON.ARRINDEX", "k", "$", "[true]") == [-1]


def test_empty_array_gives_nothing_and_stays(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "[]")
    session.server.databases[0].records.take()
    assert run(session, "JSON.ARRPOP", "k") is None
    assert run(session, "JSON.ARRPOP", "k", "$", "0") == [None]
    assert session.server.databases[0].records.take() == []
    assert run(session, "JSON.ARRTRIM", "k", "$", "0", "0") == [0]


@pytest.mark.parametrize(
    "words", [("ARRPOP", "k", "$", "0", "0"), ("ARRINDEX", "k", "$", "1", "0", "0", "0"), ("ARRAPPEND", "k", "$")]
)
def test_wrong_number_of_words(session: Session, words: tuple[str, ...]) -> None:
    run(session, "JSON.SET", "k", "$", "[]")
    assert text(run(session, f"JSON.{words[0]}", *words[1:])).startswith("ERR wrong number of arguments for 'json.")


@pytest.mark.parametrize(("before", "behind"), [('{"a":', "}"), ("[", "]")], ids=["objects", "arrays"])
def test_deepest_value_is_found_by_its_types(session: Session, before: str, behind: str) -> None:
    deep, other = (before * (MAX_DEPTH - 1) + number + behind * (MAX_DEPTH - 1) for number in ("1", "1.0"))
    run(session, "JSON.SET", "k", "$", f"[{other},{deep}]")
    assert run(session, "JSON.ARRINDEX", "k", "$", deep) == [1]
    assert run(session, "JSON.ARRINDEX", "k", "$", other) == [0]
