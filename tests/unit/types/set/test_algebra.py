"""Algebra of sets: the results are those of Python's sets, in all forms, and no set under a key is changed by it."""

from __future__ import annotations

import random
from functools import reduce
from operator import and_, or_, sub
from typing import Any

import pytest

from helpers.sessions import Server, run
from kvserver.resp.reply import SetOf
from kvserver.state.session import Session

OPERATIONS = {"SINTER": and_, "SUNION": or_, "SDIFF": sub}
SEED = random.randrange(1 << 32)


def members(session: Session, key: str) -> set[bytes]:
    """The members that SMEMBERS tells."""
    reply: Any = run(session, "SMEMBERS", key)
    return set(reply)


@pytest.mark.parametrize("name", OPERATIONS)
def test_result_is_that_of_pythons_sets(name: str) -> None:
    rng = random.Random(SEED)
    session = Server().session()
    for _ in range(30):
        sets = []
        for place in range(rng.randint(1, 4)):
            size = rng.choice((1, 5, 50, 80, 200))
            words = [b"%d" % number for number in rng.sample(range(size * 2), size)]
            words += [b"word"] * rng.randint(0, 1)
            run(session, "DEL", f"k{place}")
            run(session, "SADD", f"k{place}", *words)
            sets.append(set(words))
        keys = [f"k{place}" for place in range(len(sets))]
        expected = reduce(OPERATIONS[name], sets)
        found: Any = run(session, name, *keys)
        assert isinstance(found, SetOf)
        assert len(found) == len(expected), f"seed {SEED}"
        assert set(found) == expected, f"seed {SEED}"
        assert run(session, f"{name}STORE", "result", *keys) == len(expected)
        assert members(session, "result") == expected
        if name == "SINTER":
            assert run(session, "SINTERCARD", len(keys), *keys) == len(expected)
            assert run(session, "SINTERCARD", len(keys), *keys, "LIMIT", 3) == min(3, len(expected))
        for key, each in zip(keys, sets, strict=True):
            assert members(session, key) == each


def test_result_may_replace_one_of_its_sources() -> None:
    session = Server().session()
    for many in (3, 300):
        run(session, "SADD", "k", *range(many))
        run(session, "SADD", "l", 1)
        assert run(session, "SDIFFSTORE", "k", "k", "l") == many - 1
        assert run(session, "SUNIONSTORE", "k", "k", "l") == many
        assert run(session, "SINTERSTORE", "k", "k", "l") == 1
        assert run(session, "SDIFFSTORE", "k", "k", "l") == 0
        assert run(session, "EXISTS", "k") == 0


def test_stored_result_is_independent_of_its_source() -> None:
    session = Server().session()
    run(session, "SADD", "k", *range(1000))
    run(session, "SUNIONSTORE", "l", "k")
    run(session, "SREM", "l", 1)
    assert run(session, "SISMEMBER", "k", 1) == 1
