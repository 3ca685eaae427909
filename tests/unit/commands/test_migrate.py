"""MIGRATE says what is sent, and removes what the other server has taken. (wire/test_migrate has another server.)"""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import Server, run, text
from kvserver.commands.migrate import CHANGED, FAILED, FROM_TARGET, NO_MULTI, migrate
from kvserver.dispatch.effect import Migrate, Transfer
from kvserver.errors import CommandError
from kvserver.resp.reply import OK
from kvserver.state.session import Session


@pytest.fixture
def session() -> Session:
    session = Server().session()
    run(session, "MSET", "k", "v", "l", "w")
    run(session, "PEXPIRE", "l", 5_000)
    return session


def begun(session: Session, *options: str) -> Migrate:
    effect = run(session, "MIGRATE", "h", "1", "", 2, 300, *options, "KEYS", "k", "l", "missing")
    assert isinstance(effect, Migrate)
    return effect


def test_keys_are_sent_behind_the_greeting(session: Session) -> None:
    effect = begun(session, "AUTH2", "me", "secret", "REPLACE")
    assert (effect.host, effect.port, effect.timeout_ms, effect.keys) == ("h", 1, 300, [b"k", b"l"])
    assert effect.greeting == [[b"AUTH", b"me", b"secret"], [b"SELECT", b"2"]]
    sent: Any = dict(effect.restores)
    dumps = {key: run(session, "DUMP", key) for key in ("k", "l")}
    assert sent[b"k"] == [b"RESTORE", b"k", b"0", dumps["k"], b"REPLACE"]
    assert sent[b"l"] == [b"RESTORE", b"l", b"5000", dumps["l"], b"REPLACE"]


def test_only_what_was_taken_is_removed(session: Session) -> None:
    effect = begun(session)
    list(effect.restores)
    with pytest.raises(CommandError, match=FROM_TARGET + "BUSY x"):
        effect.finish(Transfer([b"+OK"], [(b"k", b"-BUSY x"), (b"l", b"+OK")], ""))
    assert run(session, "EXISTS", "k", "l") == 1
    assert run(session, "GET", "k") == b"v"


def test_nothing_is_removed_where_the_greeting_was_refused(session: Session) -> None:
    effect = begun(session)
    list(effect.restores)
    with pytest.raises(CommandError, match=FROM_TARGET + "ERR no"):
        effect.finish(Transfer([b"-ERR no"], [(b"k", b"+OK"), (b"l", b"+OK")], ""))
    assert run(session, "EXISTS", "k", "l") == 2


@pytest.mark.parametrize("step", FAILED)
def test_failed_step_is_told(session: Session, step: str) -> None:
    effect = begun(session)
    list(effect.restores)
    with pytest.raises(CommandError) as caught:
        effect.finish(Transfer([b"+OK"], [(b"k", b"+OK")], step))
    assert str(caught.value) == FAILED[step]
    assert run(session, "EXISTS", "k", "l") == 1


def test_key_that_was_written_meanwhile_stays_and_the_watches_are_dropped(session: Session) -> None:
    effect = begun(session)
    list(effect.restores)
    run(session, "APPEND", "k", "x")
    with pytest.raises(CommandError) as caught:
        effect.finish(Transfer([b"+OK"], [(b"k", b"+OK"), (b"l", b"+OK")], ""))
    assert str(caught.value) == CHANGED
    assert run(session, "MGET", "k", "l") == [b"vx", None]
    assert not session.server.databases.records.observers


def test_key_that_is_named_twice_goes_once_and_its_watch_is_dropped(session: Session) -> None:
    effect = run(session, "MIGRATE", "h", "1", "", 0, 300, "KEYS", "k", "k")
    assert isinstance(effect, Migrate)
    assert [key for key, _ in effect.restores] == [b"k", b"k"]
    with pytest.raises(CommandError, match=FROM_TARGET + "BUSYKEY"):
        effect.finish(Transfer([b"+OK"], [(b"k", b"+OK"), (b"k", b"-BUSYKEY")], ""))
    assert run(session, "EXISTS", "k") == 0
    assert not session.server.databases.records.observers


def test_copies_stay_whatever_happens_to_them(session: Session) -> None:
    effect = begun(session, "COPY")
    list(effect.restores)
    run(session, "APPEND", "k", "x")
    assert effect.finish(Transfer([b"+OK"], [(b"k", b"+OK"), (b"l", b"+OK")], "")) == OK
    assert run(session, "EXISTS", "k", "l") == 2


def test_server_that_can_write_no_more_keeps_the_keys(session: Session) -> None:
    effect = begun(session)
    list(effect.restores)
    session.server.persistence.last_save_ok = False
    with pytest.raises(CommandError, match="MISCONF"):
        effect.finish(Transfer([b"+OK"], [(b"k", b"+OK"), (b"l", b"+OK")], ""))
    session.server.persistence.last_save_ok = True
    assert run(session, "EXISTS", "k", "l") == 2


def test_passwords_are_shown_to_nobody() -> None:
    words = b"MIGRATE h 1 k 0 9 COPY AUTH2 me secret AUTH secret KEYS AUTH".split()
    shown = b" ".join(migrate.redacted(words))
    assert shown == b"MIGRATE h 1 k 0 9 COPY AUTH2 (redacted) (redacted) AUTH (redacted) KEYS AUTH"


def test_transaction_can_have_none() -> None:
    session = Server().session()
    run(session, "MULTI")
    assert text(run(session, "MIGRATE", "h", "1", "k", 0, 9)) == NO_MULTI
