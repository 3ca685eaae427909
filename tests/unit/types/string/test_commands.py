"""SET and its options do what they say, on a clock that moves."""

from __future__ import annotations

import itertools

import pytest

from helpers.sessions import START_MS, Server, run, text
from kvserver.data.entries import Expiring
from kvserver.formats.codec import JSONText
from kvserver.formats.rdb import dump
from kvserver.resp.reply import OK


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


@pytest.mark.parametrize(
    "words",
    [
        ("SET", "k", "v", "PX", 10),
        ("PSETEX", "k", 10, "v"),
        ("GETEX", "there", "PX", 10),
        ("PEXPIRE", "there", 10),
        ("RESTORE", "k", 10, dump(b"v")),
    ],
    ids=lambda words: str(words[0]),
)
def test_time_that_passes_during_the_command_is_not_the_past(server: Server, words: tuple[str | int | bytes, ...]) -> None:
    session = server.session()
    run(session, "SET", "there", "v")
    looks = itertools.count(START_MS, 10)
    server.keyspace.now_ms = lambda: next(looks)
    run(session, *words)
    assert server.keyspace.records.take()[-1][0] != b"DEL"
    entry = server.keyspace.peek(str(words[1]).encode())
    assert isinstance(entry, Expiring)
    assert entry.expires_at_ms > START_MS


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


# --- Their kin


@pytest.mark.parametrize(("name", "amount", "lives_ms"), [("SETEX", 2, 2_000), ("PSETEX", 1_500, 1_500)])
def test_setex_is_set_with_an_expiry(server: Server, name: str, amount: int, lives_ms: int) -> None:
    session = server.session()
    assert run(session, name, "k", amount, "v") is OK
    assert run(session, "PTTL", "k") == lives_ms
    assert server.keyspace.records.take() == [[b"SET", b"k", b"v", b"PXAT", b"%d" % (START_MS + lives_ms)]]


@pytest.mark.parametrize("words", [("SETEX", "k", 0, "v"), ("PSETEX", "k", -1, "v"), ("GETEX", "k", "EX", 0)])
def test_wrong_time_is_told_with_the_name_of_the_command(server: Server, words: tuple[str | int, ...]) -> None:
    session = server.session()
    run(session, "SET", "k", "old")
    assert text(run(session, *words)) == f"ERR invalid expire time in '{str(words[0]).lower()}' command"
    assert run(session, "GET", "k") == b"old"


def test_setnx_sets_what_is_missing(server: Server) -> None:
    session = server.session()
    assert run(session, "SETNX", "k", "v") == 1
    assert run(session, "SETNX", "k", "w") == 0
    assert run(session, "GET", "k") == b"v"
    assert run(session, "MSETNX", "l", "1", "k", "2") == 0
    assert run(session, "EXISTS", "l") == 0
    assert run(session, "MSETNX", "l", "1", "m", "2") == 1
    assert run(session, "MGET", "k", "l", "missing", "m") == [b"v", b"1", None, b"2"]


def test_getset_and_getdel_give_what_was_there(server: Server) -> None:
    session = server.session()
    assert run(session, "GETSET", "k", "1") is None
    run(session, "SET", "k", "1", "PX", 10)
    assert run(session, "GETSET", "k", "2") == b"1"
    assert run(session, "PTTL", "k") == -1
    assert run(session, "GETDEL", "k") == b"2"
    assert run(session, "GETDEL", "k") is None
    assert server.keyspace.records.take()[-1] == [b"DEL", b"k"]


def test_getex_changes_the_expiry_only(server: Server) -> None:
    session = server.session()
    run(session, "SET", "k", "v")
    assert run(session, "GETEX", "k") == b"v"
    assert run(session, "PTTL", "k") == -1
    options = (("EX", 2, 2_000), ("PX", 70, 70), ("PXAT", START_MS + 9, 9), ("EXAT", 1_700_000_005, 5_000))
    for option, amount, lives_ms in options:
        assert run(session, "GETEX", "k", option, amount) == b"v"
        assert run(session, "PTTL", "k") == lives_ms
    assert run(session, "GETEX", "k", "PERSIST") == b"v"
    assert run(session, "PTTL", "k") == -1
    assert run(session, "GETEX", "k", "EXAT", 1) == b"v"
    assert run(session, "EXISTS", "k") == 0


def test_getex_looks_at_its_time_only_where_the_key_is_there(server: Server) -> None:
    session = server.session()
    assert run(session, "GETEX", "missing", "EX", "x") is None
    assert text(run(session, "GETEX", "missing", "NX")) == "ERR syntax error"
    run(session, "SET", "k", "v")
    assert text(run(session, "GETEX", "k", "EX", "x")) == "ERR value is not an integer or out of range"


@pytest.mark.parametrize("options", [("EX",), ("EX", 1, "PX", 1), ("PERSIST", "EX", 1), ("EX", 1, "PERSIST"), ("KEEPTTL",)])
def test_options_of_getex_that_contradict_are_a_syntax_error(server: Server, options: tuple[str | int, ...]) -> None:
    session = server.session()
    run(session, "SET", "k", "v")
    assert text(run(session, "GETEX", "k", *options)) == "ERR syntax error"
    assert run(session, "PTTL", "k") == -1


def test_getex_keeps_json(server: Server) -> None:
    session = server.session()
    run(session, "JSON.SET", "k", "$", "[1]")
    assert run(session, "GETEX", "k", "EX", 10) == b"[1]"
    assert run(session, "JSON.TYPE", "k") == b"array"
    run(session, "GETEX", "k", "PERSIST")
    assert run(session, "JSON.TYPE", "k") == b"array"


def test_mset_needs_a_value_for_each_key_and_takes_the_last(server: Server) -> None:
    session = server.session()
    for name in ("MSET", "MSETNX"):
        error = f"ERR wrong number of arguments for '{name.lower()}' command"
        assert text(run(session, name, "a", "1", "b")) == error
    assert run(session, "MSET", "a", "1", "b", "2", "a", "3") is OK
    assert run(session, "MGET", "a", "b") == [b"3", b"2"]


def test_mset_drops_expiries(server: Server) -> None:
    session = server.session()
    run(session, "SET", "a", "1", "PX", 10)
    run(session, "MSET", "a", "2")
    assert run(session, "PTTL", "a") == -1


def test_strlen_counts_bytes(server: Server) -> None:
    session = server.session()
    assert run(session, "STRLEN", "missing") == 0
    run(session, "SET", "k", "é")
    assert run(session, "STRLEN", "k") == 2
    run(session, "JSON.SET", "j", "$", "[1, 2]")
    assert run(session, "STRLEN", "j") == len("[1,2]")


def test_readers_do_not_see_what_has_expired(server: Server) -> None:
    session = server.session()
    run(session, "SET", "k", "v", "PX", 10)
    server.clock.now_ms += 10
    assert run(session, "MGET", "k") == [None]
    assert run(session, "STRLEN", "k") == 0
    assert run(session, "GETEX", "k", "PERSIST") is None
    assert run(session, "SETNX", "k", "w") == 1
