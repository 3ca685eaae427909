"""syntax: the notation of arguments, and that every use of it can be read."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.servers import parse
from kvserver.dispatch.documentation import DOCUMENTATION
from kvserver.dispatch.syntax import arguments
from kvserver.resp.reply import encode


def described(notation: str) -> Any:
    """As a RESP3 client sees it, but for sets, which hiredis gives as lists."""
    return parse(encode(arguments(notation), 3))


def test_notation_says_all_that_an_argument_has() -> None:
    assert described("key:key#1 X=bits:integer?++@6.2.0 GET ALPHA=sorting:pure-token") == [
        {b"name": b"key", b"type": b"key", b"key_spec_index": 1},
        {
            b"name": b"bits",
            b"type": b"integer",
            b"token": b"X",
            b"since": b"6.2.0",
            b"flags": [b"optional", b"multiple", b"multiple_token"],
        },
        {b"name": b"get", b"type": b"pure-token", b"token": b"GET"},
        {b"name": b"sorting", b"type": b"pure-token", b"token": b"ALPHA"},
    ]


def test_notation_nests() -> None:
    assert described("one<NX|pair{a b:double}>?") == [
        {
            b"name": b"one",
            b"type": b"oneof",
            b"flags": [b"optional"],
            b"arguments": [
                {b"name": b"nx", b"type": b"pure-token", b"token": b"NX"},
                {
                    b"name": b"pair",
                    b"type": b"block",
                    b"arguments": [{b"name": b"a", b"type": b"string"}, {b"name": b"b", b"type": b"double"}],
                },
            ],
        }
    ]


@pytest.mark.parametrize("notation", ["a>", "one<a", "<a>", "a}b", "?"])
def test_what_is_no_notation_is_an_error(notation: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        arguments(notation)


@pytest.mark.parametrize("name", DOCUMENTATION)
def test_documentation_is_written_in_the_notation(name: str) -> None:
    documentation = DOCUMENTATION[name]
    assert bool(arguments(documentation.arguments)) == bool(documentation.arguments)
