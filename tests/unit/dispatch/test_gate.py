"""The gate refuses a command by the right error of several, and puts a pause, MULTI or CLIENT REPLY before its handler."""

from __future__ import annotations

import itertools

import pytest

from helpers.sessions import Server, run, text
from kvserver.dispatch.command import Command
from kvserver.dispatch.effect import Load, Monitored, Notified, Postpone, Quiet, Switch
from kvserver.dispatch.gate import (
    EXEC_REFUSED,
    LOADING,
    MASTERDOWN,
    MISCONF,
    MISCONF_JOURNAL,
    NO_KEYSPACE,
    NO_MULTI,
    NOAUTH,
    ONLY_PUBSUB,
    OOM,
    QUEUED,
    READONLY,
    is_plain,
    refusal,
    writes_reserved,
)
from kvserver.dispatch.table import ALL_GATED
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import NO_REPLY, OK, Verbatim
from kvserver.state.session import REPLAY_ID, Muted, Pause, Session, Transaction

COMMANDS = list(Server().table.commands.values())
EVERY_COMMAND = [*COMMANDS, *(subcommand for command in COMMANDS for subcommand in command.subcommands.values())]
# What a session or its server can be in, in the order in which the gate asks.
STATES = ("unauthenticated", "queueing", "out of memory", "failing", "subscribed", "loading", "monitoring")
# A call of each kind of command, and what each of those makes of it, if it refuses it. Taken from Redis's processCommand.
KINDS: dict[str, dict[str, str]] = {
    "SET k v": {
        "unauthenticated": NOAUTH, "out of memory": OOM, "failing": MISCONF, "subscribed": ONLY_PUBSUB.format("set"),
        "loading": LOADING, "monitoring": NO_KEYSPACE,
    },
    "DEL k": {
        "unauthenticated": NOAUTH, "failing": MISCONF, "subscribed": ONLY_PUBSUB.format("del"), "loading": LOADING,
        "monitoring": NO_KEYSPACE,
    },
    "GET k": {
        "unauthenticated": NOAUTH, "subscribed": ONLY_PUBSUB.format("get"), "loading": LOADING, "monitoring": NO_KEYSPACE,
    },
    "PUBLISH c x": {
        "unauthenticated": NOAUTH, "subscribed": ONLY_PUBSUB.format("publish"), "monitoring": NO_KEYSPACE,
    },
    "ECHO x": {"unauthenticated": NOAUTH, "subscribed": ONLY_PUBSUB.format("echo")},
    "CLIENT ID": {"unauthenticated": NOAUTH, "subscribed": ONLY_PUBSUB.format("client|id")},
    "SAVE": {
        "unauthenticated": NOAUTH, "queueing": NO_MULTI, "subscribed": ONLY_PUBSUB.format("save"), "loading": LOADING,
    },
    "SUBSCRIBE c": {"unauthenticated": NOAUTH},
    "PING": {"unauthenticated": NOAUTH, "loading": LOADING},
    "HELLO": {"subscribed": ONLY_PUBSUB.format("hello")},
    "RESET": {},
    "WATCH k": {"unauthenticated": NOAUTH, "subscribed": ONLY_PUBSUB.format("watch")},
}  # fmt: skip
NEVER_QUEUED = ("RESET", "WATCH k")


def bring_into(session: Session, states: tuple[str, ...]) -> None:
    """Bring a new session, and its server, into these states and no others."""
    server = session.server
    if "queueing" in states:
        session.transaction = Transaction()
    if "subscribed" in states:
        session.channels = {b"c": None}
    server.monitors = {session.id: session} if "monitoring" in states else {}
    server.config.maxmemory = int("out of memory" in states)
    server.memory.configure()
    while server.memory.is_unmeasured:
        server.memory.measure()
    server.persistence.loading = "loading" in states
    server.persistence.last_save_ok = "failing" not in states
    session.authenticated = session.is_unrestricted = "unauthenticated" not in states


def expected_refusal(words: str, states: tuple[str, ...]) -> str | None:
    """The error of the first of the states that has one."""
    errors = dict(KINDS[words])
    if "queueing" in states and words not in NEVER_QUEUED:
        # A queue takes memory.
        errors.setdefault("out of memory", OOM)
    elif "queueing" not in states:
        errors.pop("queueing", None)
    return next((errors[state] for state in STATES if state in states and state in errors), None)


