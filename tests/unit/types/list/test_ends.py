"""Elements are pushed and popped at the ends of lists of every form, and the journal gets what repeats it."""

from __future__ import annotations

import pytest

from helpers.sessions import START_MS, Server, run
from kvserver.containers.packed import MOST_BYTES
from kvserver.dispatch.arguments import WRONG_TYPE
from kvserver.errors import CommandError
from kvserver.types.list.ends import End, end_of, move, pop, pop_some, push
from kvserver.types.list.value import List

LONG = b"x" * (MOST_BYTES + 1)


def test_words_name_ends() -> None:
    assert end_of(b"left") is End.LEFT
    assert end_of(b"RIGHT") is End.RIGHT
    with pytest.raises(CommandError, match="syntax error"):
        end_of(b"up")


@pytest.mark.parametrize("element", [b"a", LONG, b"\0"])
@pytest.mark.parametrize("end", End)
def test_queue_that_runs_empty_is_gone_and_made_anew(element: bytes, end: End) -> None:
    server = Server()
    session, keyspace = server.session(), server.keyspace
    for _ in range(3):
        assert push(session, b"k", end, [element], [b"push"]) == 1
        assert isinstance(keyspace.live(b"k"), str) == (element == b"a")
        assert pop(session, b"k", end, [b"pop"]) == element
        assert keyspace.live(b"k") is None
        assert pop(session, b"k", end, [b"pop"]) is None
        assert pop_some(session, b"k", end, 1) is None
    assert keyspace.records.take() == [[b"push"], [b"pop"]] * 3


def test_long_element_opens_a_packed_list_for_good() -> None:
    server = Server()
    session, keyspace = server.session(), server.keyspace
    push(session, b"k", End.RIGHT, [b"a", b"b"], [b"push"])
    assert isinstance(keyspace.live(b"k"), str)
    assert push(session, b"k", End.LEFT, [LONG], [b"push"]) == 3
    assert pop(session, b"k", End.LEFT, [b"pop"]) == LONG
    assert isinstance(keyspace.live(b"k"), List)
    assert run(session, "LRANGE", "k", 0, -1) == [b"a", b"b"]


def test_popped_elements_come_in_the_order_in_which_they_go() -> None:
    server = Server()
    session = server.session()
    push(session, b"k", End.RIGHT, [b"a", b"b", b"c", b"d", b"e"], [b"push"])
    server.keyspace.records.take()
    assert pop_some(session, b"k", End.LEFT, 2) == [b"a", b"b"]
    assert pop_some(session, b"k", End.RIGHT, 9) == [b"e", b"d", b"c"]
    assert server.keyspace.records.take() == [[b"LPOP", b"k", b"2"], [b"RPOP", b"k", b"3"]]


@pytest.mark.parametrize("element", [b"a", LONG])
def test_element_that_moves_within_its_list_leaves_the_expiry(element: bytes) -> None:
    server = Server()
    session, keyspace = server.session(), server.keyspace
    push(session, b"k", End.RIGHT, [element], [b"push"])
    keyspace.expire(b"k", START_MS + 5)
    keyspace.records.take()
    assert move(session, b"k", End.RIGHT, b"k", End.LEFT) == element
    assert keyspace.expires_at_ms(b"k") == START_MS + 5
    assert [words[0] for words in keyspace.records.take()] == [b"LMOVE"]


def test_replay_of_a_move_needs_no_source() -> None:
    """The source's time may have come when the journal is replayed; what was moved has none."""
    server, again = Server(), Server()
    session = server.session()
    push(session, b"k", End.RIGHT, [b"a", b"b"], [b"RPUSH", b"k", b"a", b"b"])
    server.keyspace.expire(b"k", START_MS + 5)
    assert move(session, b"k", End.RIGHT, b"l", End.LEFT) == b"b"
    again.clock.now_ms += 10
    for request in server.keyspace.records.take():
        run(again.session(), *request)
    assert run(again.session(), "LRANGE", "l", 0, -1) == [b"b"]
    assert run(again.session(), "EXISTS", "k") == 0


def test_other_kinds_are_refused_and_nothing_moves() -> None:
    server = Server()
    session = server.session()
    run(session, "SET", "s", "v")
    run(session, "RPUSH", "k", "a")
    server.keyspace.records.take()
    for refused in (
        lambda: push(session, b"s", End.LEFT, [b"a"], []),
        lambda: push(session, b"s", End.LEFT, [b"a", b"b"], []),
        lambda: pop(session, b"s", End.LEFT, []),
        lambda: pop_some(session, b"s", End.LEFT, 1),
        lambda: move(session, b"k", End.LEFT, b"s", End.LEFT),
        lambda: move(session, b"s", End.LEFT, b"k", End.LEFT),
    ):
        with pytest.raises(CommandError, match=WRONG_TYPE):
            refused()
    assert not server.keyspace.records.has_any
    assert run(session, "LRANGE", "k", 0, -1) == [b"a"]
