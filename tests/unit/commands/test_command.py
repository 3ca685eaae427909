"""COMMAND finds the keys of a call, and lists the commands there are. (wire/test_rows compares each row with Redis's.)"""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import Server, run, text


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
    written, changed = ["OW", "update"], ["RW", "access", "update"]
    for call, flags in (
        ("SET k GET", written),
        ("SET k v GET", changed),
        ("SET k v no option", written),
        ("BITFIELD k GET u8 0", ["RO", "access"]),
        ("BITFIELD k incrby u8 0 1", changed),
    ):
        reply: Any = run(session, "COMMAND", "GETKEYSANDFLAGS", *call.split())
        assert [(key, [flag.text for flag in found]) for key, found in reply] == [(b"k", flags)], call


def test_list_is_filtered_by_pattern_and_by_category() -> None:
    session = Server().session()
    assert run(session, "COMMAND", "LIST", "FILTERBY", "PATTERN", "CONFIG|G*") == [b"config|get"]
    assert run(session, "COMMAND", "LIST", "FILTERBY", "MODULE", "x") == []
    strings = run(session, "COMMAND", "LIST", "FILTERBY", "ACLCAT", "String")
    assert isinstance(strings, list)
    assert b"set" in strings
    assert b"ping" not in strings
    assert text(run(session, "COMMAND", "LIST", "FILTERBY", "PATTERN")) == "ERR syntax error"
