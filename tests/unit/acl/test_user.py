"""A user's flags, passwords and selectors."""

from __future__ import annotations

import pytest

from helpers.sessions import Server
from kvserver.acl.selector import Denial, Reason
from kvserver.acl.user import User, password_hash
from kvserver.commands.catalogue import COMMANDS
from kvserver.errors import RuleError

CATALOGUE = Server().state.users.catalogue


def user_of(*rules: str, all_channels: bool = False) -> User:
    user = User(b"u", all_channels=all_channels)
    for rule in rules:
        user.apply(rule.encode(), CATALOGUE, all_channels=all_channels)
    return user


def may(user: User, *words: str) -> bool:
    request = [word.encode() for word in words]
    return user.denial(COMMANDS[request[0].lower()], request, CATALOGUE) is None


def test_password_is_kept_as_its_hash_alone() -> None:
    user = user_of("on", ">secret")
    assert user.describe(CATALOGUE) == b"on #%b resetchannels -@all" % password_hash(b"secret")
    assert [user.accepts(word) for word in (b"secret", b"Secret", b"", password_hash(b"secret"))] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("rules", "accepted"),
    [
        (("on", ">a", ">b"), [b"a", b"b"]),
        (("on", ">a", ">b", "<a"), [b"b"]),
        (("on", ">a", "#" + password_hash(b"b").decode()), [b"a", b"b"]),
        (("on", ">a", "!" + password_hash(b"a").decode()), []),
        (("on", ">a", "nopass"), [b"a", b"b", b"c"]),
        (("on", "nopass", ">a"), [b"a"]),
        (("on", "nopass", "resetpass"), []),
        (("off", ">a"), []),
        (("off", "nopass"), []),
        (("on", ">a", "reset"), []),
    ],
)
def test_passwords_that_are_accepted(rules: tuple[str, ...], accepted: list[bytes]) -> None:
    user = user_of(*rules)
    assert [word for word in (b"a", b"b", b"c") if user.accepts(word)] == accepted


def test_selectors_are_asked_one_after_the_other_and_do_not_add_up() -> None:
    user = user_of("(%R~r* +@all)", "(%W~w* +@all)")
    assert may(user, "GET", "r")
    assert may(user, "SET", "w", "x")
    assert not may(user, "COPY", "r", "w")
    user.apply(b"clearselectors", CATALOGUE, all_channels=False)
    assert not may(user, "GET", "r")


def test_denial_that_comes_closest_is_told() -> None:
    user = user_of("+mget", "~k", "(+mget ~k ~l)")
    words = [b"MGET", b"k", b"l", b"m"]
    assert user.denial(COMMANDS[b"mget"], words, CATALOGUE) == Denial(Reason.KEY, 3)


def test_only_a_selector_with_everything_lifts_all_restrictions() -> None:
    assert not user_of("+@all", "~*").is_unrestricted
    assert not user_of("+@all", "(~* &*)").is_unrestricted
    assert user_of("+@all", "~*", "&*").is_unrestricted
    assert user_of("(+@all ~* &*)").is_unrestricted
    assert not user_of("+@all", "~*", "&*", "-get").is_unrestricted


def test_reset_is_a_new_user_but_for_one_flag() -> None:
    user = user_of("on", ">a", "+@all", "~*", "&*", "(+get)", "reset")
    assert user.describe(CATALOGUE) == b"off sanitize-payload resetchannels -@all"
    assert user_of("reset", all_channels=True).describe(CATALOGUE) == b"off sanitize-payload &* -@all"


@pytest.mark.parametrize("rule", ["<nosuch", "#abc", "!abc", f"#{'A' * 64}", "(+nosuch)", "( +get", "\0"])
def test_wrong_rule_is_refused(rule: str) -> None:
    with pytest.raises(RuleError):
        user_of(rule)


def test_channels_may_be_in_several_selectors() -> None:
    user = user_of("&a*", "(&b)")
    assert user.allows_channels([b"a1", b"b"], [b"a*", b"b"])
    assert not user.allows_channels([b"c"], [])
    assert not user.allows_channels([], [b"a1"])
    assert user_of("(allchannels)").allows_channels([b"c"], [b"*"])
