"""XREADGROUP waits for what its group was not given yet, and ends with the stream or the group. XACK ends what is pending.

The case file compares replies with redis-server.
"""

from __future__ import annotations

import pytest

from helpers.sessions import Server, run
from kvserver.dispatch.effect import Block
from kvserver.errors import CommandError
from kvserver.resp.reply import NULL_ARRAY, Encoded, Pairs, encode
from kvserver.state.session import Session


def waiting(session: Session, *options: str | int) -> Block:
    block = run(session, "XREADGROUP", "GROUP", "g", "c", *options, "BLOCK", 7, "STREAMS", "k", "l", ">", ">")
    assert isinstance(block, Block)
    return block


def session_with_groups() -> Session:
    session = Server().session()
    for key in ("k", "l"):
        run(session, "XGROUP", "CREATE", key, "g", 0, "MKSTREAM")
    return session


def test_waiter_gets_what_comes_once() -> None:
    session = session_with_groups()
    block = waiting(session, "COUNT", 2)
    assert (block.keys, block.timeout_ms, block.otherwise) == ([b"k", b"l"], 7, NULL_ARRAY)
    assert block.kind == "stream group g"
    assert block.attempt(b"k") is block.attempt(b"l") is None
    for number in range(1, 4):
        run(session, "XADD", "l", number, "f", number)
    found = block.attempt(b"l")
    assert found == Encoded(encode(Pairs([[b"l", [[b"1-0", [b"f", b"1"]], [b"2-0", [b"f", b"2"]]]]]), 2))
    session.protocol = 3
    assert block.attempt(b"l") == Encoded(encode(Pairs([[b"l", [[b"3-0", [b"f", b"3"]]]]]), 3))
    assert block.attempt(b"l") is None
    assert run(session, "XPENDING", "l", "g") == [3, b"1-0", b"3-0", [[b"c", b"3"]]]


def test_waiter_gets_a_thousand_at_most() -> None:
    session = session_with_groups()
    block = waiting(session)
    for number in range(1, 1002):
        run(session, "XADD", "k", number, "f", "v")
    assert len(block.attempt(b"k")[0][1]) == 1000  # type: ignore[index, arg-type]


def test_waiter_does_not_see_what_came_and_went() -> None:
    session = session_with_groups()
    block = waiting(session)
    run(session, "XADD", "k", 1, "f", "v")
    run(session, "XDEL", "k", 1)
    assert block.attempt(b"k") is None


def test_waiter_is_told_that_its_stream_or_its_group_is_gone() -> None:
    session = session_with_groups()
    block = waiting(session)
    run(session, "XGROUP", "DESTROY", "k", "g")
    with pytest.raises(CommandError, match=r"^NOGROUP the consumer group this client was blocked on no longer exists$"):
        block.attempt(b"k")
    for words in ("SET k v", "DEL k"):
        run(session, *words.split())
        with pytest.raises(CommandError, match=r"^UNBLOCKED the stream key no longer exists$"):
            block.attempt(b"k")
    assert block.attempt(b"l") is None


def test_history_counts_deliveries_and_tells_what_was_deleted() -> None:
    session = session_with_groups()
    for number in (1, 2):
        run(session, "XADD", "k", number, "f", "v")
    run(session, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">")
    run(session, "XDEL", "k", 1)
    session.server.now_ms.now_ms += 5  # type: ignore[attr-defined]
    found = run(session, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", 0)
    assert found == [[b"k", [[b"1-0", NULL_ARRAY], [b"2-0", [b"f", b"v"]]]]]
    assert run(session, "XPENDING", "k", "g", "-", "+", 9) == [[b"1-0", b"c", 5, 1], [b"2-0", b"c", 0, 2]]


def test_acknowledged_entries_are_pending_no_more() -> None:
    session = session_with_groups()
    run(session, "XADD", "k", 1, "f", "v")
    run(session, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "k", ">")
    records = session.keyspace.records
    records.take()
    assert run(session, "XACK", "k", "g", 2) == run(session, "XACK", "k", "h", 1) == run(session, "XACK", "n", "g", 1) == 0
    assert records.take() == []
    assert run(session, "XACK", "k", "g", 1, 2, 1) == 1
    assert records.take() == [b"XACK k g 1 2 1".split()]
    assert run(session, "XPENDING", "k", "g") == [0, None, None, NULL_ARRAY]
