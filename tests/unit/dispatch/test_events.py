"""The words of a declaration mean events: with their class, and with a key of the record or of the call."""

from __future__ import annotations

import pytest

from kvserver.commands.catalogue import COMMANDS
from kvserver.dispatch.events import Declaration, Events
from kvserver.state.description import EventRule


@pytest.mark.parametrize(
    ("declared", "record_name", "rules"),
    [
        (None, "", [EventRule("h", b"hset")]),
        (None, "SET", None),
        ("", "", []),
        ("hset", "", [EventRule("h", b"hset")]),
        ("hset g:expire", "", [EventRule("h", b"hset"), EventRule("g", b"expire")]),
        ("from@1 x:to@2/3", "", [EventRule("h", b"from", 1), EventRule("x", b"to", 2, 3)]),
        ({"": "hset", "HDEL": "hdel"}, "", [EventRule("h", b"hset")]),
        ({"": "hset", "HDEL": "hdel"}, "HDEL", [EventRule("h", b"hdel")]),
        ({"": "hset", "HDEL": "hdel"}, "SET", None),
        ({"": "hset", "HDEL": ""}, "HDEL", []),
        ({"HDEL": "hdel"}, "", None),
        (lambda request: request[1].decode(), "", [EventRule("h", b"word")]),
        (lambda request: {"": "a", "B": request[1].decode()}, "B", [EventRule("h", b"word")]),
    ],
)
def test_declaration_says_what_a_record_is_told_as(
    declared: Declaration, record_name: str, rules: list[EventRule] | None
) -> None:
    found = Events(declared, "hset", "hash").of(record_name, [b"HSET", b"word"])
    assert (found if found is None else list(found)) == rules


def test_command_of_a_group_without_a_class_has_no_events_of_its_own() -> None:
    assert Events(None, "flushall", "server").of("", [b"FLUSHALL"]) == ()


@pytest.mark.parametrize("declared", ["a@b", "a:b:c@1", {"HDEL": "@1"}, "a@1/"])
def test_word_that_tells_no_event_is_an_error(declared: Declaration) -> None:
    with pytest.raises(ValueError, match="tells no event"):
        Events(declared, "hset", "hash")


def test_event_needs_a_class() -> None:
    with pytest.raises(ValueError, match="tells no event and its class"):
        Events("flushed", "flushall", "server")


def test_every_declaration_can_be_read() -> None:
    for command in COMMANDS.values():
        if not command.name.startswith("georadius"):
            # A number, for what counts its keys.
            command.event_rules("none", [b"", b"1", *[b""] * 7])
