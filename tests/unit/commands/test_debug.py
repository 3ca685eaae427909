"""debug: what it asks for, and who may."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.commands.debug import LONGEST_SLEEP_S, NOT_ALLOWED
from kvserver.dispatch.effect import Crash, Sleep
from kvserver.resp.reply import OK


@pytest.mark.parametrize(
    ("allowed", "is_local", "may"), [("local", True, True), ("local", False, False), ("no", True, False), ("yes", False, True)]
)
def test_only_those_may_who_are_allowed(allowed: str, is_local: bool, may: bool) -> None:
    server = Server()
    server.state.config.enable_debug_command = allowed
    reply = run(server.session(is_local=is_local), "DEBUG", "CRASH")
    assert reply == Crash() if may else text(reply) == NOT_ALLOWED


@pytest.mark.parametrize(
    ("word", "seconds"),
    [("0.5", 0.5), ("2", 2.0), ("x", 0.0), ("-1", 0.0), ("nan", 0.0), ("inf", LONGEST_SLEEP_S), ("1e300", LONGEST_SLEEP_S)],
)
def test_sleep_takes_seconds(word: str, seconds: float) -> None:
    assert run(Server().session(), "DEBUG", "sleep", word) == Sleep(seconds)


def test_active_expiry_is_switched() -> None:
    server = Server()
    session = server.session()
    for word, expected in (("0", False), ("1", True), ("0", False), ("2", True)):
        assert run(session, "DEBUG", "SET-ACTIVE-EXPIRE", word) == OK
        assert server.state.expires_actively is expected


def test_error_is_the_one_that_was_asked_for() -> None:
    assert text(run(Server().session(), "DEBUG", "ERROR", "MINE text")) == "MINE text"


def test_wrong_arguments_are_told() -> None:
    session = Server().session()
    expected = "ERR unknown subcommand or wrong number of arguments for 'sleep'. Try DEBUG HELP."
    assert text(run(session, "debug", "sleep")) == expected
    assert "'SEGFAULT'" in text(run(session, "DEBUG", "SEGFAULT"))
