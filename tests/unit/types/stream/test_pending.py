"""XPENDING looks at the entries of a group or of a consumer by age. The case file compares its other replies."""

from __future__ import annotations

from helpers.sessions import Server, run
from kvserver.formats.rdb import dump
from kvserver.resp.reply import OK
from kvserver.types.stream.group import Group
from kvserver.types.stream.stream import Stream


def test_entries_are_told_by_age_and_consumer() -> None:
    server = Server()
    session = server.session()
    run(session, "XGROUP", "CREATE", "k", "g", 0, "MKSTREAM")
    for number in range(1, 7):
        run(session, "XADD", "k", number, "f", "v")
        run(session, "XREADGROUP", "GROUP", "g", "ab"[number % 2], "STREAMS", "k", ">")
        server.clock.now_ms += 10

    def told(*words: str | int) -> object:
        return run(session, "XPENDING", "k", "g", *words)

    assert told("-", "+", 2) == [[b"1-0", b"b", 60, 1], [b"2-0", b"a", 50, 1]]
    assert told("IDLE", 35, 2, "+", 9) == [[b"2-0", b"a", 50, 1], [b"3-0", b"b", 40, 1]]
    assert told("IDLE", 30, "-", "+", 9, "a") == [[b"2-0", b"a", 50, 1], [b"4-0", b"a", 30, 1]]
    assert told("IDLE", 61, "-", "+", 9) == told("-", "+", 9, "nobody") == []
    assert told() == [6, b"1-0", b"6-0", [[b"a", b"3"], [b"b", b"3"]]]
    # A clock that was set back makes nothing negative.
    server.clock.now_ms -= 1000
    assert told(6, 6, 1) == [[b"6-0", b"a", 0, 1]]


def test_ages_wrap_as_those_of_redis() -> None:
    stream = Stream()
    stream.entries.add((1, 0), [b"f", b"v"], 100, 4096)
    stream.last_id = (1, 0)
    group = stream.groups.add(b"g", Group((1, 0)))
    group.see(b"a", -(2**63))
    group.deliver((1, 0), b"a", -(2**63), 1)
    session = Server().session()
    assert run(session, "RESTORE", "k", 0, dump(stream)) == OK
    assert run(session, "XPENDING", "k", "g", "-", "+", 9) == [[b"1-0", b"a", 0, 1]]
    assert run(session, "XPENDING", "k", "g", "IDLE", 1, "-", "+", 9) == []
    assert run(session, "XINFO", "CONSUMERS", "k", "g") == [{b"name": b"a", b"pending": 1, b"idle": 0}]
    assert run(session, "XAUTOCLAIM", "k", "g", "b", 1, 0) == [b"0-0", [], []]
    assert run(session, "XCLAIM", "k", "g", "b", 1, 1) == []


def test_entries_of_a_consumer_are_found_however_few_it_has() -> None:
    session = Server().session()
    run(session, "XGROUP", "CREATE", "k", "g", 0, "MKSTREAM")
    for number in range(1, 41):
        run(session, "XADD", "k", number, "f", "v")
    run(session, "XREADGROUP", "GROUP", "g", "few", "COUNT", 1, "STREAMS", "k", ">")
    run(session, "XREADGROUP", "GROUP", "g", "many", "COUNT", 38, "STREAMS", "k", ">")
    run(session, "XREADGROUP", "GROUP", "g", "few", "COUNT", 1, "STREAMS", "k", ">")
    few = [[b"1-0", b"few", 0, 1], [b"40-0", b"few", 0, 1]]
    assert run(session, "XPENDING", "k", "g", "-", "+", 9, "few") == few
    assert run(session, "XPENDING", "k", "g", "(1", "+", 9, "few") == few[1:]
    many = run(session, "XPENDING", "k", "g", "3", "5-0", 9, "many")
    assert many == [[b"%d-0" % number, b"many", 0, 1] for number in (3, 4, 5)]
    for name in ("few", "many"):
        assert run(session, "XPENDING", "k", "g", "IDLE", 1, "-", "+", 9, name) == []
