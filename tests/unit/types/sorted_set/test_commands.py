"""Commands of sorted sets: packed and large ones give the same replies, and the journal gives the same sorted set again."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any
from unittest import mock

import pytest

from helpers.casefiles import families, random_rows
from helpers.random_commands import Words
from helpers.sessions import Server, run
from kvserver.containers.ordered import Ordered
from kvserver.data.kinds import kind_of
from kvserver.resp.reply import Error, encode
from kvserver.types.sorted_set import single, value
from kvserver.types.sorted_set.value import SortedSet, members_of

COUNT = 400
# What these reply depends on chance or on the form.
BY_FORM = ("ZRANDMEMBER", "ZSCAN")


def random_calls(seed: int) -> list[Words]:
    rows = [row for row in families()["sorted_set"].rows if not row.startswith(BY_FORM)]
    return replace(random_rows(), rows=[*rows, "SET key value", "DEL key"]).commands(Random(seed), COUNT)


def state(server: Server) -> dict[bytes, tuple[str, bytes, bytes]]:
    found = {}
    for key, entry in server.keyspace.members():
        kind = kind_of(entry)
        found[key] = (*kind.json(entry), kind.encoding(entry) if kind.name == "zset" else b"")
    return found


@pytest.mark.patches_compiled
@pytest.mark.parametrize("seed", range(3))
def test_forms_answer_alike_and_the_journal_repeats_them(seed: int) -> None:
    calls, heard, states = random_calls(seed), [], []
    for most, load in ((64, 256), (3, 4), (0, 2)):
        server, again, replies = Server(), Server(), []
        session = server.session()
        with (
            mock.patch.object(single, "MOST_MEMBERS", most),
            mock.patch.object(value, "MOST_MEMBERS", most),
            mock.patch.object(Ordered, "LOAD", load),
        ):
            for words in calls:
                reply: Any = run(session, *words)
                replies.append((words, encode(reply, 2 + seed % 2)))
                for request in server.keyspace.records.take():
                    assert not isinstance(run(again.session(), *request), Error), request
        heard.append(replies)
        states += [state(server), state(again)]
    assert heard[0] == heard[1] == heard[2]
    assert all(each == states[0] for each in states)


def test_frozen_sorted_set_sees_no_change() -> None:
    server = Server()
    session = server.session()
    run(session, "ZADD", "k", *(word for number in range(1_000) for word in (number, number)))
    before = run(session, "ZRANGE", "k", 0, -1, "WITHSCORES")
    cut = server.keyspace.cut()
    for words in (
        *("ZADD k 5.5 1 7 new", "ZINCRBY k 9 20", "ZREM k 2 3", "ZPOPMIN k 2", "ZPOPMAX k", "ZMPOP 1 k MIN COUNT 3"),
        *("ZREMRANGEBYRANK k 0 5", "ZREMRANGEBYSCORE k 500 510", "ZRANGESTORE k k 0 900"),
    ):
        run(session, *words.split())
    frozen = members_of(cut.lookup(b"k"))
    assert frozen is not None
    assert [word for member, score in frozen for word in (member, b"%d" % score)] == before
    assert dict(frozen.scores.items()) == dict(frozen)
    assert run(session, "ZCARD", "k") == 901


@pytest.mark.parametrize(
    ("words", "record"),
    [
        ("ZADD k 3 a", "ZADD k 3 a"),
        ("ZADD k NX CH 3 a 4 c", "ZADD k NX CH 3 a 4 c"),
        ("ZADD k INCR 3 a", "ZADD k INCR 3 a"),
        ("ZADD k 1 a", None),
        ("ZADD k 1.0 a 2 b", None),
        ("ZADD k XX 1 c", None),
        ("ZADD missing XX 1 c", None),
        ("ZADD k GT 0 a", None),
        ("ZINCRBY k 0 a", None),
        ("ZINCRBY k 1.5 a", "ZINCRBY k 1.5 a"),
        ("ZREM k c", None),
        ("ZREM k a", "ZREM k a"),
        ("ZPOPMIN k", "ZPOPMIN k"),
        ("ZPOPMAX k 0", None),
        ("ZMPOP 2 missing k MAX", "ZPOPMAX k 1"),
        ("ZMPOP 1 k MIN COUNT 9", "ZPOPMIN k 9"),
        ("ZMPOP 1 missing MIN", None),
        ("ZREMRANGEBYSCORE k 5 6", None),
        ("ZREMRANGEBYRANK k 0 -1", "ZREMRANGEBYRANK k 0 -1"),
        ("ZRANGESTORE d k 0 0", "ZRANGESTORE d k 0 0"),
        ("ZRANGESTORE missing k 5 5", None),
        ("ZUNIONSTORE k 1 missing", "DEL k"),
        ("ZUNIONSTORE d 2 k k WEIGHTS 2 3", "ZUNIONSTORE d 2 k k WEIGHTS 2 3"),
        ("ZRANDMEMBER k 1", None),
    ],
)
def test_journal_gets_what_changes(words: str, record: str | None) -> None:
    server = Server()
    run(server.session(), "ZADD", "k", 1, "a", 2, "b")
    server.keyspace.records.take()
    run(server.session(), *words.split())
    assert server.keyspace.records.take() == ([] if record is None else [record.encode().split()])


def test_expiry_is_kept_by_what_changes_members() -> None:
    server = Server()
    session = server.session()
    for words in ("ZADD k 1 a 2 b", "EXPIRE k 100", "ZADD k 3 c", "ZINCRBY k 1 c", "ZADD k 5 c 6 d", "ZREM k a"):
        run(session, *words.split())
    assert run(session, "TTL", "k") == 100


def test_writes_to_a_large_sorted_set_leave_it_in_its_place() -> None:
    server = Server()
    session = server.session()
    run(session, "ZADD", "k", *(word for number in range(5_000) for word in (number, number)))
    large = server.keyspace.live(b"k")
    assert isinstance(large, SortedSet)
    for words in ("ZADD k 1 x", "ZINCRBY k 9 x", "ZREM k x", "ZPOPMIN k", "ZREMRANGEBYRANK k 4 9", "ZADD k GT CH 9000 20"):
        run(session, *words.split())
        assert server.keyspace.live(b"k") is large, words


def test_random_members_and_scans_give_all_members() -> None:
    server = Server()
    session = server.session()
    members = {b"%d" % number: float(number) for number in range(2_000)}
    run(session, "ZADD", "k", *(word for member, score in members.items() for word in (str(score), member)))
    found: dict[bytes, float] = {}
    reply: Any = [b"0"]
    while not found or reply[0] != b"0":
        reply = run(session, "ZSCAN", "k", reply[0], "COUNT", 100)
        found.update(zip(reply[1][::2], map(float, reply[1][1::2]), strict=True))
    assert found == members
    several: Any = run(session, "ZRANDMEMBER", "k", 300)
    assert len(set(several)) == 300
    repeated: Any = run(session, "ZRANDMEMBER", "k", -50, "WITHSCORES")
    assert all(members[member] == float(score) for member, score in zip(repeated[::2], repeated[1::2], strict=True))
    assert run(session, "ZRANDMEMBER", "k", 2_000) == sorted(members, key=lambda member: -members[member])
    assert run(session, "ZRANDMEMBER", "k") in members
