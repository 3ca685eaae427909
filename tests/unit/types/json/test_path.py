"""Paths find what RFC 9535 and RedisJSON say, and no path takes a server's time."""

from __future__ import annotations

import json
from pathlib import Path as File
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import values
from kvserver.data.steps import Steps, at_once
from kvserver.errors import CommandError
from kvserver.types.json import path as path_module
from kvserver.types.json.filters import NOTHING
from kvserver.types.json.path import MOST_BYTES, parse_path
from kvserver.types.json.segments import CHUNK
from kvserver.types.json.work import STEP_VALUES, Work

# The RFC's compliance suite, as https://github.com/jsonpath-standard/jsonpath-compliance-test-suite has it.
CASES = json.loads((File(__file__).parent / "rfc9535" / "cts.json").read_text(encoding="utf-8"))["tests"]
# RedisJSON takes these, which are no paths for the RFC.
TAKEN = {"basic, name shorthand, number"}
# These do not begin with `$`: they are of the older form, and mean something else.
OLDER = {"basic, no leading whitespace"}


def at(document: Any, location: tuple[str | int, ...]) -> Any:
    for key in location:
        document = document[key]
    return document


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].encode("unicode_escape").decode())
def test_compliance_suite(case: Any) -> None:
    selector = case["selector"].encode()
    if case.get("invalid_selector"):
        if case["name"] not in TAKEN | OLDER:
            with pytest.raises(CommandError, match=r"ERR Error occurred on position [0-9]+, expected "):
                parse_path(selector)
        return
    path = parse_path(selector)
    document = case["document"]
    found = at_once(path.values(document, Work()))
    # The text tells 1 from true and 1.0.
    assert json.dumps(found) in [json.dumps(each) for each in case.get("results", [case.get("result")])]
    locations = at_once(path.find(document, Work()))
    assert json.dumps([at(document, each) for each in locations]) == json.dumps(found)
    for location, text in zip(locations, case.get("result_paths", []), strict="result_paths" in case):
        assert parse_path(text.encode()).keys == location


DOCUMENT = {
    "a": {"b": [1, {"c": "x"}, [2, 3]], "a-b": 5, "1": 6},
    "s": ["foo", "bar", "foobar", "f.o", 7],
    "n": None,
}


@pytest.mark.parametrize(
    ("text", "is_legacy", "expected"),
    [
        (".", True, [DOCUMENT]),
        ("a.b[0]", True, [1]),
        (".a.b[-1][0]", True, [2]),
        ("['a']", True, [DOCUMENT["a"]]),
        ('["a"]["b"][1].c', True, ["x"]),
        ("..c", True, ["x"]),
        ("a.a-b", True, [5]),
        ("a.1", True, [6]),
        ("$.['a'].b.[0]", False, [1]),
        ("$.a.a-b", False, [5]),
        ("$.s[?(@=~'^foo')]", False, ["foo", "foobar"]),
        ("$.s[?(@ =~ 'O')]", False, []),
        ("$.s[?(@ =~ '(?i)O$')]", False, ["foo", "f.o"]),
        ("$.s[?@=~'f\\\\.o']", False, ["f.o"]),
        ("$.s[?@=~'(']", False, []),
        ("$..[?@.c=='x']", False, [{"c": "x"}]),
        ("$..b[0,2]", False, [1, [2, 3]]),
        ("$.n", False, [None]),
        ("$.missing", False, []),
        ("$.n[0]", False, []),
        # Python would take a character of a string for a member.
        ("$.s[0][0]", False, []),
        ("$.s[0].a", False, []),
    ],
)
def test_forms_of_redisjson(text: str, is_legacy: bool, expected: list[Any]) -> None:
    path = parse_path(text.encode())
    assert path.is_legacy is is_legacy
    found = at_once(path.find(DOCUMENT, Work()))
    assert at_once(path.values(DOCUMENT, Work())) == [at(DOCUMENT, each) for each in found] == expected
    first = at_once(path.first(DOCUMENT, Work()))
    assert first == expected[0] if expected else first is NOTHING


def test_path_to_one_value_knows_its_keys() -> None:
    assert parse_path(b"$.a['b'][-1]").keys == ("a", "b", -1)
    assert parse_path(b"$").is_root
    assert parse_path(b".").is_root
    assert not parse_path(b"$.a").is_root
    for text in (b"$..a", b"$.*", b"$[0,1]", b"$[0:1]", b"$[?@.a]"):
        assert parse_path(text).keys is None


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b".a.", b"$.a[", b"$[-inf]", b'."', b"a\x00b", b".a\n.\nb", b"$[?@.a==[1]]", b"$[?@ in [1]]", b"$[?nope(@)]"],
)
def test_what_is_no_path_is_refused_with_its_place(text: bytes) -> None:
    with pytest.raises(CommandError, match="ERR Error occurred on position"):
        parse_path(text)


