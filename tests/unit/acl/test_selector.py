"""Rules of a selector, and what it allows then. (wire/test_acl_rules compares random ones with redis-server.)"""

from __future__ import annotations

import pytest

from helpers.sessions import Server
from kvserver.acl.selector import DENIED_COMMAND, Denial, Reason, Selector
from kvserver.commands.catalogue import COMMANDS
from kvserver.errors import RuleError

CATALOGUE = Server().state.users.catalogue


def selector_of(*rules: str) -> Selector:
    selector = Selector()
    for rule in rules:
        selector.apply(rule.encode(), CATALOGUE)
    return selector


def denial(selector: Selector, *words: str) -> Denial | None:
    request = [word.encode() for word in words]
    command = COMMANDS[request[0].lower()].meant_by(request)
    assert command
    return selector.denial(command, request, CATALOGUE().names(selector.commands))


def test_new_selector_allows_nothing() -> None:
    assert selector_of().describe(CATALOGUE) == b"resetchannels -@all"
    assert denial(selector_of(), "GET", "k") == DENIED_COMMAND
    assert denial(selector_of(), "AUTH", "k") is None, "who may not log in stays who he is"


def test_copy_has_rules_of_its_own() -> None:
    selector = selector_of("+get", "~a*", "&c", "+select|0")
    copy = selector.copy()
    before = selector.describe(CATALOGUE)
    assert copy.describe(CATALOGUE) == before == b"~a* resetchannels &c -@all +get +select|0"
    for rule in (b"+@all", b"~b", b"&d"):
        copy.apply(rule, CATALOGUE)
    assert selector.describe(CATALOGUE) == before


@pytest.mark.parametrize(
    ("rules", "allowed", "denied", "place"),
    [
        (("+@all", "~a*"), ("GET", "a1"), ("GET", "b"), 1),
        (("+@all", "~a*"), ("MSET", "a1", "x", "a2", "x"), ("MSET", "a1", "x", "b", "x"), 3),
        (("+@all", "%R~a*", "%W~b*"), ("COPY", "a", "b"), ("COPY", "b", "a"), 1),
        (("+@all", "%R~a*"), ("GET", "a"), ("GETDEL", "a"), 1),
        (("+@all", "%W~a*"), ("SET", "a", "x"), ("SET", "a", "x", "GET"), 1),
        (("+@all", "%W~a*", "%R~a*"), ("SET", "a", "x", "GET"), ("SET", "b", "x"), 1),
        (("+@all", "~a*"), ("SORT", "a", "STORE", "a"), ("SORT", "a", "STORE", "a", "STORE", "b"), 5),
        (("+@all", "~a*"), ("SORT", "a", "BY", "STORE", "STORE", "a"), ("SORT", "a", "GET", "store", "STORE", "b"), 5),
        (
            ("+@all", "~a*"),
            ("GEORADIUS", "a", "0", "0", "1", "m", "STORE", "a"),
            ("GEORADIUS", "a", "0", "0", "1", "m", "STORE", "a", "STORE", "b"),
            9,
        ),
        (("+@all", "~a*"), ("EVAL", "", "0", "b"), ("EVAL", "", "1", "b"), 3),
        (("+@all", "~a*"), ("XREAD", "STREAMS", "a", "0"), ("XREAD", "STREAMS", "a", "b", "0", "0"), 3),
        (("+@all", "~a*"), ("XGROUP", "CREATE", "a", "g", "$"), ("XGROUP", "CREATE", "b", "g", "$"), 2),
    ],
)
def test_keys_are_asked_for_by_their_use(
    rules: tuple[str, ...], allowed: tuple[str, ...], denied: tuple[str, ...], place: int
) -> None:
    selector = selector_of(*rules)
    assert denial(selector, *allowed) is None
    assert denial(selector, *denied) == Denial(Reason.KEY, place)


def test_channels_match_patterns_and_patterns_must_stand_there() -> None:
    selector = selector_of("+@all", "~*", "&c*")
    for words in (("PUBLISH", "c1", "x"), ("SUBSCRIBE", "c1", "c2"), ("PSUBSCRIBE", "c*"), ("UNSUBSCRIBE", "x"), ("GET", "x")):
        assert denial(selector, *words) is None
    for words in (("PUBLISH", "d", "x"), ("PSUBSCRIBE", "c1"), ("SSUBSCRIBE", "d")):
        assert denial(selector, *words) == Denial(Reason.CHANNEL, 1)
    assert denial(selector, "SUBSCRIBE", "c", "d") == Denial(Reason.CHANNEL, 2)


def test_first_argument_opens_a_command() -> None:
    selector = selector_of("~*", "+select|0", "+SELECT|X", "+select|x")
    assert selector.first_arguments == {"select": (b"0", b"X")}
    assert denial(selector, "SELECT", "0") is None
    assert denial(selector, "SELECT", "x") is None
    assert denial(selector, "SELECT", "1") == DENIED_COMMAND
    assert denial(selector_of("+select|0", "-select"), "SELECT", "0") == DENIED_COMMAND


def test_rules_hold_that_come_after_a_call() -> None:
    selector = selector_of("+@all", "~a", "&a")
    assert denial(selector, "GET", "b")
    assert denial(selector, "PUBLISH", "b", "x")
    for rule in (b"~b", b"&b"):
        selector.apply(rule, CATALOGUE)
    assert denial(selector, "GET", "b") is None
    assert denial(selector, "PUBLISH", "b", "x") is None


def test_command_itself_tells_what_is_wrong_with_its_keys() -> None:
    assert denial(selector_of("+@all", "~a"), "MIGRATE", "h", "1", "k", "0", "1", "KEYS", "b") is None


def test_star_alone_reads_all_keys() -> None:
    assert [selector_of(rule).reads_all_keys for rule in ("allkeys", "%R~*", "%W~*", "~**", "+@all")] == [
        True, True, False, False, False
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("nosuch", "Syntax error"),
        ("%X~a", "Syntax error"),
        ("%RR~a", "Syntax error"),
        ("~a b", "Syntax error"),
        ("&a\0", "Syntax error"),
        ("+nosuch", "Unknown command"),
        ("-get|x", "Unknown command"),
        ("+@nosuch", "Unknown command"),
        ("+config|nosuch", "Unknown command"),
        ("+config|get|x", "Allowing first-arg"),
        ("+get|", "Syntax error"),
        ("+set|a b", "Syntax error"),
        ("+set|a\nuser evil on", "Syntax error"),
    ],
)
def test_wrong_rule_changes_nothing(rule: str, error: str) -> None:
    selector = selector_of("+get", "~a", "&c")
    before = selector.describe(CATALOGUE)
    with pytest.raises(RuleError, match=error):
        selector.apply(rule.encode(), CATALOGUE)
    assert selector.describe(CATALOGUE) == before
