"""PFADD, PFCOUNT and PFMERGE store what Redis stores, and record what gives the same bytes again at any later time."""

from __future__ import annotations

import random

from helpers.sessions import Server, run, text
from kvserver.formats.codec import JSONText
from kvserver.resp.reply import OK, Error
from kvserver.state.session import REPLAY_ID, Session
from kvserver.types.string.hyperloglog import DENSE_BYTES, EMPTY, HyperLogLog

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NONE = "WRONGTYPE Key is not a valid HyperLogLog string value."
CORRUPTED = "INVALIDOBJ Corrupted HLL object detected"
SEED = random.SystemRandom().randrange(1 << 32)


def stored(session: Session, key: str) -> bytes:
    value = run(session, "GET", key)
    assert isinstance(value, bytes)
    return value


def value_of(*elements: str, max_bytes: int = 3000) -> bytes:
    changing = HyperLogLog(EMPTY, max_bytes)
    for element in elements:
        changing.add(element.encode())
    return changing.changed()


def test_pfadd_tells_if_something_changed(session: Session) -> None:
    assert run(session, "PFADD", "k") == 1
    assert run(session, "PFADD", "k") == 0
    assert run(session, "PFADD", "k", "a", "b") == 1
    assert run(session, "PFADD", "k", "b", "a") == 0
    assert run(session, "GET", "k") == value_of("a", "b")
    assert run(session, "OBJECT", "ENCODING", "k") == b"raw"


def test_what_changes_nothing_records_nothing(session: Session) -> None:
    run(session, "PFADD", "k", "a", "b")
    assert session.keyspace.records.take() == [[b"PFADD", b"k", b"a", b"b"]]
    run(session, "PFADD", "k", "a")
    assert session.keyspace.records.take() == []
    assert run(session, "PFCOUNT", "k") == 2
    assert session.keyspace.records.take() == [[b"PFCOUNT", b"k"]]
    assert run(session, "PFCOUNT", "k") == 2
    assert run(session, "PFCOUNT", "k", "l") == 2
    assert run(session, "PFCOUNT", "missing") == 0
    assert session.keyspace.records.take() == []


def test_estimate_is_kept_in_the_value(session: Session) -> None:
    run(session, "PFADD", "k", "a", "b")
    before = stored(session, "k")
    run(session, "PFCOUNT", "k")
    assert run(session, "GET", "k") == before[:8] + (2).to_bytes(8, "little") + before[16:]
    run(session, "SETRANGE", "k", 8, "\x07")
    assert run(session, "PFCOUNT", "k") == 7
    run(session, "PFADD", "k", "c")
    assert run(session, "PFCOUNT", "k") == 3


def test_union_is_that_of_all_keys(session: Session) -> None:
    run(session, "PFADD", "k", "a", "b")
    run(session, "PFADD", "l", "b", "c")
    assert run(session, "PFCOUNT", "k", "l", "missing") == 3
    assert run(session, "PFMERGE", "m", "k", "l") is OK
    assert run(session, "PFCOUNT", "m") == 3
    assert run(session, "PFDEBUG", "TODENSE", "l") == 1
    assert run(session, "PFMERGE", "k", "l") is OK
    assert run(session, "STRLEN", "k") == DENSE_BYTES
    assert run(session, "PFDEBUG", "GETREG", "k") == run(session, "PFDEBUG", "GETREG", "m")


def test_merge_keeps_the_expiry_and_is_recorded(session: Session) -> None:
    run(session, "PFADD", "k", "a")
    run(session, "PFADD", "l", "b")
    run(session, "PEXPIRE", "l", 1000)
    session.keyspace.records.take()
    run(session, "PFMERGE", "m", "k")
    run(session, "PFMERGE", "m", "k", "l")
    assert session.keyspace.records.take() == [[b"PFMERGE", b"m", b"k"], [b"PFMERGE", b"m", b"k", b"l"]]
    run(session, "PFMERGE", "l", "k")
    assert session.keyspace.records.take() == [[b"PFMERGE", b"l", b"k"]]
    assert run(session, "PTTL", "l") == 1000


def test_promotion_is_recorded_as_the_value(server: Server, session: Session) -> None:
    server.state.config.hll_sparse_max_bytes = 30
    run(session, "PFADD", "k", "a")
    session.keyspace.records.take()
    run(session, "PFADD", "k", *"bcdefghijkl")
    dense = stored(session, "k")
    assert len(dense) == DENSE_BYTES
    assert session.keyspace.records.take() == [[b"SET", b"k", dense]]
    run(session, "PFADD", "k", "m")
    assert session.keyspace.records.take() == [[b"PFADD", b"k", b"m"]]
    run(session, "PFADD", "l", "a")
    run(session, "PFDEBUG", "TODENSE", "l")
    assert session.keyspace.records.take() == [[b"PFADD", b"l", b"a"], [b"PFDEBUG", b"TODENSE", b"l"]]
    server.state.config.hll_sparse_max_bytes = 3000
    for key, elements in (("a", "abcdef"), ("b", "ghijkl")):
        run(session, "PFADD", key, *elements)
    server.state.config.hll_sparse_max_bytes = 40
    session.keyspace.records.take()
    run(session, "PFMERGE", "c", "a", "b")
    assert session.keyspace.records.take() == [[b"SET", b"c", stored(session, "c")]]


