"""TIME and LOLWUT reply; MONITOR shows no secret in its lines."""

from __future__ import annotations

import pytest

from helpers.sessions import START_MS, Server, run, text
from kvserver.commands.server import MAZE_COLUMNS, MAZE_ROWS
from kvserver.dispatch.effect import Monitored, Switch
from kvserver.dispatch.gate import monitor_line
from kvserver.errors import CommandError
from kvserver.resp.reply import NO_REPLY, OK, Verbatim
from kvserver.state.session import Session

Words = tuple[bytes | str | int, ...]

# --- TIME, LOLWUT ---


def test_time_is_in_seconds_and_microseconds() -> None:
    server = Server()
    server.clock.now_ms += 20
    assert run(server.session(), "TIME") == [b"%d" % (START_MS // 1000), b"20007"]


def test_drawing_is_never_the_same_and_ends_with_the_version() -> None:
    session = Server().session()
    first, second = run(session, "LOLWUT"), run(session, "LOLWUT", "VERSION", "5", "1")
    assert isinstance(first, Verbatim)
    assert first != second
    lines = first.decode().split("\n")
    assert [len(line) for line in lines[:MAZE_ROWS]] == [MAZE_COLUMNS] * MAZE_ROWS
    assert lines[-2].endswith("Redis ver. 7.0.15")
    assert text(run(session, "LOLWUT", "VERSION", "x")) == "ERR value is not an integer or out of range"


# --- MONITOR ---


def monitored() -> tuple[Server, Session]:
    """A server somebody monitors, and another session."""
    server = Server()
    assert run(server.session(), "MONITOR") == Switch(OK)
    return server, server.session()


def words_of(session: Session, *words: bytes | str) -> bytes:
    args = [word if isinstance(word, bytes) else word.encode() for word in words]
    return monitor_line(session, args).partition(b"] ")[2].removesuffix(b"\r\n")


def test_line_has_time_database_address_and_words() -> None:
    server = Server()
    session = server.session()
    server.clock.now_ms = 1_700_000_000_042
    assert monitor_line(session, [b"SET", b"k", b""]) == b'+1700000000.042007 [0 127.0.0.1:1] "SET" "k" ""\r\n'
    session.address = "/run/kv.sock:0"
    assert monitor_line(session, [b"PING"]) == b'+1700000000.042007 [0 unix:/run/kv.sock] "PING"\r\n'


def test_odd_bytes_are_printed_as_redis_prints_them() -> None:
    odd = b'a"\\\n\r\t\a\b\0\x1f ~\x7f\xff'
    assert words_of(Server().session(), odd) == b'"a\\"\\\\\\n\\r\\t\\a\\b\\x00\\x1f ~\\x7f\\xff"'


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("AUTH", "secret"), b'"AUTH" "(redacted)"'),
        (
            ("hello", "3", "SETNAME", "me", "auth", "default", "secret"),
            b'"hello" "3" "SETNAME" "me" "auth" "(redacted)" "(redacted)"',
        ),
    ],
    ids=str,
)
def test_secrets_are_not_shown(words: tuple[str, ...], shown: bytes) -> None:
    assert words_of(Server().session(), *words) == shown


@pytest.mark.parametrize("words", [("GET", "k"), ("CLIENT", "ID"), ("RESTORE", "k", 0, "x"), ("EXEC",), ("INFO",)], ids=str)
def test_what_runs_is_shown_whatever_comes_of_it(words: Words) -> None:
    _, session = monitored()
    assert isinstance(run(session, *words), Monitored)


@pytest.mark.parametrize(
    "words",
    [
        ("CONFIG", "SET", "requirepass", "secret"),
        ("CONFIG", "SET"),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "ID", 9),
        ("MONITOR",),
        ("GET",),
        ("NOSUCH", "secret"),
        ("CLIENT", "NOSUCH"),
        ("SAVE",),
    ],
    ids=str,
)
def test_administration_and_what_is_refused_is_not_shown(words: Words) -> None:
    _, session = monitored()
    assert not isinstance(run(session, *words), Monitored)


def test_error_of_a_command_that_ran_goes_with_its_line() -> None:
    _, session = monitored()
    result = run(session, "RESTORE", "k", 0, "x")
    assert isinstance(result, Monitored)
    assert isinstance(result.result, CommandError)


def test_refused_write_is_not_shown() -> None:
    server, session = monitored()
    server.state.persistence.last_save_ok = False
    assert text(run(session, "SET", "k", "v")).startswith("MISCONF")


def test_nobody_pays_where_nobody_monitors() -> None:
    server = Server()
    one, other = server.session(), server.session()
    table, session = server.table, server.session()
    assert table.plain(session) is table.open
    run(one, "MONITOR")
    run(other, "MONITOR")
    assert table.plain(session) is not table.open
    other.leave()
    assert table.plain(session) is not table.open
    run(one, "RESET")
    assert table.plain(session) is table.open


def test_monitor_may_not_use_keys_nor_be_one_in_a_transaction() -> None:
    session = Server().session()
    run(session, "MONITOR")
    assert session.id in session.server.monitors
    for words in (("GET", "k"), ("SET", "k", "v"), ("PUBLISH", "c", "x"), ("RESTORE",), ("RESTORE", "k", 0, "x")):
        assert text(run(session, *words)) == "ERR Replica can't interact with the keyspace"
    result = run(session, "PING")
    assert isinstance(result, Monitored)
    assert run(session, "MONITOR") == Switch(NO_REPLY)
    session.is_executing = True
    assert text(run(session, "MONITOR")) == "ERR MONITOR isn't allowed for DENY BLOCKING client"
