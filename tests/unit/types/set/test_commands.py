"""Commands of sets: all forms give the same replies, the journal gets what repeats a write, and a cut sees no change.

The replies themselves are compared with redis-server's, by the case file.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from helpers.sessions import Server, run
from kvserver.data.entries import Expiring
from kvserver.resp.reply import Error, SetOf
from kvserver.state.session import Session
from kvserver.types.set import commands, value
from kvserver.types.set.value import SET, Set, members_of

KEYS = ("k", "l", "m")
WORDS = (*range(-3, 9), "a", "b", "c", "\0", "x\1y", "x" * 65)
MOST = (0, 3, 64)
NAMES = (
    *(
        "SADD",
        "SADD",
        "SADD",
        "SREM",
        "SREM",
        "SMEMBERS",
        "SISMEMBER",
        "SMISMEMBER",
        "SCARD",
        "SMOVE",
        "SINTER",
        "SUNION",
        "SDIFF",
    ),
    *("SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE", "SINTERCARD", "SSCAN", "SPOP-ALL", "OBJECT", "DEL", "COPY"),
)
SEED = random.randrange(1 << 32)


@pytest.fixture(params=MOST)
def most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    return limit_to(monkeypatch, request.param)


def limit_to(monkeypatch: pytest.MonkeyPatch, most: int) -> int:
    """Let a packed set have so many members."""
    monkeypatch.setattr(value, "MOST_MEMBERS", most)
    monkeypatch.setattr(commands, "MOST_MEMBERS", most)
    return most


def random_request(rng: random.Random) -> list[Any]:
    name = rng.choice(NAMES)
    key, other = rng.choice(KEYS), rng.choice(KEYS)
    several = rng.choices(WORDS[:8] if rng.random() < 0.6 else WORDS, k=rng.randint(1, 4))
    match name:
        case "SADD" | "SREM" | "SMISMEMBER":
            return [name, key, *several]
        case "SISMEMBER":
            return [name, key, several[0]]
        case "SMOVE":
            return [name, key, other, several[0]]
        case "SINTER" | "SUNION" | "SDIFF" | "SINTERSTORE" | "SUNIONSTORE" | "SDIFFSTORE":
            return [name, key, *rng.choices(KEYS, k=rng.randint(1, 4))]
        case "SINTERCARD":
            return [name, 2, key, other, "LIMIT", rng.randint(0, 3)]
        case "SPOP-ALL":
            return ["SPOP", key, 99]
        case "SSCAN":
            return [name, key, 0]
        case "OBJECT":
            return ["OBJECT", "ENCODING", key]
        case "COPY":
            return [name, key, other]
        case _:
            return [name, key]


def members(session: Session, key: str) -> set[bytes]:
    """The members that SMEMBERS tells."""
    reply: Any = run(session, "SMEMBERS", key)
    return set(reply)


def comparable(reply: Any) -> Any:
    """A reply without the order of members, where that is random."""
    if isinstance(reply, Error):
        return reply.text
    if isinstance(reply, list) and len(reply) == 2 and isinstance(reply[1], list):
        return [reply[0], sorted(reply[1])]
    return sorted(reply) if isinstance(reply, SetOf) else reply


def told(entry: Any) -> tuple[bytes, set[bytes]]:
    """The encoding and the members of a set."""
    each = entry.value if isinstance(entry, Expiring) else entry
    assert isinstance(each, str | Set)
    return SET.encoding(each), set(members_of(each) or ())


def contents(server: Server) -> dict[bytes, Any]:
    return {key: told(entry) for key, entry in server.keyspace.members()}


@pytest.mark.patches_compiled
def test_all_forms_answer_alike_and_the_journal_repeats_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same random commands, with packed sets of no, three and many members, and with a cut in between."""
    replies: list[list[Any]] = []
    left: list[dict[bytes, Any]] = []
    for most in MOST:
        limit_to(monkeypatch, most)
        rng = random.Random(SEED)
        server, again = Server(), Server()
        session, replayed = server.session(), again.session()
        replies.append([])
        cut, before = server.keyspace.cut(), contents(server)
        for step in range(160):
            if step % 20 == 19:
                assert {key: told(entry) for shard in cut.shards for key, entry in shard.items()} == before
                for _ in server.keyspace.fold(cut):
                    pass
                cut, before = server.keyspace.cut(), contents(server)
            replies[-1].append(comparable(run(session, *random_request(rng))))
            for written in server.keyspace.records.take():
                assert not isinstance(run(replayed, *written), Error), f"seed {SEED}: {written}"
        left.append(contents(server))
        assert contents(again) == left[-1], f"seed {SEED}"
    assert replies[0] == replies[1] == replies[2], f"seed {SEED}"
    assert left[0] == left[1] == left[2], f"seed {SEED}"