@pytest.mark.parametrize("words", KINDS)
def test_every_combination_of_states_refuses_by_the_first_that_refuses(words: str) -> None:
    server = Server()
    for count in range(len(STATES) + 1):
        for states in itertools.combinations(STATES, count):
            session = server.session()
            bring_into(session, states)
            assert is_plain(session) is not bool(set(states) - {"out of memory"}), states
            expected = expected_refusal(words, states)
            request = [word.encode() for word in words.split()]
            command = server.table.commands[request[0].lower()].resolve(request)
            assert refusal(session, command, request) == expected, states
            if expected is not None:
                with pytest.raises(Refusal) as refused:
                    server.table.call(session, request)
                assert str(refused.value) == expected
                assert not session.transaction or session.transaction.has_failed
            elif "queueing" in states and words not in NEVER_QUEUED:
                assert server.table.call(session, request) is QUEUED


def refused(error: str, *states: str) -> set[str]:
    """The commands that are answered by this error to a session that is in these states."""

    server = Server()

    def is_refused(command: Command) -> bool:
        words = command.name.split("|")
        words += ["x"] * (abs(command.arity) - len(words))
        session = server.session()
        bring_into(session, states)
        return getattr(run(session, *words), "text", "") == error

    return {command.name for command in EVERY_COMMAND if is_refused(command)}


def is_container(command: Command) -> bool:
    """True if it does nothing without a subcommand."""
    return bool(command.subcommands) and command.arity == -2


def test_failing_medium_refuses_every_write_but_the_one_that_loads() -> None:
    found = refused(MISCONF, "failing")
    assert found == {command.name for command in EVERY_COMMAND if "write" in command.flags}
    assert {"set", "del", "flushall", "json.set", "json.del"} <= found
    session = Server().session()
    bring_into(session, ("failing",))
    assert run(session, "RESTORE") == Load()
    assert text(run(session, "RESTORE", "k", 0, "x")) == MISCONF


def test_writes_are_refused_while_they_cannot_be_kept_and_no_longer() -> None:
    server = Server()
    session, state = server.session(), server.state
    state.persistence.last_save_ok = False
    state.config.stop_writes_on_bgsave_error = False
    assert run(session, "SET", "k", "v") == OK
    state.persistence.medium_poisoned = "it broke"
    assert text(run(session, "SET", "k", "v")) == MISCONF
    state.journal.error = "No space left on device"
    assert text(run(session, "SET", "k", "v")) == MISCONF_JOURNAL + "No space left on device"
    state.journal.error = state.persistence.medium_poisoned = ""
    assert run(session, "SET", "k", "v") == OK
    assert is_plain(session)


def test_loading_refuses_what_needs_the_data() -> None:
    found = refused(LOADING, "loading")
    assert found == {command.name for command in EVERY_COMMAND if "loading" not in command.flags and not is_container(command)}
    assert {"get", "set", "dbsize", "save", "restore", "ping"} <= found
    assert not {"info", "hello", "shutdown", "config|get"} & found


def test_unauthenticated_client_may_do_no_more_than_shake_hands() -> None:
    assert refused(NOAUTH, "unauthenticated") == {command.name for command in EVERY_COMMAND if not is_container(command)} - {
        "auth",
        "hello",
        "quit",
        "reset",
        "exec",  # whose errors have another form
    }
    session = Server().session()
    bring_into(session, ("unauthenticated",))
    assert text(run(session, "EXEC")) == EXEC_REFUSED + NOAUTH


def test_wrong_arity_and_unknown_words_are_told_before_a_refusal() -> None:
    session = Server().session()
    bring_into(session, STATES)
    assert text(run(session, "SET", "k")) == "ERR wrong number of arguments for 'set' command"
    assert text(run(session, "CLIENT", "NOSUCH")).startswith("ERR unknown subcommand 'NOSUCH'")
    assert text(run(session, "NOSUCH")).startswith("ERR unknown command 'NOSUCH'")


def as_standby(server: Server, *, silent_s: float = 0.0) -> Session:
    """A session of a standby, which has not heard from the log for so long."""
    server.state.replication.is_primary = False
    server.state.replication.tail_age_s = lambda: silent_s
    return server.session()


