"""What commands on streams record gives the same data again. The case file compares their replies with redis-server."""

from __future__ import annotations

import random

from helpers.sessions import START_MS, Server, run
from kvserver.data.kinds import kind_of
from kvserver.resp.reply import Error, encode
from kvserver.types.stream.commands import add_many
from kvserver.types.stream.stream import Stream


def told(server: Server) -> object:
    value = server.keyspace.live(b"k")
    return None if value is None else kind_of(value).json(value)


def test_record_has_the_id_and_what_the_trim_has_left() -> None:
    server = Server()
    session = server.session()
    take = server.state.databases.records.take
    server.state.config.stream_node_max_entries = 2
    for _ in range(5):
        run(session, "XADD", "k", "*", "f", "v")
    assert take()[-1] == [b"XADD", b"k", b"%d-4" % START_MS, b"f", b"v"]
    run(session, "XADD", "k", "MAXLEN", "~", 3, "7-*", "f", "v")
    assert take() == []
    run(session, "XADD", "k", "NOMKSTREAM", "MAXLEN", "~", 3, f"{START_MS}-*", "f", "v")
    identity = b"%d-5" % START_MS
    assert take() == [[b"XADD", b"k", identity, b"f", b"v"], [b"XTRIM", b"k", b"MAXLEN", b"=", b"4"]]
    run(session, "XTRIM", "k", "MINID", "~", identity)
    assert take() == [[b"XTRIM", b"k", b"MAXLEN", b"=", b"2"]]
    run(session, "XTRIM", "k", "MINID", "~", identity)
    run(session, "XDEL", "k", "1-1")
    run(session, "XADD", "none", "NOMKSTREAM", "*", "f", "v")
    assert take() == []
    run(session, "XDEL", "k", "1-1", identity)
    assert take() == [[b"XDEL", b"k", b"1-1", identity]]


def test_records_give_the_same_stream_again() -> None:
    for seed in range(10):
        rng = random.Random(seed)
        server, other = Server(), Server()
        session, replaying = server.session(), other.session()
        server.state.config.stream_node_max_entries = 3
        other.keyspace.stop_clock()
        for _ in range(60):
            server.clock.now_ms += rng.randint(0, 1)
            near = f"{server.clock.now_ms - rng.randint(0, 20)}-{rng.randint(0, 1)}"
            trim = rng.choice(([], [], ["MAXLEN", "~", rng.randint(0, 9)], ["MAXLEN", rng.randint(3, 20)], ["MINID", near]))
            words = rng.choice((["XADD", "k", *trim, "*", "f", rng.random()], ["XDEL", "k", near], ["XSETID", "k", near]))
            run(session, *words)
        for record in server.state.databases.records.take():
            assert not isinstance(run(replaying, *record), Error), record
        assert told(other) == told(server), f"seed {seed}"


def test_frozen_stream_sees_no_later_change() -> None:
    server = Server()
    session = server.session()
    for number in range(1, 6):
        run(session, "XADD", "k", number, "f", "v")
    before = told(server)
    cut = server.keyspace.cut()
    frozen = server.keyspace.peek(b"k")
    run(session, "XADD", "k", 6, "f", "v")
    run(session, "XDEL", "k", 2)
    run(session, "XTRIM", "k", "MAXLEN", 2)
    run(session, "XSETID", "k", 9)
    assert kind_of(frozen).json(frozen) == before
    for _ in server.keyspace.fold(cut):
        pass
    stream = server.keyspace.live(b"k")
    assert isinstance(stream, Stream)
    assert (stream.length, stream.first_id, stream.last_id) == (2, (5, 0), (9, 0))


def test_entries_of_a_pipeline_are_trimmed_as_one_by_one() -> None:
    words = [b"XADD", b"k", b"MAXLEN", b"~", b"7", b"*", b"f", b"v"]
    server, other = Server(), Server()
    for each in (server, other):
        each.state.config.stream_node_max_entries = 4
        run(each.session(), "XADD", "k", "1-1", "f", "v")
    output: list[bytes] = []
    assert add_many(server.session(), [words[:] for _ in range(41)], output) == 41
    replies = [run(other.session(), *words) for _ in range(41)]
    assert b"".join(output) == b"".join(encode(reply, 2) for reply in replies)  # type: ignore[arg-type]
    records = server.state.databases.records.take()
    assert records == other.state.databases.records.take()
    assert sum(record[0] == b"XTRIM" for record in records) == 8
    assert told(server) == told(other)
