"""strings: SET and its options on a clock that moves."""

from __future__ import annotations

import pytest
from sessions import START_MS, Server, run, text

from kvserver.codec import JSONText
from kvserver.resp.reply import OK


@pytest.fixture
def server() -> Server:
    return Server()


def test_set_and_get_keep_every_byte(server: Server) -> None:
    session = server.session()
    value = bytes(range(256))
    assert run(session, "SET", value, value) is OK
    assert run(session, "GET", value) == value
    assert run(session, "GET", "missing") is None


def test_get_of_a_json_value_is_its_canonical_text(server: Server) -> None:
    server.keyspace.set(b"k", JSONText(b'{"a":1}'))
    assert run(server.session(), "GET", "k") == b'{"a":1}'


@pytest.mark.parametrize(
    ("option", "amount", "lives_ms"),
    [("EX", 2, 2_000), ("PX", 1_500, 1_500), ("EXAT", START_MS // 1000 + 3, 3_000), ("PXAT", START_MS + 700, 700)],
)
def test_expiring_value_is_gone_at_its_millisecond(server: Server, option: str, amount: int, lives_ms: int) -> None:
    session = server.session()
    assert run(session, "SET", "k", "v", option, amount) is OK
    server.clock.now_ms += lives_ms - 1
    assert run(session, "GET", "k") == b"v"
    assert run(session, "PTTL", "k") == 1
    server.clock.now_ms += 1
    assert run(session, "GET", "k") is None
    assert server.keyspace.expired == 1
    assert run(session, "DBSIZE") == 0


def test_time_in_the_past_removes_the_key_at_once(server: Server) -> None:
    session = server.session()
    for option, amount in (("PXAT", START_MS), ("EXAT", 1)):
        run(session, "SET", "k", "old")
        assert run(session, "SET", "k", "v", option, amount) is OK
        assert run(session, "EXISTS", "k") == 0


def test_set_drops_the_expiry_and_keepttl_keeps_it(server: Server) -> None:
    session = server.session()
    run(session, "SET", "k", "v", "PX", 500)
    assert run(session, "SET", "k", "w", "KEEPTTL") is OK
    assert run(session, "GET", "k") == b"w"
    assert run(session, "PTTL", "k") == 500
    run(session, "SET", "k", "x")
    assert run(session, "PTTL", "k") == -1
    run(session, "SET", "k", "y", "KEEPTTL")
    assert run(session, "PTTL", "k") == -1


def test_conditions_look_at_what_is_alive(server: Server) -> None:
    session = server.session()
    assert run(session, "SET", "k", "v", "XX") is None
    assert run(session, "SET", "k", "v", "NX", "PX", 10) is OK
    assert run(session, "SET", "k", "w", "NX") is None
    assert run(session, "SET", "k", "w", "XX", "PX", 10) is OK
    server.clock.now_ms += 10
    assert run(session, "SET", "k", "x", "XX") is None
    assert run(session, "GET", "k") is None
    assert run(session, "SET", "k", "x", "NX") is OK


def test_get_option_gives_what_was_there_whether_it_is_replaced_or_not(server: Server) -> None:
    session = server.session()
    assert run(session, "SET", "k", "1", "GET") is None
    assert run(session, "SET", "k", "2", "GET") == b"1"
    assert run(session, "SET", "k", "3", "NX", "GET") == b"2"
    assert run(session, "GET", "k") == b"2"
    assert run(session, "SET", "none", "3", "XX", "GET") is None
    assert run(session, "EXISTS", "none") == 0


@pytest.mark.parametrize(
    "options",
    [
        ("NX", "XX"),
        ("XX", "NX"),
        ("EX",),
        ("EX", 1, "PX", 1),
        ("EX", 1, "KEEPTTL"),
        ("KEEPTTL", "EX", 1),
        ("ONCE",),
        ("",),
    ],
)
def test_options_that_contradict_are_a_syntax_error_and_change_nothing(server: Server, options: tuple[str | int, ...]) -> None:
    session = server.session()
    run(session, "SET", "k", "old")
    assert text(run(session, "SET", "k", "new", *options)) == "ERR syntax error"
    assert run(session, "GET", "k") == b"old"


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("0", "ERR invalid expire time in 'set' command"),
        ("-1", "ERR invalid expire time in 'set' command"),
        ("x", "ERR value is not an integer or out of range"),
        ("9223372036854775807", "ERR invalid expire time in 'set' command"),
    ],
)
def test_wrong_time_is_refused_and_changes_nothing(server: Server, amount: str, error: str) -> None:
    session = server.session()
    run(session, "SET", "k", "old")
    assert text(run(session, "SET", "k", "new", "EX", amount)) == error
    assert run(session, "GET", "k") == b"old"
