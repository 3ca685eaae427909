"""Each form of SAVE, RESTORE and SHUTDOWN asks for its effect, or for none."""

from __future__ import annotations

import pytest

from helpers.sessions import run, text
from kvserver.commands.persistence import NOT_ON_STANDBY
from kvserver.dispatch.effect import BackgroundSave, Effect, Load, Save, Shutdown
from kvserver.resp.reply import Error
from kvserver.state.session import Session


@pytest.mark.parametrize(
    ("words", "effect"),
    [
        (("SAVE",), Save()),
        (("BGSAVE",), BackgroundSave(schedule=False)),
        (("BGSAVE", "schedule"), BackgroundSave(schedule=True)),
        (("RESTORE",), Load()),
        (("SHUTDOWN",), Shutdown(None, force=False)),
        (("SHUTDOWN", "SAVE"), Shutdown(True, force=False)),
        (("SHUTDOWN", "nosave", "NOW"), Shutdown(False, force=False)),
        (("SHUTDOWN", "FORCE", "SAVE", "NOW"), Shutdown(True, force=True)),
    ],
)
def test_command_asks_for_its_effect(session: Session, words: tuple[str, ...], effect: Effect) -> None:
    assert run(session, *words) == effect


@pytest.mark.parametrize(
    "words",
    [
        ("BGSAVE", "NOW"),
        ("BGSAVE", "SCHEDULE", "SCHEDULE"),
        ("SHUTDOWN", "SAVE", "NOSAVE"),
        ("SHUTDOWN", "ABORT", "NOW"),
        ("SHUTDOWN", "LATER"),
        ("RESTORE", "k", "0", "payload", "ONCE"),
        ("RESTORE", "k", "0", "payload", "IDLETIME"),
    ],
)
def test_wrong_words_are_a_syntax_error(session: Session, words: tuple[str, ...]) -> None:
    assert text(run(session, *words)) == "ERR syntax error"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("RESTORE", "k"), "ERR wrong number of arguments for 'restore' command"),
        (("SHUTDOWN", "ABORT"), "ERR No shutdown in progress."),
        (("RESTORE", "k", "0"), "ERR wrong number of arguments for 'restore' command"),
    ],
)
def test_restore_of_a_key_without_a_payload_is_an_error(session: Session, words: tuple[str, ...], error: str) -> None:
    assert text(run(session, *words)) == error


def test_lastsave_is_that_of_the_last_good_flush(session: Session) -> None:
    session.server.persistence.last_save_at = 1_234
    assert run(session, "LASTSAVE") == 1_234


@pytest.mark.parametrize(
    "words", ["SAVE", "BGSAVE", "BGREWRITEAOF", "RESTORE", "DEBUG RELOAD", "DEBUG LOADAOF", "DEBUG CRASH"]
)
def test_snapshots_are_for_the_primary_alone(session: Session, words: str) -> None:
    session.server.replication.is_primary = False
    assert text(run(session, *words.split())) == NOT_ON_STANDBY
    session.server.replication.is_primary = True
    assert not isinstance(run(session, *words.split()), Error)
