"""XCLAIM and XAUTOCLAIM give entries to another consumer, by their age. The case file compares their other replies."""

from __future__ import annotations

import pytest

from helpers.sessions import START_MS, Server, run
from kvserver.resp.reply import Reply
from kvserver.types.stream.entries import Entries
from kvserver.types.stream.group import Delivery
from kvserver.types.stream.ids import Id
from kvserver.types.stream.stream import Stream


def with_pending(count: int, step_ms: int = 10) -> Server:
    """A server with entries that were delivered to `a`, one behind the other."""
    server = Server()
    session = server.session()
    run(session, "XGROUP", "CREATE", "k", "g", 0, "MKSTREAM")
    for number in range(1, count + 1):
        run(session, "XADD", "k", number, "f", number)
        run(session, "XREADGROUP", "GROUP", "g", "a", "STREAMS", "k", ">")
        server.clock.now_ms += step_ms
    server.keyspace.records.take()
    return server


def delivery(server: Server, number: int) -> Delivery | None:
    value = server.keyspace.peek_live(b"k")
    assert isinstance(value, Stream)
    group = value.groups.get(b"g")
    assert group is not None
    return group.delivery((number, 0))


def entry(number: int) -> Reply:
    return [b"%d-0" % number, [b"f", b"%d" % number]]


def test_only_old_entries_are_claimed() -> None:
    server = with_pending(4)
    session = server.session()
    now_ms = server.clock.now_ms
    assert run(session, "XCLAIM", "k", "g", "b", 25, 1, 2, 3, 4, 5) == [entry(1), entry(2)]
    assert delivery(server, 2) == (b"b", now_ms, 2)
    assert delivery(server, 3) == (b"a", now_ms - 20, 1)
    assert server.keyspace.records.take() == [
        b"XGROUP CREATECONSUMER k g b".split(),
        b"XCLAIM k g b 25 1 2 3 4 5 AT %d".replace(b"%d", b"%d" % now_ms).split(),
    ]
    assert run(session, "XCLAIM", "k", "g", "c", 25, 3) == []
    assert server.keyspace.records.take() == []


def test_times_that_make_no_sense_are_the_present() -> None:
    server = with_pending(1)
    session = server.session()
    for words, time_ms in (("TIME 5", 5), ("IDLE 7", server.clock.now_ms - 7), ("TIME -5", None), (f"TIME {1 << 60}", None)):
        run(session, "XCLAIM", "k", "g", "b", 0, 1, *words.split())
        found = delivery(server, 1)
        assert found is not None
        assert found.time_ms == (server.clock.now_ms if time_ms is None else time_ms)


def test_sweep_goes_on_where_it_has_ended() -> None:
    server = with_pending(30)
    session = server.session()
    assert run(session, "XAUTOCLAIM", "k", "g", "b", 275, 0, "COUNT", 2, "JUSTID") == [b"3-0", [b"1-0", b"2-0"], []]
    # Ten entries are looked at for each that is wanted.
    assert run(session, "XAUTOCLAIM", "k", "g", "b", 1000, 5, "COUNT", 1) == [b"15-0", [], []]
    run(session, "XDEL", "k", 3, 5)
    assert run(session, "XAUTOCLAIM", "k", "g", "b", 1000, 3, "COUNT", 2) == [b"6-0", [], [b"3-0", b"5-0"]]
    assert delivery(server, 3) is None
    assert run(session, "XAUTOCLAIM", "k", "g", "b", 100_000, 0) == [b"0-0", [], []]


@pytest.mark.parametrize(
    ("words", "fetched"),
    [
        ("XAUTOCLAIM k g b 1000 0", []),
        ("XAUTOCLAIM k g b 85 0", [1, 2]),
        ("XAUTOCLAIM k g b 0 0 JUSTID", []),
        ("XCLAIM k g b 85 1 2 3", [1, 2]),
        ("XCLAIM k g b 0 1 2 JUSTID", []),
    ],
)
def test_strings_are_fetched_of_what_is_told_alone(words: str, fetched: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    session = with_pending(10).session()
    found: list[int] = []
    get = Entries.get

    def noted(entries: Entries, identity: Id) -> list[bytes] | None:
        found.append(identity[0])
        return get(entries, identity)

    monkeypatch.setattr(Entries, "get", noted)
    run(session, *words.split())
    assert found == fetched


def test_forced_claim_of_what_nobody_has() -> None:
    server = with_pending(1)
    session = server.session()
    run(session, "XACK", "k", "g", 1)
    assert run(session, "XCLAIM", "k", "g", "b", 1000, 1) == []
    assert run(session, "XCLAIM", "k", "g", "b", 1000, 1, "FORCE", "JUSTID") == [b"1-0"]
    assert delivery(server, 1) == (b"b", START_MS + 10, 1)
    assert run(session, "XCLAIM", "k", "g", "b", 0, 2, "FORCE") == []
