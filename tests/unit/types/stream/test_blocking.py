"""XREAD waits for what comes behind the ids that its caller knows. The case file compares its replies with redis-server."""

from __future__ import annotations

from helpers.sessions import Server, run
from kvserver.dispatch.effect import Block
from kvserver.resp.reply import NULL_ARRAY, Pairs, Reply, encode


def test_what_is_there_is_a_map() -> None:
    session = Server().session()
    run(session, "XADD", "k", "1-1", "f", "v")
    found = run(session, "XREAD", "BLOCK", 0, "STREAMS", "k", "none", "k", 0, 0, "1-0")
    row: Reply = [[b"1-1", [b"f", b"v"]]]
    assert isinstance(found, Pairs)
    assert found == [[b"k", row], [b"k", row]]
    assert encode(found, 2) == encode(list(found), 2)
    assert encode(found, 3) == b"%2\r\n" + encode([b"k", row, b"k", row], 3).removeprefix(b"*4\r\n")
    assert run(session, "XREAD", "STREAMS", "k", "1-1") is NULL_ARRAY


def test_reader_waits_for_what_is_behind_its_id() -> None:
    session = Server().session()
    run(session, "XADD", "k", "1-1", "f", "v")
    block = run(session, "XREAD", "COUNT", 1, "BLOCK", 5, "STREAMS", "k", "l", "$", "0")
    assert isinstance(block, Block)
    assert (block.keys, block.timeout_ms, block.otherwise) == ([b"k", b"l"], 5, NULL_ARRAY)
    assert block.attempt(b"k") is block.attempt(b"l") is None
    run(session, "SADD", "l", "a")
    assert block.attempt(b"l") is None
    run(session, "XADD", "k", "1-2", "f", "v")
    run(session, "XADD", "k", "1-3", "f", "v")
    assert block.attempt(b"k") == [[b"k", [[b"1-2", [b"f", b"v"]]]]]
    # As in Redis, what came and went wakes the reader, too.
    run(session, "XTRIM", "k", "MAXLEN", 0)
    assert block.attempt(b"k") == [[b"k", []]]


def test_waiter_gets_a_thousand_at_most() -> None:
    session = Server().session()
    block = run(session, "XREAD", "BLOCK", 0, "STREAMS", "k", 0)
    assert isinstance(block, Block)
    for number in range(1, 1002):
        run(session, "XADD", "k", number, "f", "v")
    assert len(block.attempt(b"k")[0][1]) == 1000  # type: ignore[index, arg-type]
    # Who need not wait gets all.
    assert len(run(session, "XREAD", "BLOCK", 0, "STREAMS", "k", 0)[0][1]) == 1001  # type: ignore[index, arg-type]