def test_standby_refuses_every_write_and_nothing_else(server: Server) -> None:
    session = as_standby(server)

    def is_refused(command: Command) -> bool:
        words = [word.encode() for word in command.name.split("|")]
        words += [b"x"] * (abs(command.arity) - len(words))
        return refusal(session, command, words) is not None

    assert {each.name for each in EVERY_COMMAND if is_refused(each)} == {
        each.name for each in EVERY_COMMAND if "write" in each.flags
    }
    assert text(run(session, "SET", "k", "v")) == READONLY
    # A disk that fails here is nobody's business: the primary may be well.
    server.state.persistence.last_save_ok = False
    assert text(run(session, "SET", "k", "v")) == READONLY
    run(session, "MULTI")
    assert text(run(session, "SET", "k", "v")) == READONLY
    assert session.transaction
    assert session.transaction.has_failed


def test_standby_that_hears_nothing_serves_what_is_stale_only_if_it_may(server: Server) -> None:
    server.state.replication.engine.lease_ms = 3_000
    session = as_standby(server, silent_s=3.1)
    assert run(session, "GET", "k") is None
    server.state.config.replica_serve_stale_data = False
    assert text(run(session, "GET", "k")) == MASTERDOWN
    assert text(run(session, "SET", "k", "v")) == READONLY
    assert isinstance(run(session, "INFO"), Verbatim)
    assert server.table.plain(session) is ALL_GATED
    server.state.replication.tail_age_s = lambda: 2.9
    assert run(session, "GET", "k") is None
    run(session, "MULTI")
    assert run(session, "GET", "k") is QUEUED
    server.state.replication.tail_age_s = lambda: 3.1
    assert text(run(session, "EXEC")) == EXEC_REFUSED + MASTERDOWN
    server.state.replication.is_primary = True
    server.state.replication.tail_age_s = lambda: 1e9
    assert run(session, "GET", "k") is None


def test_replay_on_a_standby_is_refused_nothing(server: Server) -> None:
    as_standby(server, silent_s=1e9)
    server.state.config.replica_serve_stale_data = False
    replay = Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    assert server.table.call(replay, [b"SET", b"k", b"v"]) == OK


def test_plain_session_is_refused_nothing() -> None:
    assert not any(refused(error) for error in (NOAUTH, OOM, MISCONF, LOADING, NO_KEYSPACE))


def test_what_was_accepted_once_is_not_refused_again() -> None:
    server = Server()
    replay, session = Session(server.state, REPLAY_ID, "journal", "journal", is_local=True), server.session()
    bring_into(session, STATES)
    server.state.pause = Pause.ALL
    assert server.table.call(replay, [b"SET", b"k", b"v"]) == OK
    session.transaction, session.is_executing = None, True
    assert isinstance(server.table.call(session, [b"GET", b"k"]), Monitored)


def test_transaction_is_refused_as_what_is_queued_would_be() -> None:
    for queued, states, error in (
        ("SET k v", "out of memory", OOM),
        ("SET k v", "failing", MISCONF),
        ("GET k", "loading", LOADING),
        ("GET k", "monitoring", NO_KEYSPACE),
        ("GET k", "out of memory", None),
        ("GET k", "failing", None),
        ("ECHO x", "loading", None),
    ):
        server = Server()
        session = server.session()
        run(session, "MULTI")
        assert run(session, *queued.split()) is QUEUED
        bring_into(session, (states,))
        result = run(session, "EXEC")
        if error and states == "monitoring":
            assert isinstance(result, Monitored)
            assert str(result.result) == EXEC_REFUSED + error.removeprefix("ERR ")
        elif error:
            assert text(result) == EXEC_REFUSED + error
        assert session.transaction is None, "it has ended, whatever has become of it"


def test_monitors_are_told_of_a_refused_exec() -> None:
    server = Server()
    session = server.session()
    run(server.session(), "MONITOR")
    result = run(session, "EXEC", "x")
    assert isinstance(result, Monitored)
    assert str(result.result) == EXEC_REFUSED + "wrong number of arguments for 'exec' command"


def test_pause_of_writes_lets_the_rest_run() -> None:
    server = Server()
    session = server.session()
    server.state.pause = Pause.WRITES
    for words in (("SET", "k", "v"), ("DEL", "k"), ("PUBLISH", "c", "x"), ("SPUBLISH", "c", "x"), ("FLUSHALL",)):
        assert run(session, *words) == Postpone()
    assert run(session, "GET", "k") is None
    assert not isinstance(run(session, "CLIENT", "ID"), Postpone)
    assert text(run(session, "SET", "k")) == "ERR wrong number of arguments for 'set' command"


