"""Long replies are encoded in steps, as they would be at once."""

from __future__ import annotations

import random

import pytest

from helpers.sessions import Server
from kvserver.data.steps import at_once
from kvserver.resp.reply import Encoded, Reply, Simple, encode
from kvserver.types.json.replies import each_reply, integer_reply, long_reply
from kvserver.types.json.work import Work


def anything(rng: random.Random, depth: int) -> Reply:
    draw = rng.random()
    if depth and draw < 0.3:
        return [anything(rng, depth - 1) for _ in range(rng.choice((0, 1, 3, 40)))]
    return rng.choice((None, 1, -5, 2.5, b"text", b"", Simple("{"), True, integer_reply(10**30), b"x" * 1000))


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_long_reply_is_encoded_as_ever(protocol: int, seed: int) -> None:
    rng = random.Random(seed)
    session = Server().session()
    session.protocol = protocol
    reply: list[Reply] = [anything(rng, 3) for _ in range(300)]
    encoded = at_once(long_reply(session, reply, Work()))
    assert type(encoded) is Encoded
    assert encoded == encode(reply, protocol)


def test_many_parts_within_count() -> None:
    session = Server().session()
    short: list[Reply] = [[1] * 100, [2] * 100]
    assert at_once(long_reply(session, short, Work())) is short
    assert type(at_once(long_reply(session, [*short, [3] * 100], Work()))) is Encoded


def test_transaction_gets_the_parts_themselves() -> None:
    session = Server().session()
    session.is_executing = True
    assert at_once(each_reply(session, [*range(1000)], lambda value: value, Work())) == [*range(1000)]


def test_long_reply_goes_in_steps() -> None:
    session = Server().session()
    assert len([*long_reply(session, [1] * 10_000, Work())]) > 5
