"""MULTI queues, EXEC runs what is queued or refuses it, and some things end a transaction."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.commands.transactions import ABORTED
from kvserver.dispatch.effect import Close, Execute, Recognize, Switch
from kvserver.dispatch.gate import EXEC_REFUSED, LOADING, MISCONF, QUEUED, is_plain
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, OK
from kvserver.state.session import Session

Words = tuple[str | int, ...]


def begin(server: Server) -> Session:
    session = server.session()
    assert run(session, "MULTI") == Switch(OK)
    return session


def aborted(result: object) -> str:
    assert isinstance(result, Switch)
    return text(result.reply)


def test_queued_commands_run_at_exec_and_not_before() -> None:
    server = Server()
    session = begin(server)
    assert run(session, "SET", "k", "v") is QUEUED
    assert run(session, "get", "k") is QUEUED
    assert server.keyspace.live(b"k") is None
    result = run(session, "EXEC")
    assert isinstance(result, Execute)
    assert [server.table.call(session, request) for request in result.requests] == [OK, b"v"]
    assert session.transaction is None
    assert text(run(session, "EXEC")) == "ERR EXEC without MULTI"


@pytest.mark.parametrize(
    "words",
    [
        ("NOSUCH",),
        ("GET",),
        ("GET", "a", "b"),
        ("CLIENT", "NOSUCH"),
        ("CLIENT", "SETNAME"),
        ("MULTI", "x"),
        ("DISCARD", "x"),
        ("WATCH",),
        ("SAVE",),
        ("SHUTDOWN",),
        ("RESTORE",),
        ("RESTORE", "k", 0),
        ("DEBUG", "CRASH"),
        ("debug", "crash"),
        ("CLIENT", "REPLY", "OFF"),
        ("CLIENT", "reply", "skip"),
    ],
    ids=str,
)
def test_refused_command_aborts_the_transaction(words: Words) -> None:
    session = begin(Server())
    run(session, "PING")
    assert text(run(session, *words)).startswith("ERR ")
    assert aborted(run(session, "EXEC")) == ABORTED
    assert session.transaction is None


@pytest.mark.parametrize(
    "words",
    [
        ("CONFIG", "SET", "maxclients", 5),
        ("CONFIG", "GET", "appendonly"),
        ("CLIENT", "REPLY", "ON"),
        ("CONFIG", "SET", "maxclients", 5, "AppendOnly", "yes"),
        ("CONFIG", "REWRITE"),
        ("DEBUG", "HELP"),
        ("DEBUG", "SLEEP", 0),
        ("RESTORE", "k", 0, "x"),
        ("BGSAVE",),
        ("FLUSHALL",),
        ("UNWATCH",),
        ("SUBSCRIBE", "c"),
        ("AUTH", "x"),
    ],
    ids=str,
)
def test_what_can_run_in_a_transaction_is_queued(words: Words) -> None:
    assert run(begin(Server()), *words) is QUEUED


def test_error_of_a_command_that_is_never_queued_aborts_nothing() -> None:
    session = begin(Server())
    assert text(run(session, "MULTI")) == "ERR MULTI calls can not be nested"
    assert text(run(session, "WATCH", "k")) == "ERR WATCH inside MULTI is not allowed"
    assert run(session, "EXEC") == Execute([])


@pytest.mark.parametrize("is_open", [True, False])
def test_exec_with_arguments_ends_the_transaction(is_open: bool) -> None:
    server = Server()
    session = begin(server) if is_open else server.session()
    assert text(run(session, "EXEC", "x")) == (
        "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
    )
    assert session.transaction is None


def test_discard_forgets_commands_and_watches() -> None:
    server = Server()
    session = server.session()
    assert text(run(session, "DISCARD")) == "ERR DISCARD without MULTI"
    run(session, "WATCH", "k")
    run(session, "MULTI")
    run(session, "SET", "k", "v")
    assert run(session, "DISCARD") == Switch(OK)
    assert (session.transaction, session.watch, server.keyspace.records.observers) == (None, None, ())


def test_touched_watch_gives_a_null_and_counts_once() -> None:
    server = Server()
    session = server.session()
    run(session, "WATCH", "k")
    run(session, "SET", "k", "v")
    # Another WATCH is too late to help.
    assert run(session, "WATCH", "l") is OK
    run(session, "MULTI")
    run(session, "PING")
    assert run(session, "EXEC") == Switch(NULL_ARRAY)
    run(session, "MULTI")
    assert run(session, "EXEC") == Execute([])


@pytest.mark.parametrize("size", [4, 400])
def test_change_of_a_collection_in_a_transaction_fails_the_one_of_who_watches_it(size: int) -> None:
    server = Server()
    watching, changing = server.session(), server.session()
    words = [str(number) for number in range(size)]
    for name in ("HSET", "RPUSH", "SADD", "ZADD"):
        run(watching, name, name, *words)
        run(watching, "WATCH", name)
        run(watching, "MULTI")
        run(watching, "TYPE", name)
        changing = begin(server)
        run(changing, name, name, "7", "new")
        executed = run(changing, "EXEC")
        assert isinstance(executed, Execute)
        for request in executed.requests:
            run(server.session(), *request)
        assert run(watching, "EXEC") == Switch(NULL_ARRAY)


def test_failed_transaction_is_told_before_a_touched_watch() -> None:
    session = Server().session()
    run(session, "WATCH", "k")
    run(session, "SET", "k", "v")
    run(session, "MULTI")
    run(session, "NOSUCH")
    assert aborted(run(session, "EXEC")) == ABORTED


def test_unwatch_forgets_what_was_touched() -> None:
    session = Server().session()
    run(session, "WATCH", "k")
    run(session, "SET", "k", "v")
    assert run(session, "UNWATCH") is OK
    run(session, "MULTI")
    assert run(session, "EXEC") == Execute([])


def test_write_is_refused_at_queueing_while_writes_are() -> None:
    server = Server()
    session = begin(server)
    server.state.persistence.last_save_ok = False
    assert run(session, "GET", "k") is QUEUED
    assert text(run(session, "SET", "k", "v")) == MISCONF
    assert aborted(run(session, "EXEC")) == ABORTED


def test_write_that_was_queued_is_refused_at_exec_while_writes_are() -> None:
    server = Server()
    session = begin(server)
    run(session, "GET", "k")
    run(session, "SET", "k", "v")
    server.state.persistence.last_save_ok = False
    assert text(run(session, "EXEC")) == EXEC_REFUSED + MISCONF
    server.state.persistence.last_save_ok = True
    assert text(run(session, "EXEC")) == "ERR EXEC without MULTI"


def test_transaction_begins_while_data_is_loaded_but_holds_nothing_that_needs_it() -> None:
    server = Server()
    server.state.persistence.loading = True
    session = begin(server)
    assert text(run(session, "GET", "k")) == LOADING
    assert aborted(run(session, "EXEC")) == ABORTED


def test_quit_and_reset_run_at_once() -> None:
    server = Server()
    session = begin(server)
    assert isinstance(run(session, "QUIT"), Close)
    assert isinstance(run(session, "RESET"), Recognize)
    assert session.transaction is None
    assert is_plain(session)


def test_queued_command_is_counted_as_a_call_when_it_runs() -> None:
    server = Server()
    session = begin(server)
    args = [b"SET", b"k", b"v"]
    assert server.table.call(session, args) is QUEUED
    assert args == [b"SET", b"k", b"v"]
    assert session.transaction
    assert session.transaction.requests == [args]
    usages = server.state.usages
    usages.executed.append(args[0])
    usages.fold_all()
    assert usages.by_name[b"set"].calls == 0


def test_words_that_are_wrong_fail_alone_and_not_before_exec() -> None:
    server = Server()
    session = begin(server)
    assert run(session, "RESTORE", "k", "x", "y") is QUEUED
    assert run(session, "SET", "k", "v") is QUEUED
    result = run(session, "EXEC")
    assert isinstance(result, Execute)
    wrong, right = result.requests
    with pytest.raises(CommandError, match=r"^ERR value is not an integer or out of range$"):
        server.table.call(session, wrong)
    assert server.table.call(session, right) == OK
