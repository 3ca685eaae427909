"""CLIENT tells names, ages and lists of sessions, on a clock that moves."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run, text
from kvserver.resp.reply import OK, Verbatim


def fields(line: bytes) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.decode().strip().split(" "))


def test_age_and_idle_time_count_whole_seconds() -> None:
    server = Server()
    session = server.session()
    server.clock.now_ms += 5_999
    session.last_active_at_ms = server.clock.now_ms - 2_000
    reply = run(session, "CLIENT", "INFO")
    assert isinstance(reply, Verbatim)
    assert fields(reply) | {"age": "5", "idle": "2", "resp": "2", "addr": "127.0.0.1:1"} == fields(reply)


def test_list_holds_every_client_or_those_that_are_asked_for() -> None:
    server = Server()
    sessions = [server.session() for _ in range(3)]
    lists = {
        (): [1, 2, 3],
        ("TYPE", "normal"): [1, 2, 3],
        ("type", "PUBSUB"): [],
        ("ID", "3", "1", "99"): [3, 1],
    }
    for words, ids in lists.items():
        reply = run(sessions[0], "CLIENT", "LIST", *words)
        assert isinstance(reply, Verbatim)
        assert [int(fields(line)["id"]) for line in reply.splitlines()] == ids


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("TYPE", "robot"), "ERR Unknown client type 'robot'"),
        (("TYPE",), "ERR syntax error"),
        (("ID",), "ERR syntax error"),
        (("ID", "x"), "ERR Invalid client ID"),
        (("NAMES",), "ERR syntax error"),
    ],
)
def test_wrong_list_is_refused(words: tuple[str, ...], error: str) -> None:
    assert text(run(Server().session(), "CLIENT", "LIST", *words)) == error


@pytest.mark.parametrize("name", [b"a b", b"a\n", b"\x7f", "é", b"\0"])
def test_name_that_would_break_the_list_is_refused(name: bytes | str) -> None:
    session = Server().session()
    assert run(session, "CLIENT", "SETNAME", "good") is OK
    for words in (("SETNAME",), ("SETINFO", "lib-name"), ("SETINFO", "LIB-VER")):
        assert "cannot contain spaces, newlines or special characters" in text(run(session, "CLIENT", *words, name))
    assert run(session, "CLIENT", "GETNAME") == b"good"
    assert session.lib_name == session.lib_ver == b""


def test_empty_name_is_no_name() -> None:
    session = Server().session()
    run(session, "CLIENT", "SETNAME", "good")
    run(session, "CLIENT", "SETNAME", "")
    assert run(session, "CLIENT", "GETNAME") is None


def test_library_is_shown() -> None:
    session = Server().session()
    assert run(session, "CLIENT", "SETINFO", "LIB-NAME", "redis-py") is OK
    assert run(session, "CLIENT", "SETINFO", "lib-ver", "5.0") is OK
    reply = run(session, "CLIENT", "INFO")
    assert isinstance(reply, Verbatim)
    assert fields(reply)["lib-name"] == "redis-py"
    assert fields(reply)["lib-ver"] == "5.0"
    assert text(run(session, "CLIENT", "SETINFO", "lib-age", "5")) == "ERR Unrecognized option 'lib-age'"
