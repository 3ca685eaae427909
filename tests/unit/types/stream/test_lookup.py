"""What commands about groups record gives the same data in a replay, whose clock stands at 0, and nobody else may say it."""

from __future__ import annotations

from random import Random

import pytest

from helpers.sessions import START_MS, Server, run
from kvserver.data.kinds import kind_of
from kvserver.resp.reply import Error
from kvserver.resp.request import Request
from kvserver.state.session import REPLAY_ID, Session
from kvserver.types.stream.lookup import c_text, no_key_or_group, no_such_group

KEY = b"k"
# The words of random commands, of which many are refused.
ROWS = (
    *["XADD k {id}-* f v"] * 3,
    *["XREADGROUP GROUP {g} {c} COUNT {n} STREAMS k >", "XREADGROUP GROUP {g} {c} STREAMS k {id}"] * 3,
    *["XREADGROUP GROUP {g} {c} NOACK COUNT {n} STREAMS k >", "XACK k {g} {id} {id} {id}"],
    *["XCLAIM k {g} {c} {idle} {id} {id} FORCE", "XCLAIM k {g} {c} {idle} {id} JUSTID", "XCLAIM k {g} {c} {idle} {id} TIME 5"],
    *[
        "XCLAIM k {g} {c} 0 {id} IDLE {n} LASTID {id}",
        "xclaim k {g} {c} 0 {id} RETRYCOUNT {n} FORCE",
        "XCLAIM k {g} {c} 0 LASTID {id}",
    ],
    *["XAUTOCLAIM k {g} {c} {idle} {id} COUNT {n}", "xautoclaim k {g} {c} {idle} 0 JUSTID"],
    *["XGROUP CREATE k {g} {id}", "XGROUP CREATE k {g} $ MKSTREAM ENTRIESREAD {n}", "xgroup setid k {g} {id}"],
    *["XGROUP CREATECONSUMER k {g} {c}", "XGROUP DELCONSUMER k {g} {c}", "XDEL k {id} {id}", "XTRIM k MAXLEN 9"],
    *["XGROUP SETID k {g} $ ENTRIESREAD {n}"],
)


def random_call(rng: Random) -> list[str]:
    words = {"id": rng.randrange(30), "g": rng.choice("gh"), "c": rng.choice("abc"), "n": 1 + rng.randrange(4)}
    words["idle"] = rng.choice((0, 0, 40))
    return [word.format(**{**words, "id": rng.randrange(30)}) for word in rng.choice(ROWS).split()]


def json_of(server: Server) -> bytes:
    value = server.keyspace.peek_live(KEY)
    return b"" if value is None else kind_of(value).json(value)[1]


def replay(records: list[Request]) -> Server:
    server = Server()
    server.state.databases.stop_clock()
    session = Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    for record in records:
        server.table.call(session, record)
    return server


def test_replays_of_random_commands_give_the_same_data() -> None:
    for seed in range(6):
        rng, server = Random(seed), Server()
        session = server.session()
        records: list[Request] = []
        for _ in range(80):
            before = json_of(server)
            run(session, *random_call(rng))
            server.clock.now_ms += rng.randrange(20)
            taken = server.keyspace.records.take()
            assert (json_of(server) == before) or taken, seed
            records += taken
        assert json_of(replay(records)) == json_of(server), seed
        assert server.keyspace.records.take() == []


@pytest.mark.parametrize("options", ["IDLE 7", "TIME 5 IDLE 7", "IDLE 7 TIME 5", "IDLE 7 TIME 5 IDLE 9", "IDLE -7"])
def test_replay_knows_how_long_claimed_entries_are_idle(options: str) -> None:
    server = Server()
    session = server.session()
    for words in ("XGROUP CREATE k g 0 MKSTREAM", "XADD k 1 f v", "XREADGROUP GROUP g a STREAMS k >"):
        run(session, *words.split())
    server.clock.now_ms += 100
    run(session, "XCLAIM", "k", "g", "b", 0, 1, *options.split())
    assert json_of(replay(server.keyspace.records.take())) == json_of(server)


def test_one_record_stands_for_all_entries_of_a_call() -> None:
    server = Server()
    session = server.session()
    run(session, "XGROUP", "CREATE", "k", "g", 0, "MKSTREAM")
    for number in range(1, 101):
        run(session, "XADD", "k", number, "f", "v")
    run(session, "XGROUP", "CREATECONSUMER", "k", "g", "c")
    server.keyspace.records.take()
    run(session, "XREADGROUP", "GROUP", "g", "c", "COUNT", 100, "STREAMS", "k", ">")
    assert server.keyspace.records.take() == [
        b"XREADGROUP GROUP g c AT %d COUNT 100 STREAMS k >".replace(b"%d", b"%d" % START_MS).split(),
    ]
    run(
        session,
        "XREADGROUP",
        "GROUP",
        "g",
        "d",
        "STREAMS",
        "k",
        ">",
    )
    assert server.keyspace.records.take() == []


@pytest.mark.parametrize(
    "words",
    [
        "XREADGROUP GROUP g c AT 5 STREAMS k >",
        "XREADGROUP AT 5 GROUP g c STREAMS k 0",
        "XCLAIM k g c 0 1 AT 5",
        "XAUTOCLAIM k g c 0 0 AT 5",
    ],
)
def test_nobody_but_the_journal_says_when_a_call_ran(words: str) -> None:
    session = Server().session()
    run(session, "XGROUP", "CREATE", "k", "g", 0, "MKSTREAM")
    run(session, "XADD", "k", 1, "f", "v")
    assert isinstance(run(session, *words.split()), Error)


def test_errors_name_keys_and_groups_as_redis_does() -> None:
    assert c_text(b"a\0b") == "a"
    assert str(no_such_group(b"k\0", b"g")) == "NOGROUP No such consumer group 'g' for key name 'k'"
    assert str(no_key_or_group(b"k", b"\xff")) == "NOGROUP No such key 'k' or consumer group '\udcff'"
    assert str(no_key_or_group(b"k", b"g", where=" in X")).endswith(" in X")
