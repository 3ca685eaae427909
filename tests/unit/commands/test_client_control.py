"""CLIENT KILL, PAUSE and REPLY act on the clients that they name, and the state of each client is told."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import START_MS, Server, run, text
from kvserver.commands.client_control import TYPES
from kvserver.dispatch.effect import BeginPause, EndPause, Kill
from kvserver.resp.reply import OK
from kvserver.state.session import Pause, Session


def fields(session: Session) -> dict[str, str]:
    """The own line in CLIENT LIST."""
    reply: Any = run(session.server.sessions[session.id], "CLIENT", "INFO")
    return dict(part.split("=", 1) for part in reply.decode().strip().split(" "))


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (("ID", 2), [2]),
        (("ID", 9), []),
        (("id", 1), []),
        (("ID", 1, "SKIPME", "no"), [1]),
        (("SKIPME", "yes"), [2, 3]),
        (("SKIPME", "no", "SKIPME", "YES"), [2, 3]),
        (("TYPE", "normal"), [3]),
        (("TYPE", "NORMAL", "SKIPME", "no"), [1, 3]),
        (("TYPE", "pubsub"), [2]),
        (("TYPE", "master"), []),
        (("USER", "default"), [2, 3]),
        (("ADDR", "127.0.0.1:3"), [3]),
        (("ADDR", "127.0.0.1:3", "TYPE", "pubsub"), []),
        (("LADDR", "127.0.0.1:6379"), [2, 3]),
        (("LADDR", "127.0.0.1:1"), []),
    ],
    ids=str,
)
def test_kill_means_those_that_all_options_mean(words: tuple[str | int, ...], ids: list[int]) -> None:
    server = Server()
    sessions = [server.session() for _ in range(3)]
    run(sessions[1], "SUBSCRIBE", "c")
    result = run(sessions[0], "CLIENT", "KILL", *words)
    assert isinstance(result, Kill)
    assert [session.id for session in result.sessions] == ids
    assert result.reply == len(ids)


def test_kill_of_old_means_an_address_be_it_the_own_one() -> None:
    server = Server()
    session = server.session()
    assert run(session, "CLIENT", "KILL", "127.0.0.1:1") == Kill([session], OK)
    assert text(run(session, "CLIENT", "KILL", "127.0.0.1:2")) == "ERR No such client"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("ID", "0"), "ERR client-id should be greater than 0"),
        (("ID", "x"), "ERR client-id should be greater than 0"),
        (("TYPE", "robot"), "ERR Unknown client type 'robot'"),
        (("USER", "nobody"), "ERR No such user 'nobody'"),
        (("SKIPME", "perhaps"), "ERR syntax error"),
        (("ID", "1", "TYPE"), "ERR syntax error"),
        (("MAXAGE", "1"), "ERR syntax error"),
    ],
)
def test_wrong_kill_is_refused(words: tuple[str, ...], error: str) -> None:
    assert text(run(Server().session(), "CLIENT", "KILL", *words)) == error


def test_types_are_those_of_redis() -> None:
    session = Server().session()
    for kind in TYPES:
        assert isinstance(run(session, "CLIENT", "KILL", "TYPE", kind), Kill)


def test_pause_says_what_waits_and_until_when() -> None:
    session = Server().session()
    assert run(session, "CLIENT", "PAUSE", 100) == BeginPause(Pause.ALL, START_MS + 100)
    assert run(session, "CLIENT", "PAUSE", 0, "all") == BeginPause(Pause.ALL, START_MS)
    assert run(session, "CLIENT", "PAUSE", 5, "Write") == BeginPause(Pause.WRITES, START_MS + 5)
    assert run(session, "CLIENT", "UNPAUSE") == EndPause()
    wrong: dict[tuple[str | int, ...], str] = {
        ("x",): "ERR timeout is not an integer or out of range",
        ("-1",): "ERR timeout is negative",
        (2**63 - 1,): "ERR timeout is out of range",
        (1, "READ"): "ERR CLIENT PAUSE mode must be WRITE or ALL",
        (1, "ALL", "x"): "ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.",
    }
    for words, error in wrong.items():
        assert text(run(session, "CLIENT", "PAUSE", *words)) == error


def test_list_tells_what_a_client_is_in() -> None:
    server = Server()
    session = server.session()
    assert fields(session)["flags"] == "N"
    assert fields(session) | {"sub": "0", "psub": "0", "ssub": "0", "multi": "-1"} == fields(session)
    run(session, "CLIENT", "NO-EVICT", "ON")
    assert fields(session)["flags"] == "e"
    run(session, "CLIENT", "NO-EVICT", "OFF")
    run(session, "WATCH", "k")
    assert fields(session)["flags"] == "N"
    run(server.session(), "SET", "k", "v")
    assert fields(session)["flags"] == "d"
    run(session, "UNWATCH")
    run(session, "HELLO", 3)
    run(session, "SUBSCRIBE", "a", "b")
    run(session, "PSUBSCRIBE", "c")
    run(session, "SSUBSCRIBE", "d", "e", "f")
    assert fields(session) | {"flags": "P", "sub": "2", "psub": "1", "ssub": "3"} == fields(session)
    run(session, "RESET")
    session.is_postponed = True
    assert fields(session)["flags"] == "b"
    session.is_postponed = False
    session.address = "/run/kv.sock:0"
    assert fields(session)["flags"] == "U"


def lines(server: Server, *words: str) -> list[dict[str, str]]:
    reply: Any = run(server.session(), "CLIENT", "LIST", *words)
    return [dict(part.split("=", 1) for part in line.split(" ")) for line in reply.decode().splitlines()]


def test_list_tells_of_transactions_and_monitors() -> None:
    server = Server()
    session, monitor = server.session(), server.session()
    run(session, "MULTI")
    run(session, "SET", "key", "value")
    run(monitor, "MONITOR")
    listed = lines(server, "ID", "1", "2")
    assert [line["flags"] for line in listed] == ["x", "O"]
    assert [line["multi"] for line in listed] == ["1", "-1"]
    assert 3 * 33 < int(listed[0]["multi-mem"]) - len("SET" + "key" + "value") < 1000, "with what Python adds"


def test_list_by_type_knows_subscribers() -> None:
    server = Server()
    session = server.session()
    run(session, "SUBSCRIBE", "c")
    assert [line["id"] for line in lines(server, "TYPE", "pubsub")] == ["1"]
    assert [line["id"] for line in lines(server, "TYPE", "normal")] == ["2", "3"]
    assert lines(server, "TYPE", "replica") == []


@pytest.mark.parametrize(
    "words",
    ["GET k", "MGET k l", "STRLEN k", "EXISTS k", "HGET h f", "GETRANGE k 0 1"],
)
def test_reads_of_a_client_that_touches_nothing_are_no_uses(server: Server, words: str) -> None:
    session, other = server.session(), server.session()
    run(other, "MSET", "k", "v", "l", "v")
    run(other, "HSET", "h", "f", "v")
    uses = session.keyspace.uses
    server.clock.now_ms += 90_000
    uses.tick(server.clock.now_ms)
    run(session, "CLIENT", "NO-TOUCH", "ON")
    run(session, *words.split())
    assert [run(other, "OBJECT", "IDLETIME", key) for key in ("k", "h")] == [90, 90]
    assert run(session, "TOUCH", "k") == 1
    assert [run(other, "OBJECT", "IDLETIME", key) for key in ("k", "h")] == [0, 90]
    run(session, "CLIENT", "NO-TOUCH", "OFF")
    run(session, "HGET", "h", "f")
    assert run(other, "OBJECT", "IDLETIME", "h") == 0
