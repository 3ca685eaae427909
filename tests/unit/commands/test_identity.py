"""identity: TIME, ROLE, LOLWUT."""

from __future__ import annotations

from helpers.sessions import START_MS, Server, run, text
from kvserver.commands.identity import MAZE_COLUMNS, MAZE_ROWS
from kvserver.resp.reply import Verbatim


def test_time_is_in_seconds_and_microseconds() -> None:
    server = Server()
    server.clock.now_ms += 20
    assert run(server.session(), "TIME") == [b"%d" % (START_MS // 1000), b"20007"]


def test_role_is_that_of_one_alone() -> None:
    assert run(Server().session(), "ROLE") == [b"master", 0, []]


def test_drawing_is_never_the_same_and_ends_with_the_version() -> None:
    session = Server().session()
    first, second = run(session, "LOLWUT"), run(session, "LOLWUT", "VERSION", "5", "1")
    assert isinstance(first, Verbatim)
    assert first != second
    lines = first.decode().split("\n")
    assert [len(line) for line in lines[:MAZE_ROWS]] == [MAZE_COLUMNS] * MAZE_ROWS
    assert lines[-2].endswith("Redis ver. 7.0.15")
    assert text(run(session, "LOLWUT", "VERSION", "x")) == "ERR value is not an integer or out of range"
