"""The line about a client tells who it is. (commands/test_client has what else is in it.)"""

from __future__ import annotations

from helpers.sessions import Server
from kvserver.state.client_line import describe


def fields_of(line: bytes) -> dict[bytes, bytes]:
    return dict(word.split(b"=", 1) for word in line.split(b" "))


def test_line_names_the_user() -> None:
    server = Server()
    session = server.session()
    assert fields_of(describe(session, []))[b"user"] == b"default"
    session.be(server.state.users.put(server.state.users.staged(b"a\xff", [b"on"])))
    assert fields_of(describe(session, []))[b"user"] == b"a\xff"