def test_text_that_is_long_or_no_text_is_refused() -> None:
    with pytest.raises(CommandError, match="longer than"):
        parse_path(b"$." + b"a" * MOST_BYTES)
    with pytest.raises(CommandError, match="UTF-8"):
        parse_path(b"$.\xff")
    assert at_once(parse_path(b"$." + b"a" * (MOST_BYTES - 2)).find({"a": 1}, Work())) == []


@pytest.mark.parametrize("text", ["$[?" + "(" * 10000, "$[?@" + "[?@" * 10000, "$[?" + "length(" * 9000, "$[?" + "!(" * 10000])
def test_nesting_without_end_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="nested"):
        parse_path(text.encode())


def test_long_integer_is_refused() -> None:
    for text in (b"$[?@==%b]", b"$[%b]", b"$[:%b]"):
        with pytest.raises(CommandError, match="integer"):
            parse_path(text % (b"1" * 5000))


def deep(depth: int) -> Any:
    document: Any = 1
    for _ in range(depth):
        document = {"a": document, "b": [document]} if depth < 15 else [document]
    return document


@pytest.mark.parametrize("text", ["$..*..*..*", "$..[?@..*]..[?count(@..*)>1]", "$..[?count($..*)==0]", "$..[?@==$]..*"])
def test_path_that_looks_at_each_value_again_and_again_comes_to_an_end(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Work.__init__, "__defaults__", (20_000,))
    with pytest.raises(CommandError, match="too many values"):
        at_once(parse_path(text.encode()).find(deep(12), Work()))


def test_location_of_deep_values_counts_as_work() -> None:
    leaves: Any = list(range(1000))
    for _ in range(500):
        leaves = [leaves]
    work = Work(100_000)
    path = parse_path(b"$..*")
    assert len(at_once(path.values(leaves, work))) == 1500
    with pytest.raises(CommandError, match="too many values"):
        at_once(path.find(leaves, Work(100_000)))


WIDE = {"list": [{"id": number, "tags": ["x"]} for number in range(4000)], "long": "a" * 100_000, "flat": list(range(4000))}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("$..*", 4000 * 4 + 4003),
        ("$..id", 4000),
        ("$.list[*].id", 4000),
        ("$.list[::-1].id", 4000),
        ("$.list[?@.id<3]", 3),
        ("$.list[?@.tags==$.list[0].tags]", 4000),
        ("$.list[?count($.list[0:2])==3]", 0),
        ("$[?@ =~ '(a|aa)+b']", 0),
        ("$[?match(@, 'a*')]", 1),
        ("$[?@==$.flat].x", 0),
        ("$..[?@.nothing]", 0),
    ],
)
def test_long_search_goes_in_steps(text: str, count: int) -> None:
    path, work = parse_path(text.encode()), Work()
    for search in (path.values(WIDE, work), path.find(WIDE, work)):
        left, steps, most = work.left, 0, 0
        found: list[Any] = []

        def gathering(search: Steps[list[Any]] = search, found: list[Any] = found) -> Steps[None]:
            found += yield from search

        for _ in gathering():
            steps += 1
            most, left = max(most, left - work.left), work.left
        assert len(found) == count
        assert steps > 5
        # In a step, little is looked at.
        assert most <= STEP_VALUES + 20 * CHUNK


def test_paths_are_parsed_once() -> None:
    path_module._parse_known.cache_clear()
    assert parse_path(b"$.a..b") is parse_path(b"$.a..b")
    assert parse_path(b"$." + b"a" * 1000) is not parse_path(b"$." + b"a" * 1000)
    for number in range(3000):
        parse_path(b"$.a%d" % number)
    assert path_module._parse_known.cache_info().currsize <= 1024


def everything(document: Any, location: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """All locations below a value, in the order of the RFC: the members of a container, then what is in each of them."""
    members = document.items() if type(document) is dict else enumerate(document) if type(document) is list else ()
    found = [(*location, key) for key, _ in members]
    for key, member in document.items() if type(document) is dict else enumerate(document) if type(document) is list else ():
        found += everything(member, (*location, key))
    return found


@settings(max_examples=100)
@given(values)
def test_descent_finds_all_in_order(document: Any) -> None:
    assert at_once(parse_path(b"$..*").find(document, Work())) == everything(document)


@settings(max_examples=100)
@given(values, st.data())
def test_location_written_as_a_path_finds_that_value(document: Any, data: st.DataObject) -> None:
    location = data.draw(st.sampled_from([(), *everything(document)]))
    text = "$" + "".join(f"[{json.dumps(key)}]" for key in location)
    path = parse_path(text.encode())
    assert path.keys == location
    assert at_once(path.find(document, Work())) == [location]
    assert at_once(path.first(document, Work())) is at(document, location)


@settings(max_examples=300)
@given(st.text("$.@[]*?'\"()ab01:,-=<>!&|~\\ \u00e9", max_size=24))
def test_no_text_does_anything_but_be_a_path_or_be_refused(text: str) -> None:
    try:
        path = parse_path(text.encode())
    except CommandError:
        return
    at_once(path.find(DOCUMENT, Work()))
