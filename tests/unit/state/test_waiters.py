"""Waiters stand at their keys in the order in which they came, and those of a key that was written are found."""

from __future__ import annotations

from helpers.sessions import Server
from kvserver.state.waiters import Waiters


def test_waiters_are_in_the_order_of_their_coming_by_key_and_kind() -> None:
    waiters: Waiters[str] = Waiters(Server().state.databases)
    waiters.add("first", "list", 0, [b"a", b"b", b"a"])
    waiters.add("second", "list", 0, [b"b"])
    waiters.add("other", "zset", 0, [b"b"])
    waiters.add("elsewhere", "list", 1, [b"b"])
    assert len(waiters) == 4
    assert waiters.kinds_at((0, b"b")) == ["list", "zset"]
    assert waiters.all((0, b"b"), "list") == ["first", "second"]
    assert (waiters.first((0, b"b"), "list"), waiters.first((1, b"b"), "list")) == ("first", "elsewhere")
    waiters.remove("first")
    assert "first" not in waiters
    assert waiters.kinds_at((0, b"a")) == []
    assert waiters.first((0, b"a"), "list") is None
    assert waiters.first((0, b"b"), "list") == "second"


def test_keys_are_awaited_while_somebody_waits_for_them() -> None:
    server = Server()
    waiters: Waiters[str] = Waiters(server.state.databases)
    waiters.add("one", "", 0, [b"k"])
    waiters.add("two", "", 2, [b"k", b"l"])
    assert waiters.awaited.keys == {b"k": 2, b"l": 1}
    waiters.remove("two")
    waiters.remove("two")
    assert waiters.awaited.keys == {b"k": 1}
    waiters.remove("one")
    assert waiters.awaited.keys == {}
    assert len(waiters) == 0


def test_fed_are_those_keys_of_a_database_for_which_somebody_waits_there() -> None:
    server = Server()
    waiters: Waiters[str] = Waiters(server.state.databases)
    waiters.add("one", "list", 2, [b"k"])
    server.keyspace.put(b"k", b"v")
    assert waiters.take_fed() == []
    server.state.databases[2].put(b"k", b"v")
    assert waiters.take_fed() == [(2, b"k")]
    assert waiters.take_fed() == []
