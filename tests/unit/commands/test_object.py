"""OBJECT tells of values that Redis has no word for, and of keys whose time has come."""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run
from kvserver.commands.object import SHARED_REFCOUNT
from kvserver.formats.codec import JSONText


@pytest.mark.parametrize("text", [b"1", b"12345", b"null", b'{"a":1}', b"[%b]" % (b"1," * 50 + b"1")])
def test_document_is_raw_and_shared_with_nobody(text: bytes) -> None:
    server = Server()
    server.keyspace.set(b"k", JSONText(text))
    assert run(server.session(), "OBJECT", "ENCODING", "k") == b"raw"
    assert run(server.session(), "OBJECT", "REFCOUNT", "k") == 1


@pytest.mark.parametrize("name", ["ENCODING", "REFCOUNT", "IDLETIME", "FREQ"])
def test_expired_key_is_missing(name: str) -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "k", "1", "PX", 1)
    server.clock.now_ms += 1
    assert run(session, "OBJECT", name, "k") is None


@pytest.mark.parametrize(
    ("limit", "policy", "is_shared"),
    [(0, "allkeys-lru", True), (1, "noeviction", True), (1, "volatile-ttl", True), (1, "allkeys-lru", False)],
)
def test_small_integers_are_shared_unless_each_needs_its_clock(limit: int, policy: str, is_shared: bool) -> None:
    server = Server()
    server.state.config.maxmemory, server.state.config.maxmemory_policy = limit, policy
    run(server.session(), "SET", "k", "7")
    assert run(server.session(), "OBJECT", "REFCOUNT", "k") == (SHARED_REFCOUNT if is_shared else 1)


@pytest.mark.parametrize("size", [4, 400])
@pytest.mark.parametrize("name", ["HSET", "RPUSH", "SADD", "ZADD"])
def test_idle_time_of_a_collection_ends_when_it_is_changed_or_touched(name: str, size: int) -> None:
    server = Server()
    session = server.session()

    def pass_time() -> object:
        server.clock.now_ms += 100_000
        server.state.memory.tick()
        return run(session, "OBJECT", "IDLETIME", "k")

    server.state.config.maxmemory_policy = "allkeys-lru"
    server.state.memory.configure()
    run(session, name, "k", *range(size))
    assert pass_time() == 100
    run(session, "TOUCH", "k")
    assert run(session, "OBJECT", "IDLETIME", "k") == 0
    assert pass_time() == 100
    cut = server.keyspace.cut()
    run(session, name, "k", "1", "new")
    assert run(session, "OBJECT", "IDLETIME", "k") == 0
    for _ in server.keyspace.fold(cut):
        pass
    assert pass_time() == 100
