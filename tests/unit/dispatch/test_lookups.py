"""lookups: which table a session sees, and in which order refusing, waiting, queueing and muting come."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.dispatch.contexts import NOAUTH
from kvserver.dispatch.effect import Monitored, Postpone, Quiet, Switch
from kvserver.dispatch.gate import QUEUED
from kvserver.dispatch.runner import UNKNOWN
from kvserver.dispatch.table import MISCONF
from kvserver.errors import CommandError
from kvserver.resp.reply import NO_REPLY, OK
from kvserver.state.session import MONITORING, MUTED, QUEUEING, SUBSCRIBED, UNAUTHENTICATED, Muted, Pause

ALL_STANDINGS = range(UNAUTHENTICATED | MONITORING | SUBSCRIBED | QUEUEING | MUTED + 1)


@pytest.mark.parametrize("pause", Pause)
@pytest.mark.parametrize("is_monitored", [False, True])
def test_every_table_has_every_command_in_both_spellings(pause: Pause, is_monitored: bool) -> None:
    server = Server()
    lookups = server.lookups
    lookups.pause(pause)
    lookups.note_monitors(is_monitored)
    for standing in ALL_STANDINGS:
        table = lookups[standing]
        assert table.keys() == server.table.open.keys()
        assert all(table[name] is table[name.upper()] for name in server.table.rows)
        assert table is lookups[standing]
        assert UNKNOWN in table


def test_ordinary_session_sees_the_table_itself() -> None:
    server = Server()
    lookups = server.lookups
    assert lookups[0] is server.table.open
    lookups.use(server.table.read_only)
    assert lookups[0] is server.table.read_only
    lookups.pause(Pause.WRITES)
    assert lookups[0] is not server.table.read_only
    lookups.pause(Pause.NONE)
    assert lookups[0] is server.table.read_only


def test_pause_of_writes_lets_the_rest_run() -> None:
    server = Server()
    session = server.session()
    server.lookups.pause(Pause.WRITES)
    for words in (("SET", "k", "v"), ("DEL", "k"), ("PUBLISH", "c", "x"), ("SPUBLISH", "c", "x"), ("FLUSHALL",)):
        assert run(session, *words) == Postpone()
    assert run(session, "GET", "k") is None
    assert not isinstance(run(session, "CLIENT", "ID"), Postpone)
    assert text(run(session, "SET", "k")) == "ERR wrong number of arguments for 'set' command"


def test_pause_of_all_holds_everything_but_errors() -> None:
    server = Server()
    session = server.session()
    server.lookups.pause(Pause.ALL)
    for words in (("GET", "k"), ("PING",), ("CLIENT", "UNPAUSE"), ("QUIT",), ("MULTI",)):
        assert run(session, *words) == Postpone()
    assert text(run(session, "NOSUCH")).startswith("ERR unknown command")
    assert text(run(session, "CLIENT", "NOSUCH")).startswith("ERR unknown subcommand")
    server.lookups.use(server.table.read_only)
    assert text(run(session, "SET", "k", "v")) == MISCONF
    assert run(session, "GET", "k") == Postpone()


def test_pause_holds_writes_at_queueing_and_at_exec() -> None:
    server = Server()
    session, other = server.session(), server.session()
    run(session, "MULTI")
    run(other, "MULTI")
    assert run(session, "SET", "k", "v") is QUEUED
    server.lookups.pause(Pause.WRITES)
    assert run(session, "SET", "k", "v") == Postpone()
    assert run(session, "GET", "k") is QUEUED
    assert run(session, "EXEC") == Postpone()
    assert session.transaction
    assert len(session.transaction.commands) == 2
    run(other, "GET", "k")
    assert not isinstance(run(other, "EXEC"), Postpone)


def test_monitor_is_not_paused() -> None:
    server = Server()
    session = server.session()
    run(session, "MONITOR")
    server.lookups.pause(Pause.ALL)
    assert isinstance(run(session, "PING"), Monitored)


def test_muted_session_gets_errors_no_more_than_replies() -> None:
    session = Server().session()
    assert run(session, "CLIENT", "REPLY", "OFF") == Switch(NO_REPLY)
    for words in (("NOSUCH",), ("GET",), ("GET", "k")):
        assert isinstance(run(session, *words), Quiet)
    result = run(session, "CLIENT", "REPLY", "NOSUCH")
    assert isinstance(result, Quiet)
    assert isinstance(result.result, CommandError)
    assert run(session, "CLIENT", "REPLY", "ON") == Quiet(Switch(OK))
    assert session.standing == 0


def test_skip_is_for_one_command_even_if_that_waits_first() -> None:
    server = Server()
    session = server.session()
    run(session, "CLIENT", "REPLY", "SKIP")
    server.lookups.pause(Pause.ALL)
    assert run(session, "PING") == Postpone()
    assert session.muted is Muted.NEXT
    server.lookups.pause(Pause.NONE)
    assert isinstance(run(session, "PING"), Quiet)
    states = [session.muted]
    for word in ("SKIP", "OFF", "SKIP"):
        run(session, "CLIENT", "REPLY", word)
        states.append(session.muted)
    assert states == [Muted.PRESENT, Muted.NEXT, Muted.ALL, Muted.ALL]


def test_muted_transaction_still_notes_what_was_refused() -> None:
    session = Server().session()
    run(session, "CLIENT", "REPLY", "OFF")
    run(session, "MULTI")
    run(session, "GET")
    assert session.transaction
    assert session.transaction.has_failed


def test_password_comes_before_everything() -> None:
    server = Server()
    server.state.config.requirepass = b"secret"
    session = server.session()
    server.lookups.pause(Pause.ALL)
    assert text(run(session, "GET", "k")) == NOAUTH
    assert run(session, "AUTH", "secret") == Postpone()
    server.lookups.pause(Pause.NONE)
    run(session, "AUTH", "secret")
    assert session.standing == 0
