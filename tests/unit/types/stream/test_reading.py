"""Ranges of streams, as replies. The case file compares them with redis-server."""

from __future__ import annotations

from helpers.sessions import Server, run
from kvserver.resp.reply import Rows, encode
from kvserver.types.stream.ids import LAST
from kvserver.types.stream.reading import items_behind, reply_of
from kvserver.types.stream.stream import Stream


def test_range_is_an_array_of_ids_and_strings() -> None:
    session = Server().session()
    run(session, "XADD", "k", "1-1", "f", "v", "g", "w")
    run(session, "XADD", "k", "2-1", "f", "x")
    found = run(session, "XRANGE", "k", "-", "+")
    assert found == [[b"1-1", [b"f", b"v", b"g", b"w"]], [b"2-1", [b"f", b"x"]]]
    assert isinstance(found, Rows)
    assert run(session, "XREVRANGE", "k", "+", "-", "COUNT", 1) == [[b"2-1", [b"f", b"x"]]]
    for protocol in (2, 3):
        assert encode(found, protocol) == encode(list(found), protocol)


def test_entries_behind_an_id() -> None:
    stream = Stream()
    for number in range(1, 5):
        stream.entries.add((number, 0), [b"f", b"%d" % number], 100, 4096)
    assert reply_of(items_behind(stream, (2, 5), 0)) == [[b"3-0", [b"f", b"3"]], [b"4-0", [b"f", b"4"]]]
    assert reply_of(items_behind(stream, (1, 0), 1)) == [[b"2-0", [b"f", b"2"]]]
    assert len(items_behind(stream, LAST, 0)) == 4
