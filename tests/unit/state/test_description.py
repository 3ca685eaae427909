"""A description of a command finds the keys of a call and tells COMMAND of them. (wire/test_rows compares each command.)"""

from __future__ import annotations

from typing import Any

import pytest

from helpers.servers import parse
from kvserver.errors import CommandError
from kvserver.resp.reply import encode
from kvserver.state.description import CATEGORIES, FLAGS, KeySpecification

READ = ("RO", "access")


@pytest.mark.parametrize(
    ("specification", "call", "keys"),
    [
        (KeySpecification(READ, 1), "get k", "k"),
        (KeySpecification(READ, 1, last=1), "lcs a b len", "a b"),
        (KeySpecification(READ, 1, last=-1), "del a b c", "a b c"),
        (KeySpecification(READ, 1, last=-2), "blpop a b 0", "a b"),
        (KeySpecification(READ, 1, last=-1, step=2), "mset a 1 b 2", "a b"),
        (KeySpecification(READ, 1, keyword="STREAMS", last=-1, limit=2), "xread count 1 streams a b 0 0", "a b"),
        (KeySpecification(READ, 1, keyword="STREAMS", last=-1, limit=2), "xread count 1", ""),
        (KeySpecification(READ, 1, is_counted=True), "zunion 2 a b weights 1 1", "a b"),
        (KeySpecification(READ, is_unknown=True), "sort k", ""),
        (KeySpecification(READ, 1, last=-1), "del", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_keys_are_where_the_specification_says(specification: KeySpecification, call: str, keys: str) -> None:
    words = call.encode().split()
    assert [words[place] for place in specification.positions(words)] == keys.encode().split()


@pytest.mark.parametrize("number", ["3", "x", "-1", "9" * 5000], ids=["more", "no number", "negative", "very long"])
def test_number_of_keys_that_is_none_is_an_error(number: str) -> None:
    with pytest.raises(CommandError, match="Invalid arguments specified for command"):
        KeySpecification(READ, 1, is_counted=True).positions([b"zunion", number.encode(), b"a", b"b"])


@pytest.mark.parametrize(
    ("specification", "begin", "find"),
    [
        (
            KeySpecification(READ, 2, last=-1),
            (b"index", {b"index": 2}),
            (b"range", {b"lastkey": -1, b"keystep": 1, b"limit": 0}),
        ),
        (
            KeySpecification(READ, 1, keyword="STREAMS", last=-1, limit=2),
            (b"keyword", {b"keyword": b"STREAMS", b"startfrom": 1}),
            (b"range", {b"lastkey": -1, b"keystep": 1, b"limit": 2}),
        ),
        (
            KeySpecification(READ, 1, is_counted=True),
            (b"index", {b"index": 1}),
            (b"keynum", {b"keynumidx": 0, b"firstkey": 1, b"keystep": 1}),
        ),
        (KeySpecification(READ, is_unknown=True), (b"unknown", {}), (b"unknown", {})),
    ],
    ids=["from an index", "behind a word", "counted", "unknown"],
)
def test_specification_is_told_in_the_form_of_redis(specification: KeySpecification, begin: Any, find: Any) -> None:
    told = parse(encode(specification.describe("A note"), 3))
    assert told == {
        b"notes": b"A note",
        b"flags": [b"RO", b"access"],
        b"begin_search": dict(zip((b"type", b"spec"), begin, strict=True)),
        b"find_keys": dict(zip((b"type", b"spec"), find, strict=True)),
    }
    assert b"notes" not in parse(encode(specification.describe(""), 3))


@pytest.mark.parametrize(("flags", "writes"), [("RO access", False), ("OW", True), ("RW access", True), ("RM delete", True)])
def test_keys_are_written_unless_they_are_only_read(flags: str, writes: bool) -> None:
    assert KeySpecification(tuple(flags.split()), 1).writes == writes


def test_no_flag_and_no_category_stands_twice() -> None:
    assert len(set(FLAGS)) == len(FLAGS)
    assert len(set(CATEGORIES)) == len(CATEGORIES)
