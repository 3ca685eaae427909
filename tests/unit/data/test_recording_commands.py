"""What commands leave in `written`: run again at any later time, it gives the same data. The journal relies on it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import exact
from helpers.sessions import START_MS, Server, run
from kvserver.data.entries import Entry
from kvserver.resp.reply import Error

Words = tuple[str | int, ...]

keys = st.sampled_from(["a", "b", "c"])
times = st.sampled_from(
    [(), ("PX", 10), ("EX", 1), ("PXAT", START_MS + 30), ("EXAT", START_MS // 1000 + 1), ("PXAT", 1), ("KEEPTTL",)]
)
conditions = st.sampled_from([(), ("NX",), ("XX",), ("GET",)])
sets: st.SearchStrategy[Words] = st.builds(
    lambda key, time, condition: ("SET", key, "v", *time, *condition), keys, times, conditions
)
others: st.SearchStrategy[Words] = st.one_of(
    st.tuples(st.sampled_from(["DEL", "GET", "JSON.DEL", "TTL"]), keys),
    st.tuples(st.just("DEL"), keys, keys),
    st.builds(lambda key, extra: ("JSON.SET", key, "$", '{"b": 1.50}', *extra), keys, st.sampled_from([(), ("NX",), ("XX",)])),
    st.builds(lambda key: ("JSON.SET", key, ".", '"text"'), keys),
    st.sampled_from([("FLUSHALL",), ("FLUSHDB", "ASYNC"), ("SWAPDB", 0, 0), ("RANDOMKEY",), ("KEYS", "*"), ("SCAN", 0)]),
    st.builds(
        lambda name, key, other: (name, key, other), st.sampled_from(["RENAME", "RENAMENX", "COPY", "UNLINK"]), keys, keys
    ),
    st.builds(lambda key, other: ("COPY", key, other, "REPLACE"), keys, keys),
    st.builds(
        lambda name_and_time, key, condition: (name_and_time[0], key, name_and_time[1], *condition),
        st.sampled_from(
            [("EXPIRE", 1), ("PEXPIRE", 12), ("PEXPIREAT", START_MS + 25), ("EXPIREAT", START_MS // 1000 + 2), ("EXPIRE", -1)]
        ),
        keys,
        st.sampled_from([(), (), ("NX",), ("XX",), ("GT",), ("LT",)]),
    ),
    st.tuples(st.just("PERSIST"), keys),
    st.just(("SET", "a", "v", "EX", "0")),
    st.just(("SET", "a", "v", "NX", "XX")),
)
strings: st.SearchStrategy[Words] = st.one_of(
    st.tuples(st.sampled_from(["INCR", "DECR", "GETDEL", "STRLEN"]), keys),
    st.tuples(st.sampled_from(["INCRBY", "DECRBY", "INCRBYFLOAT", "APPEND", "GETSET", "SETNX"]), keys, st.just(7)),
    st.tuples(st.sampled_from(["SETEX", "PSETEX"]), keys, st.sampled_from([1, 12]), st.sampled_from(["5", "1.5", "v"])),
    st.builds(lambda key, time: ("GETEX", key, *time), keys, times | st.just(("PERSIST",))),
    st.tuples(st.sampled_from(["MSET", "MSETNX"]), keys, st.just("1"), keys, st.just("2")),
    st.tuples(st.just("SETRANGE"), keys, st.sampled_from([0, 3]), st.sampled_from(["", "xy"])),
    st.tuples(st.just("SETBIT"), keys, st.sampled_from([0, 9, 30]), st.sampled_from([0, 1])),
    st.tuples(st.sampled_from(["BITOP"]), st.sampled_from(["AND", "OR", "XOR"]), keys, keys, keys),
    st.tuples(st.just("BITOP"), st.just("NOT"), keys, keys),
    st.builds(lambda key, width: ("BITFIELD", key, "INCRBY", width, 3, 100), keys, st.sampled_from(["u4", "i20"])),
    st.builds(lambda key, number: ("JSON.SET", key, "$", number), keys, st.sampled_from(["1", "2.5"])),
)
steps = st.lists(st.tuples(sets | strings | strings | others, st.sampled_from([0, 0, 5, 10, 1_000])), max_size=25)


def living(server: Server) -> dict[bytes, Entry]:
    for key, _ in list(server.keyspace.members()):
        server.keyspace.live(key)
    return dict(server.keyspace.members())


@settings(max_examples=150)
@given(steps, st.sampled_from([0, 7, 2_000]))
def test_written_commands_run_later_give_the_same_data(commands: list[tuple[Words, int]], delay_ms: int) -> None:
    server = Server()
    session = server.session()
    for words, pause_ms in commands:
        run(session, *words)
        server.clock.now_ms += pause_ms
    written = server.keyspace.take_written()
    replica = Server()
    server.clock.now_ms += delay_ms
    replica.clock.now_ms = server.clock.now_ms
    for args in written:
        run(replica.session(), *args)
    assert exact(living(replica)) == exact(living(server))


def test_commands_that_change_nothing_leave_nothing() -> None:
    session = Server().session()
    run(session, "SET", "k", "v")
    session.keyspace.take_written()
    before = session.keyspace.changes
    commands: list[Words] = [
        ("GET", "k"),
        ("SET", "k", "w", "NX"),
        ("SET", "none", "w", "XX"),
        ("SET", "k", "w", "EX", "0"),
        ("DEL", "none"),
        ("JSON.SET", "k", "$", "{"),
        ("JSON.SET", "k", "$", "1", "NX"),
        ("JSON.DEL", "none"),
        ("RESTORE", "k", 0, "x"),
        ("FLUSHALL", "NOW"),
        ("UNLINK", "none"),
        ("RENAME", "none", "k"),
        ("RENAME", "k", "k"),
        ("RENAMENX", "k", "k"),
        ("COPY", "none", "k", "REPLACE"),
        ("COPY", "k", "k"),
        ("EXPIRE", "none", 1),
        ("EXPIRE", "k", 1, "XX"),
        ("PERSIST", "k"),
        ("MOVE", "k", 0),
        *(("SETNX", "k", "w"), ("MSETNX", "l", "1", "k", "2"), ("GETDEL", "none"), ("GETEX", "k"), ("GETEX", "k", "PERSIST")),
        *(("INCR", "k"), ("INCRBYFLOAT", "k", "1"), ("SETRANGE", "k", 0, ""), ("SETRANGE", "none", 4, "")),
        *(("SETBIT", "k", 0, 0), ("BITFIELD", "k", "SET", "u8", 0, ord("v")), ("BITOP", "OR", "none", "none")),
        ("SWAPDB", 0, 0),
        ("TOUCH", "k"),
    ]
    for words in commands:
        run(session, *words)
    assert session.keyspace.take_written() == []
    assert session.keyspace.changes == before


@pytest.mark.parametrize("value", [("SET", "k", "v"), ("JSON.SET", "k", "$", "[1]")])
@pytest.mark.parametrize("words", [("PERSIST", "k"), ("EXPIRE", "k", 100), ("PEXPIREAT", "k", START_MS + 99_000)])
def test_key_that_was_let_live_on_lives_though_the_journal_is_replayed_after_its_first_end(value: Words, words: Words) -> None:
    server = Server()
    session = server.session()
    for command in (value, ("PEXPIRE", "k", 10), words):
        run(session, *command)
    replica = Server()
    replica.clock.now_ms += 1_000
    for args in server.keyspace.take_written():
        run(replica.session(), *args)
    assert exact(dict(replica.keyspace.members())) == exact(dict(server.keyspace.members()))


@pytest.mark.parametrize("times", [(), ("PX", 10)])
@pytest.mark.parametrize(
    "words",
    [
        *(("RENAME", "k", "new"), ("RENAME", "k", "l"), ("RENAMENX", "k", "new"), ("COPY", "k", "new"), ("UNLINK", "k", "l")),
        *(("COPY", "k", "l", "REPLACE"), ("EXPIRE", "k", 100), ("PEXPIRE", "k", 5), ("EXPIREAT", "k", 1), ("PERSIST", "k")),
        *(("FLUSHDB",), ("EXPIRE", "l", 5, "GT"), ("EXPIRE", "l", 50, "GT"), ("PEXPIREAT", "k", START_MS + 7, "LT")),
    ],
)
def test_change_of_a_key_is_written_as_it_was(words: Words, times: Words) -> None:
    server, replica = Server(), Server()
    session = server.session()
    for command in (("SET", "k", "v", *times), ("SET", "l", "w", "EX", 20), words):
        run(session, *command)
    for args in server.keyspace.take_written():
        run(replica.session(), *args)
    assert exact(dict(replica.keyspace.members())) == exact(dict(server.keyspace.members()))


def test_journal_of_a_renamed_key_whose_time_has_come_replays_without_an_error() -> None:
    server = Server()
    session = server.session()
    for words in (("SET", "a", "v", "PX", 10), ("RENAME", "a", "b"), ("COPY", "b", "c"), ("RENAMENX", "c", "d")):
        run(session, *words)
    replica = Server()
    replica.clock.now_ms += 1_000
    for args in server.keyspace.take_written():
        assert not isinstance(run(replica.session(), *args), Error)
    assert len(replica.keyspace) == 0


@pytest.mark.parametrize(
    "words",
    [
        *(("APPEND", "k", "1"), ("SETRANGE", "k", 2, "x"), ("SETBIT", "k", 3, 1), ("BITFIELD", "k", "SET", "u8", 0, 1)),
        *(
            ("INCR", "k"),
            ("DECRBY", "k", 5),
            ("INCRBYFLOAT", "k", "0.5"),
            ("SET", "k", "w", "KEEPTTL"),
            ("BITOP", "NOT", "k", "k"),
        ),
        *(("GETEX", "k", "EX", 100), ("GETEX", "k", "PX", 5), ("GETEX", "k", "PERSIST"), ("GETEX", "k"), ("GETSET", "k", "w")),
    ],
)
@pytest.mark.parametrize("value", [("SET", "k", "1"), ("JSON.SET", "k", "$", "1")])
@pytest.mark.parametrize("delay_ms", [0, 7, 10, 1_000])
def test_change_of_a_key_that_expires_is_replayed_at_any_time(value: Words, words: Words, delay_ms: int) -> None:
    server = Server()
    session = server.session()
    for command in (value, ("PEXPIRE", "k", 10), words):
        run(session, *command)
    replica = Server()
    server.clock.now_ms += delay_ms
    replica.clock.now_ms = server.clock.now_ms
    for args in server.keyspace.take_written():
        assert not isinstance(run(replica.session(), *args), Error)
    assert exact(living(replica)) == exact(living(server))
