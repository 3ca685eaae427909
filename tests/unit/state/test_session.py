"""A new client has a session of its own, and a reset takes back what the client has set."""

from __future__ import annotations

from helpers.sessions import START_MS, Server


def test_new_session_begins_now_in_resp2_without_a_name() -> None:
    server = Server()
    server.clock.now_ms += 5
    session = server.session()
    assert session.connected_at_ms == session.last_active_at_ms == START_MS + 5
    assert (session.protocol, session.name, session.keyspace.number) == (2, b"", 0)
    assert session.keyspace is server.keyspace


def test_session_is_authenticated_only_where_no_password_is_set() -> None:
    server = Server()
    session = server.session()
    assert session.authenticated
    server.set_password(b"secret")
    assert session.authenticated, "a password that is set later holds for new clients"
    assert not server.session().authenticated


def test_reset_takes_back_what_the_client_set_and_nothing_else() -> None:
    server = Server()
    session = server.session()
    session.name, session.protocol, session.lib_name = b"me", 3, b"lib"
    session.reset()
    assert (session.name, session.protocol, session.lib_name, session.id) == (b"", 2, b"lib", 1)
    server.set_password(b"secret")
    session.reset()
    assert not session.authenticated


def test_states_share_nothing() -> None:
    first, second = Server().state, Server().state
    first.counters.commands_processed = 5
    first.persistence.loading = True
    assert second.counters.commands_processed == 0
    assert not second.persistence.loading
    assert not second.sessions
