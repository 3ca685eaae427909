"""Documents go in and come back, and one that is refused changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from helpers.documents import canonical_by_json, tag_like_values, values
from helpers.sessions import Server, run, text
from kvserver.formats.codec import MAX_DEPTH
from kvserver.resp.reply import OK
from kvserver.state.session import REPLAY_ID, Session


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


def test_conditions_are_obeyed_and_checked_behind_the_document(session: Session) -> None:
    assert run(session, "JSON.SET", "k", "$", "1", "XX") is None
    assert run(session, "JSON.SET", "k", "$", "1", "nx") is OK
    assert run(session, "JSON.SET", "k", "$", "2", "NX") is None
    assert run(session, "JSON.SET", "k", "$", "3", "XX") is OK
    assert run(session, "JSON.GET", "k") == b"3"
    assert text(run(session, "JSON.SET", "k", "$", "4", "ONCE")) == "ERR syntax error"
    assert text(run(session, "JSON.SET", "k", "$", "4", "NX", "XX")) == "ERR syntax error"
    assert text(run(session, "JSON.SET", "k", "$", "{", "NX")).startswith("ERR ")


def test_new_key_is_made_at_the_root(session: Session) -> None:
    for command in ("JSON.SET", "JSON.MERGE", "JSON.MSET"):
        assert text(run(session, command, "k", "$.a", "1")) == "ERR new objects must be created at the root"
    run(session, "JSON.SET", "k", "$", '{"a":1}')
    assert run(session, "JSON.GET", "k", ".", "$") == b'{".":[{"a":1}],"$":[{"a":1}]}'
    assert run(session, "JSON.GET", "k", "NOESCAPE") == b'{"a":1}'


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("INDENT", "_"), rb'{_"a":[__1,__[],__{},__"x\"[,{:"_],_"c":{__"d":-1.5_}}'),
        (("newline", "n"), rb'{n"a":[n1,n[],n{},n"x\"[,{:"n],n"c":{n"d":-1.5n}n}'),
        (("SPACE", "s"), rb'{"a":s[1,[],{},"x\"[,{:"],"c":s{"d":s-1.5}}'),
        (("INDENT", "_", "NEWLINE", "n", "SPACE", "s", "$"), None),
        (("INDENT", "", "NEWLINE", "", "SPACE", ""), rb'{"a":[1,[],{},"x\"[,{:"],"c":{"d":-1.5}}'),
    ],
)
def test_layout_is_that_of_redisjson(session: Session, words: tuple[str, ...], expected: bytes | None) -> None:
    run(session, "JSON.SET", "k", "$", '{"a": [1, [], {}, "x\\"[,{:"], "c": {"d": -1.5}}')
    all_of_it = rb'[n_{n__"a":s[n___1,n___[],n___{},n___"x\"[,{:"n__],n__"c":s{n___"d":s-1.5n__}n_}n]'
    assert run(session, "JSON.GET", "k", *words) == (expected or all_of_it)


def test_layout_goes_over_the_paths_as_well(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "1")
    assert run(session, "JSON.GET", "k", "NEWLINE", "n", ".", "$", "SPACE", "s") == b'{n".":s[n1n],n"$":s[n1n]n}'


@settings(max_examples=80)
@given(values)
def test_layout_with_lines_is_that_of_python(document: Any) -> None:
    session = Server().session()
    run(session, "JSON.SET", "k", "$", json.dumps(document))
    expected = json.dumps(
        json.loads(canonical_by_json(document)), indent="\t", separators=(",", ": "), sort_keys=True, ensure_ascii=False
    )
    assert run(session, "JSON.GET", "k", "INDENT", "\t", "NEWLINE", "\n", "SPACE", " ") == expected.encode()


def test_layout_without_its_text_or_beyond_all_bounds_is_refused(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH)
    assert text(run(session, "JSON.GET", "k", "SPACE")) == "ERR wrong number of arguments for 'json.get' command"
    for option in ("INDENT", "NEWLINE"):
        too_long = run(session, "JSON.GET", "k", option, b" " * (1 << 20))
        assert text(too_long) == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    run(session, "JSON.SET", "l", "$", '{"a":1,"b":1}')
    session.server.config.proto_max_bulk_len = 20
    assert run(session, "JSON.GET", "l", "SPACE", "abc") == b'{"a":abc1,"b":abc1}'
    assert text(run(session, "JSON.GET", "l", "SPACE", "abcd")).startswith("ERR ")


def test_missing_key_is_null_and_removing_it_nothing(session: Session) -> None:
    assert run(session, "JSON.GET", "k", "$") is None
    assert run(session, "JSON.TYPE", "k") is None
    assert run(session, "JSON.DEL", "k") == run(session, "JSON.FORGET", "k", "$") == 0
    run(session, "JSON.SET", "k", "$", "1")
    assert run(session, "JSON.DEL", "k", "$") == 1
    assert run(session, "EXISTS", "k") == 0


@pytest.mark.parametrize(
    ("words", "reply", "document"),
    [
        (("$.a.b",), "OK", '{"a":{"b":9},"l":[1]}'),
        (("$..b",), "OK", '{"a":{"b":9},"l":[1]}'),
        (("a.c",), "OK", '{"a":{"b":1,"c":9},"l":[1]}'),
        (("$.a.c", "NX"), "OK", '{"a":{"b":1,"c":9},"l":[1]}'),
        (("$.a.b", "NX"), None, None),
        (("$.a.c", "XX"), None, None),
        (("$.a.b", "XX"), "OK", '{"a":{"b":9},"l":[1]}'),
        (("$.a.c.d",), None, None),
        (("$.l.c",), None, None),
        (("$.l[-1]",), "OK", '{"a":{"b":1},"l":[9]}'),
        (("$.l[1]",), "ERR array index out of range", None),
        (("$.l[0]", "NX"), None, None),
        (("$.l[1]", "XX"), None, None),
        (("$..c",), "Err wrong static path", None),
        (("$.l[*]", "NX"), "Err wrong static path", None),
        (("$", "NX"), None, None),
        (("$", "XX"), "OK", "9"),
        (("$[",), "ERR Error occurred on position 3, expected a string, an integer, `:`, `*` or `?`", None),
    ],
)
def test_value_is_set_at_a_path(session: Session, words: tuple[str, ...], reply: str | None, document: str | None) -> None:
    before = '{"a":{"b":1},"l":[1]}'
    run(session, "JSON.SET", "k", "$", before)
    records = session.server.databases[0].records
    records.take()
    outcome: Any = run(session, "JSON.SET", "k", words[0], "9", *words[1:])
    assert getattr(outcome, "text", outcome) == reply
    assert run(session, "JSON.GET", "k") == (document or before).encode()
    # Conditions are not recorded, since they hold.
    assert records.take() == ([] if document is None else [[b"JSON.SET", b"k", words[0].encode(), b"9"]])


def test_part_that_changes_keeps_the_expiry() -> None:
    server = Server()
    session = server.session()
    run(session, "JSON.SET", "k", "$", '{"a":1}')
    run(session, "PEXPIRE", "k", 100)
    for words in (("JSON.SET", "k", "$.a", "2"), ("JSON.NUMINCRBY", "k", "$.a", "2"), ("JSON.MERGE", "k", "$", '{"b":1}')):
        run(session, *words)
        assert run(session, "PTTL", "k") == 100
    server.clock.now_ms += 100
    assert run(session, "JSON.GET", "k") is None
    assert text(run(session, "JSON.SET", "k", "$.a", "2")) == "ERR new objects must be created at the root"


def test_several_keys_are_set_or_none(session: Session) -> None:
    run(session, "JSON.SET", "a", "$", '{"x":1}')
    assert run(session, "JSON.MSET", "a", "$.x", "2", "b", "$", "[1]", "a", "$.y", "3") is OK
    assert run(session, "JSON.MGET", "a", "b", "none", ".") == [b'{"x":2,"y":3}', b"[1]", None]
    for wrong in (("none", "$.x", "1"), ("a", "$.x", "{"), ("a", "$[", "1"), ("a", "$..z", "1")):
        assert text(run(session, "JSON.MSET", "b", "$", "7", *wrong)).startswith(("ERR ", "Err "))
        assert run(session, "JSON.GET", "b") == b"[1]"
    # The second one finds no place behind the first.
    assert run(session, "JSON.MSET", "a", "$", "1", "a", "$.x", "2") is None
    assert run(session, "JSON.MSET", "a", "$.none.x", "1", "b", "$", "7") is None
    for wrong in (("b", "$..none", "1"), ("none", "$.a", "1"), ("b", "$", "{")):
        assert text(run(session, "JSON.MSET", "a", "$.none.x", "1", *wrong)).startswith(("ERR ", "Err "))
    assert run(session, "JSON.GET", "a") == b'{"x":2,"y":3}'
    assert run(session, "JSON.MSET", "c", "$", '{"x":{}}', "c", "$.x.y", "[1]", "c", "$.x.y[0]", "2") is OK
    assert run(session, "JSON.GET", "c") == b'{"x":{"y":[2]}}'
    assert text(run(session, "JSON.MSET", "a", "$")).startswith("ERR wrong number of arguments")


def test_values_of_several_keys(session: Session) -> None:
    run(session, "JSON.SET", "a", "$", '{"x":1,"y":{"x":null}}')
    run(session, "JSON.SET", "b", "$", '{"y":2}')
    run(session, "RPUSH", "list", "x")
    assert run(session, "JSON.MGET", "a", "b", "list", "none", "$..x") == [b"[1,null]", b"[]", None, None]
    assert run(session, "JSON.MGET", "a", "b", "list", "none", "..x") == [b"1", None, None, None]


@pytest.mark.parametrize(
    ("path", "patch", "document"),
    [
        ("$", '{"a":null,"n":{"m":null,"o":1}}', '{"b":{"c":1},"n":{"o":1}}'),
        ("$.b", '{"c":null,"d":[null]}', '{"a":1,"b":{"d":[null]}}'),
        ("$.b", "null", '{"a":1,"b":null}'),
        ("$.*", '{"x":1}', '{"a":{"x":1},"b":{"c":1,"x":1}}'),
        ("$.new", '{"x":null}', '{"a":1,"b":{"c":1},"new":{"x":null}}'),
        ("$", "[1]", "[1]"),
    ],
)
def test_patch_is_merged(session: Session, path: str, patch: str, document: str) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":1,"b":{"c":1}}')
    assert run(session, "JSON.MERGE", "k", path, patch) is OK
    assert run(session, "JSON.GET", "k") == document.encode()


def test_patch_of_nothing(session: Session) -> None:
    assert run(session, "JSON.MERGE", "k", "$", '{"a":null}') is OK
    assert run(session, "JSON.GET", "k") == b'{"a":null}'
    assert run(session, "JSON.MERGE", "k", "$.x.y", "1") is None
    assert text(run(session, "JSON.MERGE", "k", "$..y", "1")) == "Err wrong static path"


def test_merge_takes_no_options(session: Session) -> None:
    assert text(run(session, "JSON.MERGE", "k", "$", "1", "NX")) == "ERR syntax error"
    assert run(session, "EXISTS", "k") == 0


def test_several_paths_give_an_object(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":1,"b":{"a":2}}')
    assert run(session, "JSON.GET", "k", "$..a", "$.none") == b'{"$..a":[1,2],"$.none":[]}'
    assert run(session, "JSON.GET", "k", "..a", "$.b") == b'{"..a":[1,2],"$.b":[{"a":2}]}'
    assert run(session, "JSON.GET", "k", "..a", ".b") == b'{"..a":1,".b":{"a":2}}'
    assert run(session, "JSON.GET", "k", "$.a", "$.a") == b'{"$.a":[1]}'
    assert run(session, "JSON.GET", "k", ".a", ".b.a", ".a") == b'{".a":1,".b.a":2}'
    assert text(run(session, "JSON.GET", "k", ".a", ".none")) == "ERR Path does not exist"
    assert text(run(session, "JSON.GET", "k", "none")) == "ERR Path does not exist"
    assert run(session, "JSON.GET", "none", ".a", "$.b") is None


def test_removal_at_paths(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":{"a":2,"b":3},"b":["a","b"],"n":{"b":[true,"a"]}}')
    assert run(session, "JSON.DEL", "k", "$..a") == 1
    assert run(session, "JSON.FORGET", "k", "$..[0]") == 2
    assert run(session, "JSON.GET", "k") == b'{"b":["b"],"n":{"b":["a"]}}'
    assert run(session, "JSON.DEL", "k", ".none") == 0
    assert run(session, "JSON.DEL", "k", ".*") == 2
    assert run(session, "JSON.GET", "k") == b"{}"
    assert text(run(session, "JSON.DEL", "k", "$", "$")) == "ERR wrong number of arguments for 'json.del' command"


def test_values_are_cleared_once(session: Session) -> None:
    run(session, "JSON.SET", "k", "$", '{"a":[1],"b":{"c":0},"d":7,"e":-1.5,"f":"x","g":true,"h":null,"i":[]}')
    assert run(session, "JSON.CLEAR", "k", "$.*") == 4
    assert run(session, "JSON.CLEAR", "k", "$.*") == 0
    assert run(session, "JSON.GET", "k") == b'{"a":[],"b":{},"d":0,"e":0,"f":"x","g":true,"h":null,"i":[]}'
    assert run(session, "JSON.CLEAR", "k") == 1
    assert run(session, "JSON.GET", "k") == b"{}"
    assert text(run(session, "JSON.CLEAR", "none")).startswith("ERR could not perform this operation")


def test_other_types_are_no_documents(session: Session) -> None:
    run(session, "RPUSH", "k", "x")
    for words in (
        ("SET", "k", "$.a", "1"),
        ("GET", "k", "$.a"),
        ("DEL", "k", "$.a"),
        ("DEL", "k"),
        ("FORGET", "k", "$"),
        ("MERGE", "k", "$", "1"),
        ("CLEAR", "k"),
    ):
        assert text(run(session, f"JSON.{words[0]}", *words[1:])).startswith("WRONGTYPE ")
    assert run(session, "LLEN", "k") == 1


def test_document_that_is_set_anew_keeps_the_expiry() -> None:
    server = Server()
    session = server.session()
    for words in (("JSON.SET", "k", "$", "[2]"), ("JSON.SET", "k", ".", '"x"', "XX"), ("JSON.MSET", "k", "$", "[3]")):
        run(session, "SET", "k", '"old"', "PX", "100")
        session.server.databases[0].records.take()
        assert run(session, *words) is OK
        assert run(session, "PTTL", "k") == 100
        records = session.server.databases[0].records.take()
        assert [record[0] for record in records] == [words[0].encode(), b"PEXPIREAT"]
    server.clock.now_ms += 100
    assert run(session, "JSON.SET", "k", "$", "1") is OK
    assert run(session, "PTTL", "k") == -1


def test_value_of_another_type_is_replaced_by_an_older_journal_alone() -> None:
    server = Server()
    session, journal = server.session(), Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    run(session, "RPUSH", "list", "x")
    for words in (
        ("JSON.SET", "list", "$", "1"),
        ("JSON.MSET", "k", "$", "1", "list", "$", "1"),
        ("JSON.SET", "list", "$", "1", "NX"),
    ):
        assert text(run(session, *words)).startswith("WRONGTYPE ")
    assert run(session, "TYPE", "list") is not None
    assert run(session, "LLEN", "list") == 1
    assert run(session, "EXISTS", "k") == 0
    assert run(journal, "JSON.SET", "list", "$", "1") is OK
