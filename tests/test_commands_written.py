"""What commands leave in `written`: run again at any later time, it gives the same data. The journal relies on it."""

from __future__ import annotations

from documents import exact
from hypothesis import given, settings
from hypothesis import strategies as st
from sessions import START_MS, Server, run

from kvserver.keyspace import Entry

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
    st.just(("FLUSHALL",)),
    st.just(("SET", "a", "v", "EX", "0")),
    st.just(("SET", "a", "v", "NX", "XX")),
)
steps = st.lists(st.tuples(sets | sets | others, st.sampled_from([0, 0, 5, 10, 1_000])), max_size=25)


def living(server: Server) -> dict[bytes, Entry]:
    for key, _ in list(server.keyspace.members()):
        server.keyspace.live(key)
    return dict(server.keyspace.members())


@settings(deadline=None, max_examples=150)
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
    ]
    for words in commands:
        run(session, *words)
    assert session.keyspace.take_written() == []
    assert session.keyspace.changes == before
