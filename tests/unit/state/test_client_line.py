"""The line about a client tells who it is. (commands/test_client has what else is in it.)"""

from __future__ import annotations

from helpers.sessions import Server
from kvserver.state.client_line import describe
from kvserver.state.session import Session, Transaction


def fields_of(line: bytes) -> dict[bytes, bytes]:
    return dict(word.split(b"=", 1) for word in line.split(b" "))


def test_line_names_the_user() -> None:
    server = Server()
    session = server.session()
    assert fields_of(describe(session, []))[b"user"] == b"default"
    session.be(server.state.users.put(server.state.users.staged(b"a\xff", [b"on"])))
    assert fields_of(describe(session, []))[b"user"] == b"a\xff"


def test_line_of_a_client_whose_transaction_runs_has_its_length() -> None:
    session = Server().session()
    assert told(session) == (b"N", b"-1")
    session.transaction = Transaction()
    session.transaction.requests.append([b"PING"])
    assert told(session) == (b"x", b"1")
    session.transaction = None
    session.is_executing, session.executing_count = True, 3
    assert told(session) == (b"x", b"3")
    session.is_executing = False
    assert told(session) == (b"N", b"-1")


def told(session: Session) -> tuple[bytes, bytes]:
    fields = fields_of(describe(session, []))
    return fields[b"flags"], fields[b"multi"]
