"""single: the usual cases of ZADD, ZINCRBY and ZPOPMIN are what these do to a key that expires, which is none of them."""

from __future__ import annotations

import os
import random

import pytest

from helpers.sessions import Server, run
from kvserver.resp.reply import encode
from kvserver.types.sorted_set import single

SEED = int(os.environ.get("KVSERVER_SINGLE_SEED", random.randrange(1 << 32)))
SCORES = ("1", "1", "2", "2.5", "-3", "0", "-0", "inf", "-inf", "nan", "x", "1e400")
KEYS = ("usual", "expires")


@pytest.mark.parametrize(("members", "protocol"), [(6, 2), (200, 3)])
def test_one_member_is_given_a_score_and_popped_as_by_the_general_way(members: int, protocol: int) -> None:
    print(f"KVSERVER_SINGLE_SEED={SEED}")
    rng = random.Random(SEED)
    session = Server().session()
    session.protocol = protocol
    names = [f"m{number}" for number in range(members)] + ["a\0b", "c\1", "", "x" * 65]
    for turn in range(600):
        name, score = rng.choice(names), rng.choice(SCORES)
        kinds = (("ZADD", score, name), ("ZINCRBY", score, name), ("ZPOPMIN",))
        command = rng.choice(kinds) if turn > members else kinds[0]
        said = [encode(run(session, command[0], key, *command[1:]), protocol) for key in KEYS]  # type: ignore[arg-type]
        run(session, "PEXPIRE", "expires", "100000")
        replies = [run(session, "ZRANGE", key, "0", "-1", "WITHSCORES") for key in KEYS]
        said += [encode(reply, protocol) for reply in replies]  # type: ignore[arg-type]
        assert said[::2] == said[1::2], command
        assert run(session, "OBJECT", "ENCODING", "usual") == run(session, "OBJECT", "ENCODING", "expires")


def test_what_is_not_so_simple_is_left_alone() -> None:
    session = Server().session()
    request = [b"ZADD", b"k", b"1", b"m"]
    for entry in (None, b"string", "h\0m\x011\0"):
        assert entry is None or single.add(session, request, entry) is None
        assert single.increment(session, request, entry) is None
        assert single.pop_first(session, request, entry) is None
    full = "z\0" + "".join(f"m{number:02d}\x01{number}\0" for number in range(64))
    for member in (b"new", b"a\0", b"x" * 65):
        assert single.add(session, [b"ZADD", b"k", b"1", member], full) is None
        assert single.increment(session, [b"ZINCRBY", b"k", b"1", member], full) is None
    assert session.keyspace.records.take() == []