def test_pause_of_all_holds_everything_but_errors() -> None:
    server = Server()
    session = server.session()
    server.state.pause = Pause.ALL
    for words in (("GET", "k"), ("PING",), ("CLIENT", "UNPAUSE"), ("QUIT",), ("MULTI",)):
        assert run(session, *words) == Postpone()
    assert text(run(session, "NOSUCH")).startswith("ERR unknown command")
    assert text(run(session, "CLIENT", "NOSUCH")).startswith("ERR unknown subcommand")
    server.state.persistence.last_save_ok = False
    assert text(run(session, "SET", "k", "v")) == MISCONF
    assert run(session, "GET", "k") == Postpone()


def test_pause_holds_writes_at_queueing_and_at_exec() -> None:
    server = Server()
    session, other = server.session(), server.session()
    run(session, "MULTI")
    run(other, "MULTI")
    assert run(session, "SET", "k", "v") is QUEUED
    server.state.pause = Pause.WRITES
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
    server.state.pause = Pause.ALL
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
    assert is_plain(session)


def test_skip_is_for_one_command_even_if_that_waits_first() -> None:
    server = Server()
    session = server.session()
    run(session, "CLIENT", "REPLY", "SKIP")
    server.state.pause = Pause.ALL
    assert run(session, "PING") == Postpone()
    assert session.muted is Muted.NEXT
    server.state.pause = Pause.NONE
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
    server.set_password(b"secret")
    session = server.session()
    server.state.pause = Pause.ALL
    assert text(run(session, "GET", "k")) == NOAUTH
    assert run(session, "AUTH", "secret") == Postpone()
    server.state.pause = Pause.NONE
    run(session, "AUTH", "secret")
    assert is_plain(session)


def test_calls_go_through_the_gate_while_there_are_notifications(server: Server) -> None:
    session, subscriber, notifications = server.session(), server.session(), server.state.notifications
    run(subscriber, "PSUBSCRIBE", "__key*")
    assert is_plain(session)
    notifications.configure("K$")
    assert not is_plain(session)
    result = run(session, "SET", "k", "v")
    assert isinstance(result, Notified)
    assert (result.result, [receiver for receiver, _ in result.deliveries]) == (OK, [subscriber])
    assert run(session, "GET", "k") == b"v"
    run(session, "CLIENT", "REPLY", "SKIP")
    result = run(session, "SET", "k", "v")
    assert isinstance(result, Quiet)
    assert isinstance(result.result, Notified)
    notifications.configure("K")
    assert is_plain(server.session())


@pytest.mark.parametrize(
    ("call", "waits"),
    [
        ("SET k v", True),
        ("SET l v", False),
        ("GET k", False),
        ("MSET l 1 k 2", True),
        ("COPY l k", True),
        ("FLUSHALL", True),
        ("PFCOUNT k", True),
        ("PFCOUNT l", False),
        ("EVAL x 0", True),
        ("EVAL x 1 l", False),
        ("PUBLISH k x", False),
        ("BLPOP l k 0", True),
        ("MIGRATE h 1 k 0 9", True),
        ("MIGRATE h 1 l 0 9", False),
        ("EXEC", False),
    ],
)
def test_what_would_write_a_key_that_another_session_has_reserved_waits(call: str, waits: bool) -> None:
    server = Server()
    session, holder = server.session(), server.session()
    server.state.reserve(holder, [b"k"])
    assert not is_plain(session)
    request = call.encode().split()
    command = Server().table.commands[request[0].lower()]
    assert writes_reserved(session, command, request) is waits
    run(session, "SELECT", 1)
    assert writes_reserved(session, command, request) is (call in ("FLUSHALL", "EVAL x 0"))
    if call != "EXEC":
        assert not writes_reserved(holder, command, request)


def test_transaction_waits_for_the_keys_that_it_writes_when_it_is_to_run(session: Session) -> None:
    session.server.reserve(Server().session(), [b"k"])
    exec_ = Server().table.commands[b"exec"]
    run(session, "MULTI")
    assert run(session, "GET", "k") == QUEUED
    assert not writes_reserved(session, exec_, [b"EXEC"])
    assert run(session, "SET", "l", "v") == QUEUED
    assert not writes_reserved(session, exec_, [b"EXEC"])
    assert run(session, "SET", "k", "v") == QUEUED
    assert writes_reserved(session, exec_, [b"EXEC"])
    run(session, "DISCARD")
    run(session, "MULTI")
    run(session, "SELECT", "1")
    assert run(session, "SET", "l", "v") == QUEUED
    # Nobody looks up in which database that is.
    assert writes_reserved(session, exec_, [b"EXEC"])
    session.is_executing = True
    assert not writes_reserved(session, exec_, [b"EXEC"])
