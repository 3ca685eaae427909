"""Lists of every form answer alike, change nothing that is frozen, and come back from the journal."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from unittest import mock

import pytest

from helpers.casefiles import families, random_rows
from helpers.random_commands import Words
from helpers.sessions import START_MS, Server, measured, run, text
from kvserver.containers.sequence import Sequence
from kvserver.data.kinds import kind_of
from kvserver.resp.reply import CACHED_BULK_HEADERS, NULL_ARRAY, Error, Reply, encode
from kvserver.state.session import REPLAY_ID, Session
from kvserver.types.list import ends, value
from kvserver.types.list.value import List, elements_of

COUNT = 1_500


def commands(seed: int) -> list[Words]:
    return replace(random_rows(), rows=[*families()["lists"].rows, "SET key value", "DEL key"]).commands(Random(seed), COUNT)


def told(session: Session, words: Words) -> bytes:
    reply = run(session, *words)
    return encode(reply, 2)  # type: ignore[arg-type]


def state(server: Server) -> dict[bytes, bytes]:
    return {key: kind_of(entry).json(entry)[1] for key, entry in server.keyspace.members()}


@pytest.mark.patches_compiled
@pytest.mark.parametrize(("most", "load"), [(0, 4), (3, 4), (64, 2)])
def test_forms_answer_alike_and_the_journal_repeats_them(most: int, load: int) -> None:
    sent = commands(seed=most)
    usual, server, again = Server(), Server(), Server()
    session = usual.session()
    replies = [told(session, words) for words in sent]
    with (
        mock.patch.object(ends, "MOST_MEMBERS", most),
        mock.patch.object(value, "MOST_MEMBERS", most),
        mock.patch.object(Sequence, "LOAD", load),
    ):
        session = server.session()
        for words, reply in zip(sent, replies, strict=True):
            assert told(session, words) == reply, words
            for request in server.keyspace.records.take():
                run(again.session(), *request)
    assert state(server) == state(usual) == state(again)


@pytest.mark.parametrize("seed", range(3))
def test_frozen_lists_see_no_later_write(seed: int) -> None:
    server = Server()
    session = server.session()
    sent = commands(seed)
    for words in sent[: COUNT // 3]:
        run(session, *words)
    run(session, "RPUSH", "a", *range(200))
    before = state(server)
    cut = server.keyspace.cut()
    for words in sent[COUNT // 3 :]:
        run(session, *words)
    assert state(server) != before
    for key, json in before.items():
        frozen = cut.lookup(key)
        assert kind_of(frozen).json(frozen)[1] == json
    for _ in server.keyspace.fold(cut):
        pass


def test_write_that_changes_nothing_is_not_recorded() -> None:
    server = Server()
    session = server.session()
    run(session, "RPUSH", "k", "a", "b")
    server.keyspace.records.take()
    for words in ("LPUSHX m a", "RPUSHX m a", "LPOP k 0", "LPOP m", "LPOP m 1", "LREM k 0 x", "LINSERT k BEFORE x y",
                  "LTRIM m 0 1", "LMOVE m k LEFT LEFT", "LMPOP 1 m LEFT", "LREM m 0 a", "LINSERT m BEFORE a b"):  # fmt: skip
        run(session, *words.split())
    assert not server.keyspace.records.has_any


@pytest.mark.parametrize(
    ("words", "effects"),
    [
        ("LMPOP 2 m k RIGHT COUNT 9", [b"RPOP k 2"]),
        ("LPOP k 9", [b"LPOP k 2"]),
        ("RPOPLPUSH k l", [b"RPOP k", b"LPUSH l b"]),
        ("LMOVE k l LEFT RIGHT", [b"LPOP k", b"RPUSH l a"]),
        ("LMOVE k k LEFT RIGHT", [b"LMOVE k k LEFT RIGHT"]),
        ("LTRIM k 0 -1", [b"LTRIM k 0 -1"]),
        ("LINSERT k AFTER a x", [b"LINSERT k AFTER a x"]),
    ],
)
def test_journal_gets_the_effect(words: str, effects: list[bytes]) -> None:
    server = Server()
    session = server.session()
    run(session, "RPUSH", "k", "a", "b")
    server.keyspace.records.take()
    run(session, *words.split())
    assert server.keyspace.records.take() == [effect.split() for effect in effects]


def test_replay_of_lset_does_not_fail_where_the_list_has_expired() -> None:
    server, again = Server(), Server()
    session = server.session()
    for words in ("RPUSH k a", f"PEXPIREAT k {START_MS + 5}", "LSET k 0 b"):
        run(session, *words.split())
    again.clock.now_ms += 10
    replaying = Session(again.state, REPLAY_ID, "journal", "journal", is_local=True)
    for request in server.keyspace.records.take():
        reply = run(replaying, *request)
        assert not isinstance(reply, Error), request
    assert text(run(again.session(), "LSET", "k", 0, "b")) == "ERR no such key"


def test_writes_to_a_large_list_leave_it_in_its_place() -> None:
    server = Server()
    session = server.session()
    run(session, "RPUSH", "k", *range(1_000))
    large = server.keyspace.live(b"k")
    assert isinstance(large, List)
    for words in ("LPUSH k x", "RPOP k", "LSET k 500 x", "LINSERT k BEFORE x y", "LREM k 1 x", "LTRIM k 5 -5", "LPOP k 3"):
        run(session, *words.split())
        assert server.keyspace.live(b"k") is large, words


@pytest.mark.parametrize("protocol", [2, 3])
def test_pop_with_a_count_of_a_missing_key_is_a_null_array(protocol: int) -> None:
    session = Server().session()
    session.protocol = protocol
    for words in ("LPOP m 1", "RPOP m 0", "LMPOP 1 m LEFT"):
        reply: Reply = run(session, *words.split())  # type: ignore[assignment]
        assert reply is NULL_ARRAY


def test_count_of_lpos_ends_the_search() -> None:
    session = Server().session()
    run(session, "RPUSH", "k", *(["a"] * 500))
    assert run(session, "LPOS", "k", "a", "RANK", 3, "COUNT", 2) == [2, 3]
    assert run(session, "LPOS", "k", "a", "RANK", -3, "COUNT", 2) == [497, 496]
    assert run(session, "LPOS", "k", "a", "RANK", 2**63 - 1, "COUNT", 2**63 - 1) == []
    assert list(elements_of(session.keyspace.live(b"k")) or ()) == [b"a"] * 500


def test_no_run_of_pops_takes_a_long_element() -> None:
    server = measured(Server())
    session = server.session()
    run(session, "RPUSH", "l", *["x" * CACHED_BULK_HEADERS] * 9)
    run(session, "RPUSH", "m", "x" * CACHED_BULK_HEADERS, *["y" * 4_096] * 8, "x" * CACHED_BULK_HEADERS)
    output: list[bytes] = []
    for requests, done in (
        ([[b"LPOP", b"l"]] * 6, 0),
        ([[b"LPOP", b"l"], [b"RPOP", b"l"]] * 3, 0),
        ([[b"LPOP", b"m"]] * 6, 0),
        ([[b"RPOP", b"m"]] * 6, 0),
    ):
        assert server.table.run_alike(session, requests, server.table.plain(session), output) == done
    assert (run(session, "LLEN", "l"), run(session, "LPOP", "m"), output) == (9, b"x" * CACHED_BULK_HEADERS, [])
    assert server.table.run_alike(session, [[b"LPOP", b"m"]] * 9, server.table.plain(session), output) == 8
    assert b"".join(output) == b"$4096\r\n%b\r\n" % (b"y" * 4_096) * 8
