"""HELLO and AUTH change a session wholly or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import Server, run, text
from kvserver.dispatch.effect import Close, Recognize
from kvserver.dispatch.gate import ATTACK
from kvserver.resp.reply import OK
from kvserver.state.session import Session


@pytest.fixture
def server() -> Server:
    server = Server()
    server.set_password(b"s\xffcret")
    return server


def state_of(session: Session) -> tuple[Any, ...]:
    return (session.protocol, session.authenticated, session.name)


def test_hello_does_all_that_it_is_asked(server: Server) -> None:
    session = server.session()
    effect = run(session, "HELLO", 3, "AUTH", "default", b"s\xffcret", "SETNAME", "me")
    assert isinstance(effect, Recognize)
    assert isinstance(effect.reply, dict)
    assert effect.reply[b"proto"] == 3
    assert state_of(session) == (3, True, b"me")
    assert isinstance(run(session, "HELLO"), Recognize)
    assert session.protocol == 3


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((4,), "NOPROTO unsupported protocol version"),
        (("three",), "ERR Protocol version is not an integer or out of range"),
        ((3,), "NOAUTH HELLO must be called"),
        ((3, "AUTH", "default", "wrong", "SETNAME", "me"), "WRONGPASS "),
        ((3, "AUTH", "root", b"s\xffcret"), "WRONGPASS "),
        ((3, "AUTH", "default"), "ERR Syntax error in HELLO option 'AUTH'"),
        ((3, "AUTH", "default", b"s\xffcret", "SETNAME", "a b"), "ERR Client names cannot contain spaces"),
        ((3, "AUTH", "default", b"s\xffcret", "SETNAME"), "ERR Syntax error in HELLO option 'SETNAME'"),
        ((3, "SETNAME", "me"), "NOAUTH "),
    ],
)
def test_hello_that_fails_changes_nothing(server: Server, words: tuple[str | bytes | int, ...], error: str) -> None:
    session = server.session()
    assert text(run(session, "HELLO", *words)).startswith(error)
    assert state_of(session) == (2, False, b"")


def test_auth_takes_the_password_alone_or_with_the_one_user(server: Server) -> None:
    for words in ((b"s\xffcret",), ("default", b"s\xffcret")):
        session = server.session()
        assert run(session, "AUTH", *words) == Recognize(OK)
        assert session.authenticated
    session = server.session()
    for wrong in ((b"s",), (b"",), ("Default", b"s\xffcret"), ("default", b"s\xffcret "), (b"s\xffcret", b"default")):
        assert text(run(session, "AUTH", *wrong)).startswith("WRONGPASS ")
    assert text(run(session, "AUTH", "a", "b", "c")) == "ERR syntax error"
    assert not session.authenticated


def test_auth_without_a_password_set_is_told() -> None:
    session = Server().session()
    assert text(run(session, "AUTH", "x")).startswith("ERR AUTH <password> called without any password configured")
    assert run(session, "AUTH", "default", "anything") == Recognize(OK)


def test_reset_gives_what_a_new_client_has(server: Server) -> None:
    session = server.session()
    run(session, "HELLO", 3, "AUTH", "default", b"s\xffcret", "SETNAME", "me")
    assert isinstance(run(session, "RESET"), Recognize)
    assert state_of(session) == state_of(server.session()) == (2, False, b"")


def test_quit_closes_behind_its_reply() -> None:
    assert run(Server().session(), "QUIT") == Close((OK,))


@pytest.mark.parametrize("words", [("POST", "/", "HTTP/1.1"), ("Host:", "127.0.0.1:6379")])
def test_browser_gets_its_connection_closed_without_a_word(words: tuple[str, ...]) -> None:
    server = Server()
    for later_ms, is_told in ((0, True), (1, False), (59_999, False), (1, True), (60_000, False)):
        server.clock.now_ms += later_ms
        session = server.session()
        assert run(session, *words) == Close((), ATTACK.format(session.address) if is_told else "")
