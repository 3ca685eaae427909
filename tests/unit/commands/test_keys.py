"""A key that is expired is gone for every command."""

from __future__ import annotations

import pytest

from helpers.documents import exact
from helpers.sessions import Server, run, text
from kvserver.data.entries import Value
from kvserver.formats.codec import JSONText


@pytest.fixture
def server() -> Server:
    server = Server()
    session = server.session()
    run(session, "SET", "expired", "v", "PX", 1)
    run(session, "SET", "string", "v")
    server.keyspace.set(b"json", JSONText(b"[1]"))
    server.clock.now_ms += 1
    return server


def test_expired_key_counts_nowhere(server: Server) -> None:
    session = server.session()
    assert run(session, "EXISTS", "expired", "string", "string", "json", "missing") == 3
    assert run(session, "DEL", "expired", "missing") == 0
    assert text(run(session, "TYPE", "expired")) == "none"
    assert run(session, "TTL", "expired") == run(session, "PTTL", "expired") == -2


def test_del_counts_a_key_once(server: Server) -> None:
    session = server.session()
    assert run(session, "DEL", "string", "string", "json") == 2
    assert run(session, "EXISTS", "string", "json") == 0


def test_types_are_told(server: Server) -> None:
    session = server.session()
    assert text(run(session, "TYPE", "string")) == "string"
    assert text(run(session, "TYPE", "json")) == "ReJSON-RL"


@pytest.mark.parametrize("name", ["RENAME", "RENAMENX", "COPY"])
@pytest.mark.parametrize("value", [b"v", JSONText(b"[1]")])
@pytest.mark.parametrize("expires_in_ms", [None, 1_000])
def test_value_type_and_expiry_go_along(server: Server, name: str, value: Value, expires_in_ms: int | None) -> None:
    session, keyspace = server.session(), server.keyspace
    keyspace.set(b"k", value)
    if expires_in_ms is not None:
        keyspace.set_expiring(b"k", value, server.clock.now_ms + expires_in_ms)
    run(session, name, "k", "new")
    assert exact(keyspace.live(b"new")) == exact(value)
    assert run(session, "PTTL", "new") == (expires_in_ms or -1)
    assert run(session, "EXISTS", "k") == (name == "COPY")


def test_expired_key_is_neither_renamed_nor_in_the_way(server: Server) -> None:
    session = server.session()
    assert text(run(session, "RENAME", "expired", "new")) == "ERR no such key"
    assert run(session, "COPY", "expired", "new") == 0
    run(session, "SET", "expired", "v", "PX", 1)
    server.clock.now_ms += 1
    assert run(session, "COPY", "string", "expired") == 1
    run(session, "SET", "other", "v", "PX", 1)
    server.clock.now_ms += 1
    assert run(session, "RENAMENX", "string", "other") == 1


def test_unlink_and_touch_count_what_is_there(server: Server) -> None:
    session = server.session()
    assert run(session, "TOUCH", "string", "expired", "string", "json", "missing") == 3
    assert run(session, "UNLINK", "string", "expired", "json") == 2
    assert run(session, "DBSIZE") == 0