@pytest.mark.patches_compiled
@pytest.mark.usefixtures("most")
def test_pop_takes_what_it_tells_and_the_journal_removes_that() -> None:
    server = Server()
    session = server.session()
    run(session, "SADD", "k", *range(20))
    server.keyspace.records.take()
    one: Any = run(session, "SPOP", "k")
    some: Any = run(session, "SPOP", "k", 5)
    assert isinstance(some, SetOf)
    assert server.keyspace.records.take() == [[b"SREM", b"k", one], [b"SREM", b"k", *some]]
    assert {one, *some} | members(session, "k") == {b"%d" % number for number in range(20)}
    assert run(session, "SCARD", "k") == 14
    run(session, "SPOP", "k", 99)
    assert server.keyspace.records.take() == [[b"DEL", b"k"]]
    run(session, "SADD", "k", "a")
    run(session, "SPOP", "k")
    assert run(session, "EXISTS", "k") == 0
    assert server.keyspace.records.take()[1:] == [[b"SREM", b"k", b"a"]]


@pytest.mark.patches_compiled
@pytest.mark.usefixtures("most")
def test_random_members_are_all_of_them_and_none_else() -> None:
    session = Server().session()
    run(session, "SADD", "k", *range(10))
    everything = {b"%d" % number for number in range(10)}
    assert {run(session, "SRANDMEMBER", "k") for _ in range(200)} == everything
    for count in (1, 3, 9):
        found: Any = run(session, "SRANDMEMBER", "k", count)
        assert len(found) == len(set(found)) == count
        assert set(found) <= everything
    repeated: Any = run(session, "SRANDMEMBER", "k", -100)
    assert len(repeated) == 100
    assert set(repeated) <= everything


@pytest.mark.patches_compiled
@pytest.mark.usefixtures("most")
def test_what_changes_nothing_is_not_recorded() -> None:
    server = Server()
    session = server.session()
    run(session, "SADD", "k", "a", "b")
    server.keyspace.records.take()
    for request in ("SADD k a", "SADD k a b", "SREM k x", "SREM k x y", "SREM missing x", "SMOVE k l x", "SMOVE k k a",
                    "SINTERSTORE l k missing", "SPOP missing", "SPOP missing 2", "SPOP k 0"):  # fmt: skip
        run(session, *request.split())
        assert not server.keyspace.records.has_any, request


def test_result_of_a_source_that_expires_is_recorded_as_it_was_asked_for() -> None:
    server, again = Server(), Server()
    session = server.session()
    run(session, "SADD", "k", "a", "b")
    run(session, "SADD", "l", "b")
    run(session, "PEXPIRE", "k", 1000)
    for name in ("SUNIONSTORE", "SINTERSTORE"):
        run(session, name, name, "k", "l")
    server.clock.now_ms += 5000
    run(session, "SUNIONSTORE", "late", "k", "l")
    written = server.keyspace.records.take()
    assert [b"SUNIONSTORE", b"SUNIONSTORE", b"k", b"l"] in written
    # As a start does: nothing is due but by a record.
    again.keyspace.stop_clock()
    for request in written:
        run(again.session(), *request)
    assert contents(again) == contents(server)


def test_expiry_is_kept_by_changes_and_gone_with_the_set() -> None:
    server = Server()
    session = server.session()
    for many in (["a", "b", "c"], list(range(100))):
        run(session, "SADD", "k", *many)
        run(session, "PEXPIRE", "k", 1000)
        run(session, "SADD", "k", "new")
        run(session, "SREM", "k", many[0])
        assert run(session, "PTTL", "k") == 1000
        run(session, "SREM", "k", "new", *many)
        run(session, "SADD", "k", "a")
        assert run(session, "PTTL", "k") == -1
        run(session, "DEL", "k")


def test_change_of_a_large_set_leaves_the_frozen_one_alone() -> None:
    server = Server()
    session = server.session()
    run(session, "SADD", "k", *range(1000))
    for request in ("SADD k a", "SREM k 5", "SPOP k", "SPOP k 10", "SMOVE k l 7", "SMOVE l k 7", "SDIFFSTORE k k k"):
        before = members(session, "k")
        cut = server.keyspace.cut()
        frozen = cut.lookup(b"k")
        assert isinstance(frozen, Set)
        run(session, *request.split())
        assert set(frozen) == before, request
        for _ in server.keyspace.fold(cut):
            pass
        run(session, "SADD", "k", *range(1000))


def test_one_of_a_large_set_is_changed_in_place() -> None:
    server = Server()
    session = server.session()
    run(session, "SADD", "k", *range(1000))
    present = server.keyspace.live(b"k")
    run(session, "SADD", "k", "a")
    run(session, "SREM", "k", "a")
    assert server.keyspace.live(b"k") is present


def test_scan_of_a_large_set_finds_all() -> None:
    session = Server().session()
    run(session, "SADD", "k", "a", *range(2000))
    reply: Any = run(session, "SSCAN", "k", 0, "COUNT", 50)
    found = set(reply[1])
    calls = 1
    while reply[0] != b"0":
        reply = run(session, "SSCAN", "k", reply[0], "COUNT", 50)
        found |= set(reply[1])
        calls += 1
    assert calls > 5
    assert found == {b"a", *(b"%d" % number for number in range(2000))}
