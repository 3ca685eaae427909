"""CLIENT TRACKING and its kin: what they refuse, and what they tell of a client that tracks."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from helpers.sessions import Server, run, text
from kvserver.commands.tracking import NO_CACHING, SWITCHED_BROADCAST, SWITCHED_OPTIONS, check_apart
from kvserver.dispatch.effect import Switch, Tracked
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Error
from kvserver.state.session import Session


def replied(session: Session, words: str) -> Any:
    """The reply to a command, whatever stands around it."""
    result: Any = run(session, *words.split(" "))
    while isinstance(result, (Tracked, Switch)):
        result = result.result if isinstance(result, Tracked) else result.reply
    if session.server.tracking:
        session.server.tracking.end(session, [b"client"], in_transaction=False)
    return Error(str(result)) if isinstance(result, Exception) else result


def test_who_does_not_track_is_told_so() -> None:
    session = Server().session()
    assert replied(session, "CLIENT TRACKING OFF") is OK
    assert replied(session, "CLIENT TRACKINGINFO") == {b"flags": [b"off"], b"redirect": -1, b"prefixes": []}
    assert replied(session, "CLIENT GETREDIR") == -1
    assert text(replied(session, "CLIENT CACHING YES")) == NO_CACHING


REFUSED = {
    "ON PREFIX": "ERR syntax error",
    "ON REDIRECT": "ERR syntax error",
    "ON NOSUCH": "ERR syntax error",
    "MAYBE": "ERR syntax error",
    "ON PREFIX a": "ERR PREFIX option requires BCAST mode to be enabled",
    "ON REDIRECT x": "ERR value is not an integer or out of range",
    "ON REDIRECT 9": "ERR The client ID you want redirect to does not exist",
    "OFF REDIRECT 9": "ERR The client ID you want redirect to does not exist",
    "ON REDIRECT 1 REDIRECT x": "ERR A client can only redirect to a single other client",
    "ON BCAST OPTIN": "ERR OPTIN and OPTOUT are not compatible with BCAST",
    "ON OPTOUT OPTIN": "ERR You can't specify both OPTIN mode and OPTOUT mode",
    "ON BCAST PREFIX x PREFIX fo PREFIX foo": (
        "ERR Prefix 'fo' overlaps with another provided prefix 'foo'. Prefixes for a single client must not overlap."
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_wrong_options_are_refused_and_change_nothing(words: str) -> None:
    session = Server().session()
    assert text(replied(session, f"CLIENT TRACKING {words}")) == REFUSED[words]
    assert session.tracker is None


def test_mode_can_only_be_changed_by_switching_tracking_off() -> None:
    session = Server().session()
    replied(session, "CLIENT TRACKING ON OPTIN")
    assert text(replied(session, "CLIENT TRACKING ON BCAST")) == SWITCHED_BROADCAST
    assert text(replied(session, "CLIENT TRACKING ON OPTOUT")) == SWITCHED_OPTIONS
    assert replied(session, "CLIENT TRACKING ON NOLOOP") is OK
    assert replied(session, "CLIENT TRACKING OFF") is OK
    assert replied(session, "CLIENT TRACKING ON BCAST PREFIX a PREFIX b") is OK
    assert replied(session, "CLIENT TRACKING ON BCAST PREFIX c NOLOOP") is OK
    refusal = "ERR Prefix 'bb' overlaps with an existing prefix 'b'. Prefixes for a single client must not overlap."
    assert text(replied(session, "CLIENT TRACKING ON BCAST PREFIX bb")) == refusal
    expected = {b"flags": [b"on", b"bcast", b"noloop"], b"redirect": 0, b"prefixes": [b"a", b"b", b"c"]}
    assert replied(session, "CLIENT TRACKINGINFO") == expected


def test_info_and_list_tell_of_the_mode() -> None:
    server = Server()
    other, session = server.session(), server.session()
    for options, choice, flags in (
        ("OPTIN", "YES", [b"on", b"optin", b"caching-yes"]),
        ("OPTOUT", "NO", [b"on", b"optout", b"caching-no"]),
    ):
        assert replied(session, f"CLIENT TRACKING ON {options} REDIRECT {other.id}") is OK
        wrong = {"YES": "NO", "NO": "YES"}[choice]
        assert text(replied(session, f"CLIENT CACHING {wrong}")).startswith(f"ERR CLIENT CACHING {wrong} is only valid when")
        assert text(replied(session, "CLIENT CACHING MAYBE")) == "ERR syntax error"
        assert replied(session, f"CLIENT CACHING {choice}") is OK
        assert replied(session, "CLIENT TRACKINGINFO") == {b"flags": flags, b"redirect": other.id, b"prefixes": []}
        assert replied(session, "CLIENT GETREDIR") == other.id
        assert b" flags=t " in replied(session, "CLIENT INFO")
        assert b" redir=%d " % other.id in replied(session, "CLIENT INFO")
        assert replied(session, "CLIENT TRACKING OFF") is OK
    replied(session, "CLIENT TRACKING ON BCAST")
    assert b" flags=tB " in replied(session, "CLIENT INFO")
    assert session.tracker
    session.tracker.is_broken = True
    assert b" flags=tRB " in replied(session, "CLIENT INFO")
    replied(session, "RESET")
    assert session.tracker is None


def slowly_checked(prefixes: list[bytes], present: set[bytes]) -> str:
    """The error by comparing each with each, as Redis does, or an empty text."""
    for place, one in enumerate(prefixes):
        others = [(other, "an existing prefix") for other in sorted(present)]
        others += [(other, "another provided prefix") for other in prefixes[place + 1 :]]
        for other, which in others:
            if one.startswith(other) or other.startswith(one):
                one_name, other_name = one.decode(), other.decode()
                return (
                    f"ERR Prefix '{one_name}' overlaps with {which} '{other_name}'. "
                    "Prefixes for a single client must not overlap."
                )
    return ""


def test_first_prefixes_that_overlap_are_told() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)

    def word() -> bytes:
        return bytes(rng.choices(b"abcd", k=rng.randrange(6)))

    for _ in range(2_000):
        present: set[bytes] = set()
        for _ in range(rng.randrange(4)):
            prefix = word()
            if not slowly_checked([prefix], present):
                present.add(prefix)
        prefixes = [word() for _ in range(rng.randrange(5))]
        told = ""
        try:
            check_apart(prefixes, present)
        except CommandError as error:
            told = str(error)
        assert told == slowly_checked(prefixes, present), (prefixes, present)


class CountedPrefix(bytes):
    """A prefix that counts how often another is looked for in it."""

    looks = 0

    def startswith(self, *words: Any) -> bool:
        CountedPrefix.looks += 1
        return super().startswith(*words)


@pytest.mark.parametrize("last", [b"key:x", b"key:03999"])
def test_thousands_of_prefixes_are_not_compared_each_with_each(last: bytes) -> None:
    prefixes: list[bytes] = [CountedPrefix(b"key:%05d" % number) for number in range(4_000)]
    prefixes.append(CountedPrefix(last))
    CountedPrefix.looks = 0
    with suppress(CommandError):
        check_apart(prefixes, {CountedPrefix(b"present:%05d" % number) for number in range(4_000)})
    assert CountedPrefix.looks < 4 * len(prefixes)
