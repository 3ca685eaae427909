"""Users are there by name, loaded together or not at all, and written so that they are read back."""

from __future__ import annotations

import pytest

from helpers.sessions import Server
from kvserver.acl.users import UNCHANGED, Users, merged
from kvserver.errors import RuleError


def users_of(*lines: str) -> Users:
    users = Server().state.users
    users.configure([line.encode().split() for line in lines])
    return users


def test_file_is_read_back() -> None:
    users = users_of("alice on >a ~a* +@all -flushall (%R~b +get &c)", "bob off nopass &x +select|0")
    text = b"\n".join([b"", *users.lines(), b" "])
    other = Server().state.users
    assert other.replace(other.read(text, "f")) == []
    assert other.lines() == users.lines()
    assert other.names == [b"alice", b"bob", b"default"]


@pytest.mark.parametrize("selector", [b"(~a) +get)", b'(~"a +get)', b"(+get ~b)"], ids=["parenthesis", "quote", "good"])
def test_users_that_would_be_read_as_others_are_found(selector: bytes) -> None:
    users = Server().state.users
    users.put(users.staged(b"alice", [b"on", b"(+get)"]))
    alice = users.get(b"alice")
    assert alice
    # As SETUSER gets it in one word of its own.
    alice.selectors[1].keys[{b"(~a)": b"a)", b'(~"a': b'"a', b"(+get": b"b"}[selector.split()[0]]] = 3
    lines, settings = users.lines(), users.settings(b"")
    if selector == b"(+get ~b)":
        users.check_lines(lines)
        users.check_settings(settings)
        return
    with pytest.raises(RuleError):
        users.check_lines(lines)
    with pytest.raises(RuleError):
        users.check_settings(settings)


def test_settings_end_when_the_password_says_it_all_again() -> None:
    users = users_of("default on >x ~* &* +@all")
    assert users.settings(b"x") == []
    users.default.set_password(b"")
    assert users.settings(b"") == []


def test_user_stays_the_same_object_while_it_is_there() -> None:
    users = users_of("alice on nopass")
    alice, default = users.get(b"alice"), users.default
    assert users.put(users.staged(b"alice", [b"+get"])) is alice
    assert users.replace(users.read(b"user alice on", "f")) == [alice]
    assert users.get(b"alice") is not alice
    assert users.default is default is users.get(b"default")


def test_file_without_the_default_user_lets_it_do_everything() -> None:
    users = users_of("default off")
    assert not users.default.is_open
    users.replace(users.read(b"user alice on", "f"))
    assert users.default.is_open
    assert users.default.is_unrestricted


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("# a comment", "f:1 should start with user keyword followed by the username. "),
        ("user", "f:1 should start with user keyword followed by the username. "),
        ("user alice +get\n\nuser alice", "WARNING: Duplicate user 'alice' found on line 3. "),
        ("user a\tb on", "'f:1: username 'a\tb' contains invalid characters. "),
        (
            "user alice nonsense +nosuch <pw",
            "f:1: Syntax error. f:1: Error in applying operation '+nosuch': Unknown command or category name in ACL. ",
        ),
        ("user alice (+get", "f:1: Unmatched parenthesis in selector definition."),
    ],
)
def test_all_that_is_wrong_in_a_file_is_told(text: str, error: str) -> None:
    with pytest.raises(RuleError) as caught:
        Server().state.users.read(text.encode(), "f")
    assert str(caught.value) == error + UNCHANGED


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["a on", "a off"], "user a: Duplicate user found. A user can only be defined once in config files"),
        (["a on (+get"], "user a: Unmatched parenthesis in selector definition."),
        (["a +nosuch"], "Error loading ACL rule '+nosuch' for the user named 'a': Unknown command or category name in ACL"),
        (["a <secret"], "Error loading ACL rule '<(redacted)' for the user named 'a': The password you are trying to remove "),
    ],
)
def test_what_is_wrong_in_the_options_shows_no_password(lines: list[str], error: str) -> None:
    with pytest.raises(RuleError) as caught:
        users_of(*lines)
    assert str(caught.value).startswith(error)


def test_settings_say_nothing_of_what_the_password_says() -> None:
    users = Server().state.users
    assert users.settings(b"") == []
    users.default.set_password(b"x")
    assert users.settings(b"x") == []
    assert [words[:2] for words in users.settings(b"")] == [[b"default", b"on"]]
    users.put(users.staged(b"a", [b"on", b"(+get", b"~k)"][:1]))
    assert [words[0] for words in users.settings(b"x")] == [b"a", b"default"]


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        ("a (b c", b"(b"),
        ("( a (b c", b"(b"),
        ("(a b) c", [b"(a b)", b"c"]),
        ("(a) ( b c ) )", [b"(a)", b"( b c )", b")"]),
        ("", []),
    ],
)
def test_selector_in_several_words_is_put_together(words: str, rules: list[bytes] | bytes) -> None:
    assert merged(words.encode().split()) == rules


def test_staged_rules_are_all_or_none() -> None:
    users = users_of("a on +get")
    before = users.lines()
    with pytest.raises(RuleError, match="Error in ACL SETUSER modifier '\\+nosuch': Unknown command"):
        users.staged(b"a", [b"off", b"+nosuch"])
    assert users.lines() == before
