"""Commands of hashes: packed and large ones give the same replies, and the journal gives the same hash again."""

from __future__ import annotations

import random
from typing import Any
from unittest import mock

import pytest

from helpers.sessions import Server, run
from kvserver.types.hash import commands, value

FIELDS = ("a", "b", "c", "d", "e", "\0")


def random_call(rng: random.Random) -> list[str | int]:
    field, other = rng.choices(FIELDS, k=2)
    return rng.choice(
        [
            ["HSET", "h", field, rng.randint(0, 9)],
            ["HSET", "h", field, "x" * rng.choice((1, 64, 65)), other, 7],
            ["HSETNX", "h", field, 1],
            ["HDEL", "h", field],
            ["HDEL", "h", field, other],
            ["HINCRBY", "h", field, rng.randint(-5, 5)],
            ["HINCRBYFLOAT", "h", field, "0.5"],
        ]
    )


ASKED = ("HGETALL", "HLEN", "HKEYS", "HVALS")


@pytest.mark.patches_compiled
@pytest.mark.parametrize("seed", range(10))
def test_packed_and_large_hashes_are_the_same_to_clients(seed: int) -> None:
    servers = []
    for most in (64, 3, 0):
        rng, server, replies = random.Random(seed), Server(), []
        with mock.patch.object(commands, "MOST_MEMBERS", most), mock.patch.object(value, "MOST_MEMBERS", most):
            for _ in range(120):
                reply: Any = run(server.session(), *random_call(rng))
                replies.append(getattr(reply, "text", reply))
                replies += [sorted(asked.items()) if isinstance(asked, dict) else asked for asked in state(server)]
        servers.append((server, replies))
    assert servers[0][1] == servers[1][1] == servers[2][1]
    for server, _ in servers:
        again = Server()
        for request in server.keyspace.records.take():
            run(again.session(), *request)
        assert state(again) == state(server)


def state(server: Server) -> list[Any]:
    session = server.session()
    replies: list[Any] = [run(session, name, "h") for name in ASKED]
    return [sorted(reply) if isinstance(reply, list) else reply for reply in replies]


def test_frozen_hash_sees_no_change() -> None:
    server = Server()
    session = server.session()
    run(session, "HSET", "h", *(word for number in range(1_000) for word in (number, number)))
    before = run(session, "HGETALL", "h")
    cut = server.keyspace.cut()
    for words in ("HSET h 1 other", "HDEL h 2 3 4", "HINCRBY h 5 1", "HSETNX h new 1", "HINCRBYFLOAT h 6 0.5"):
        run(session, *words.split())
    frozen = value.fields_of(cut.lookup(b"h"))
    assert frozen is not None
    assert dict(frozen.items()) == before
    assert run(session, "HLEN", "h") == 998


@pytest.mark.parametrize(
    ("words", "record"),
    [
        ("HSET h a 1", [b"HSET", b"h", b"a", b"1"]),
        ("HDEL h f", [b"HDEL", b"h", b"f"]),
        ("HDEL h nosuch", None),
        ("HSETNX h f 1", None),
        ("HINCRBYFLOAT h n 0.5", [b"HSET", b"h", b"n", b"1.5"]),
        ("HRANDFIELD h 1", None),
    ],
)
def test_journal_gets_what_changes(words: str, record: list[bytes] | None) -> None:
    server = Server()
    run(server.session(), "HSET", "h", "f", "v", "n", "1")
    server.keyspace.records.take()
    run(server.session(), *words.split())
    assert server.keyspace.records.take() == ([] if record is None else [record])


def test_writes_to_a_large_hash_take_the_same_time_however_large_it_is() -> None:
    """Each write makes no object that grows with the hash: the chunks that a fork shares are what is copied."""
    server = Server()
    session = server.session()
    run(session, "HSET", "h", *(word for number in range(20_000) for word in (number, number)))
    hash_ = server.keyspace.live(b"h")
    run(session, "HSET", "h", "1", "other")
    assert server.keyspace.live(b"h") is hash_
