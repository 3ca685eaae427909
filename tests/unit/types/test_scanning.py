"""scanning: a walk through a large collection meets every member that stays; a small one comes whole."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.sessions import Server, run


def scan(server: Server, *options: str | int) -> tuple[list[bytes], int]:
    """The fields of a whole walk, and the number of calls."""
    session, cursor, found, calls = server.session(), b"0", [], 0
    while True:
        reply: Any = run(session, "HSCAN", "h", cursor, *options)
        cursor, items = reply
        found += items[::2]
        calls += 1
        if cursor == b"0":
            return found, calls


@pytest.fixture
def server() -> Server:
    server = Server()
    run(server.session(), "HSET", "h", *(word for number in range(2_000) for word in (number, b"v%d" % number)))
    return server


@pytest.mark.parametrize("count", [1, 10, 500, 5_000])
def test_every_field_is_met_with_its_value(server: Server, count: int) -> None:
    found, calls = scan(server, "COUNT", count)
    assert sorted(found) == sorted(b"%d" % number for number in range(2_000))
    assert calls == 1 if count == 5_000 else calls > 1
    reply: Any = run(server.session(), "HSCAN", "h", 0, "COUNT", count)
    assert len(reply[1]) >= 2 * min(count, 2_000)
    assert all(value == b"v" + field for field, value in zip(reply[1][::2], reply[1][1::2], strict=True))


def test_filter_makes_no_call_look_at_more(server: Server) -> None:
    found, calls = scan(server, "MATCH", "199*")
    assert sorted(found) == [b"199", *(b"199%d" % digit for digit in range(10))]
    assert calls == scan(server)[1]


def test_small_one_comes_whole_whatever_the_cursor_is() -> None:
    server = Server()
    run(server.session(), "HSET", "h", "a", 1, "b", 2)
    for cursor in (0, 1, 12345):
        assert run(server.session(), "HSCAN", "h", cursor, "COUNT", 1) == [b"0", [b"a", b"1", b"b", b"2"]]
