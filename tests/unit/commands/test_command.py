"""introspection: where a call has its keys, and what is listed. (Rows: test_rows.)"""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import Server, run, text
from kvserver.commands import command as introspection
from kvserver.dispatch.row import NO_KEYS, Command


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("GET", "a"), [b"a"]),
        (("del", "a", "b", "a"), [b"a", b"b", b"a"]),
        (("SET", "a", "b", "EX", "1"), [b"a"]),
    ],
)
def test_keys_of_a_call_are_found(words: tuple[str, ...], keys: list[bytes]) -> None:
    assert run(Server().session(), "COMMAND", "GETKEYS", *words) == keys


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("NOSUCH", "a"), "ERR Invalid command specified"),
        (("CONFIG", "NOSUCH"), "ERR Invalid command specified"),
        (("PING", "a"), "ERR The command has no key arguments"),
        (("CONFIG", "GET"), "ERR The command has no key arguments"),
        (("GET", "a", "b"), "ERR Invalid number of arguments specified for command"),
    ],
)
def test_what_has_no_keys_is_told(words: tuple[str, ...], error: str) -> None:
    assert text(run(Server().session(), "COMMAND", "GETKEYS", *words)) == error


def test_flags_of_a_key_depend_on_the_options() -> None:
    session = Server().session()
    for options, flags in (((), ["OW", "update"]), (("GET",), ["RW", "access", "update"])):
        reply: Any = run(session, "COMMAND", "GETKEYSANDFLAGS", "SET", "k", "v", *options)
        assert [(key, [flag.text for flag in found]) for key, found in reply] == [(b"k", flags)]


def test_key_specifications_of_the_documentation_go_before_those_of_the_row() -> None:
    row = Command("bitop", -4, ("write",), (2, -1, 1), lambda session, args: None, "", "", "", "")
    assert introspection.key_specifications(row) == [((2, 0, 1), ["OW", "update"]), ((3, -1, 1), ["RO", "access"])]
    unknown = Command("x", -4, ("readonly",), (1, -2, 2), lambda session, args: None, "", "", "", "")
    assert introspection.key_specifications(unknown) == [((1, -2, 2), ["RO", "access"])]
    assert introspection.key_specifications(Command("x", 1, (), NO_KEYS, lambda session, args: None, "", "", "", "")) == []


def test_list_is_filtered_by_pattern_and_by_category() -> None:
    session = Server().session()
    assert run(session, "COMMAND", "LIST", "FILTERBY", "PATTERN", "CONFIG|G*") == [b"config|get"]
    assert run(session, "COMMAND", "LIST", "FILTERBY", "MODULE", "x") == []
    strings = run(session, "COMMAND", "LIST", "FILTERBY", "ACLCAT", "String")
    assert isinstance(strings, list)
    assert b"set" in strings
    assert b"ping" not in strings
    assert text(run(session, "COMMAND", "LIST", "FILTERBY", "PATTERN")) == "ERR syntax error"