def test_replay_gives_the_same_bytes_under_another_limit() -> None:
    rng = random.Random(SEED)
    server, replaying = Server(), Server()
    session = server.session()
    journal = Session(replaying.state, REPLAY_ID, "journal", "journal", is_local=True)
    replaying.state.config.hll_sparse_max_bytes = 0
    for _ in range(300):
        server.state.config.hll_sparse_max_bytes = rng.choice((20, 60, 300, 3000))
        key = rng.choice("abcd")
        match rng.randrange(12):
            case 0:
                run(session, "PFMERGE", key, rng.choice("abcd"), rng.choice("abcd"))
            case 1:
                run(session, "PFCOUNT", key)
            case 2:
                run(session, "DEL", key)
            case 3:
                run(session, "SETRANGE", key, 16, "\x40\x05")
            case _:
                run(session, "PFADD", key, *(rng.randbytes(3) for _ in range(rng.randrange(9))))
    for request in session.keyspace.records.take():
        assert type(run(journal, *request)) is not Error, SEED
    for key in "abcd":
        assert run(journal, "GET", key) == run(session, "GET", key), SEED


def test_expiry_is_kept(server: Server, session: Session) -> None:
    run(session, "PFADD", "k", "a")
    run(session, "PEXPIRE", "k", 100)
    server.keyspace.records.take()
    run(session, "PFADD", "k", "b")
    run(session, "PFCOUNT", "k")
    assert server.keyspace.records.take() == [[b"PFADD", b"k", b"b"], [b"PFCOUNT", b"k"]]
    server.clock.now_ms += 100
    assert run(session, "PFCOUNT", "k") == 0
    assert run(session, "PFADD", "k", "b") == 1
    assert run(session, "PTTL", "k") == -1


def test_other_values_are_refused(session: Session) -> None:
    session.keyspace.put(b"json", JSONText(b'"HYLL"'))
    run(session, "SET", "string", "v")
    for key, error in (("json", WRONG_TYPE), ("string", NONE)):
        for words in (
            ("PFADD", key, "a"),
            ("PFCOUNT", key),
            ("PFCOUNT", "missing", key),
            ("PFMERGE", key),
            ("PFMERGE", "missing", key),
            ("PFDEBUG", "GETREG", key),
        ):
            assert text(run(session, *words)) == error
    assert run(session, "EXISTS", "missing") == 0


def test_pfadd_keeps_what_it_added_before_a_run_that_cannot_be(session: Session) -> None:
    run(session, "PFADD", "k", "a")
    whole = stored(session, "k")
    # The runs end behind the register of "a".
    run(session, "SET", "k", whole[:-2])
    session.keyspace.records.take()
    replies = [run(session, "PFADD", "k", number, number + 1) for number in range(40)]
    assert {text(reply) for reply in replies if reply not in (0, 1)} == {CORRUPTED}
    whole_values = [request for request in session.keyspace.records.take() if request[0] == b"SET"]
    assert whole_values
    assert all(len(value) > 16 for _, _, value in whole_values)
    assert text(run(session, "PFCOUNT", "k")) == CORRUPTED
    assert text(run(session, "PFMERGE", "l", "k")) == CORRUPTED
    assert text(run(session, "PFDEBUG", "TODENSE", "k")) == CORRUPTED
    assert session.keyspace.records.take() == []


def test_pfdebug_tells(session: Session) -> None:
    assert text(run(session, "PFDEBUG", "ENCODING", "k")) == "ERR The specified key does not exist"
    run(session, "PFADD", "k", "a")
    assert text(run(session, "PFDEBUG", "encoding", "k")) == "sparse"
    assert run(session, "PFDEBUG", "DECODE", "k") == b"Z:12711 v:2,1 Z:3672"
    assert text(run(session, "PFDEBUG", "nosuch", "k")) == "ERR Unknown PFDEBUG subcommand 'nosuch'"
    registers = run(session, "PFDEBUG", "GETREG", "k")
    assert isinstance(registers, list)
    assert (registers[12711], registers.count(0)) == (2, 16383)
    assert text(run(session, "PFDEBUG", "ENCODING", "k")) == "dense"
    assert text(run(session, "PFDEBUG", "DECODE", "k")) == "ERR HLL encoding is not sparse"
    assert run(session, "PFDEBUG", "TODENSE", "k") == 0


def test_pfselftest_passes_at_any_limit(server: Server, session: Session) -> None:
    server.state.config.hll_sparse_max_bytes = 100
    assert run(session, "PFSELFTEST") is OK


def test_standby_counts_and_stores_nothing() -> None:
    server = Server()
    session = server.session()
    run(session, "PFADD", "k", "a", "b")
    before, records = stored(session, "k"), server.state.databases.records
    records.take()
    server.state.replication.is_primary = False
    assert run(session, "PFCOUNT", "k") == 2
    assert stored(session, "k") == before
    assert not records.has_any
    # The record of the primary's PFCOUNT does what it did there.
    replay = Session(server.state, REPLAY_ID, "journal", "journal", is_local=True)
    assert run(replay, "PFCOUNT", "k") == 2
    assert stored(session, "k") != before
