"""ROLE, WAIT, WAITAOF, FAILOVER and REPLICAOF say what Redis says of nodes whose facts are set by hand."""

from __future__ import annotations

import pytest

from helpers.node_facts import OTHERS, shared
from helpers.servers import ServerProcess, parse
from helpers.sessions import Server, run, text
from kvserver.commands import replication
from kvserver.dispatch.effect import Await, Failover, Follow, Unfollow
from kvserver.resp.reply import OK, Error
from kvserver.state.replication import NODE_TIMEOUT_S
from kvserver.state.source import LinkState, SourceFacts

# --- ROLE ---


def test_role_is_that_of_one_alone() -> None:
    assert run(Server().session(), "ROLE") == [b"master", 0, []]


def test_role_of_a_primary_has_its_replicas_that_are_up() -> None:
    server, _ = shared()
    replicas = [[b"10.0.0.2", b"6380", b"98"], [b"10.0.0.3", b"6381", b"90"]]
    assert run(server.session(), "ROLE") == [b"master", 100, replicas]


def test_role_of_a_standby_names_its_primary_and_the_link() -> None:
    server, facts = shared(is_primary=False)
    assert run(server.session(), "ROLE") == [b"slave", b"10.0.0.2", 6380, b"connected", 100]
    facts.is_link_up = False
    assert run(server.session(), "ROLE") == [b"slave", b"10.0.0.2", 6380, b"connecting", 100]
    facts.primary = None
    assert run(server.session(), "ROLE") == [b"slave", b"", 0, b"connect", -1]


# --- WAIT, WAITAOF ---


def awaited(effect: object) -> Await:
    assert isinstance(effect, Await)
    return effect


def test_wait_counts_the_nodes_that_have_what_was_written() -> None:
    server, facts = shared()
    session = server.session()
    facts.written = lambda: 98
    assert run(session, "WAIT", 0, 0) == run(session, "WAIT", 1, 0) == run(session, "WAIT", -1, 0) == 1
    facts.written = lambda: 90
    assert run(session, "WAIT", 2, 0) == 2
    facts.written = lambda: 99
    effect = awaited(run(session, "WAIT", 1, 70))
    assert (effect.timeout_ms, effect.attempt(), effect.otherwise()) == (70, None, 0)
    facts.others = [OTHERS[0]._replace(applied=99), OTHERS[1]]
    # Others may write on meanwhile.
    facts.written = lambda: 500
    assert (effect.attempt(), effect.otherwise()) == (1, 1)


def test_wait_in_the_tick_of_a_write_waits_for_that_write() -> None:
    server, facts = shared()
    session = server.session()
    facts.written = lambda: 90
    run(session, "SET", "k", "v")
    effect = awaited(run(session, "WAIT", 1, 0))
    assert effect.otherwise() == 0
    # The tick ends, and its records have an entry.
    server.state.databases.records.take()
    facts.written = lambda: 101
    assert (effect.attempt(), effect.otherwise()) == (None, 0)
    facts.others = [OTHERS[0]._replace(applied=101)]
    assert effect.attempt() == 1


def test_wait_alone_waits_for_nobody() -> None:
    session = Server().session()
    assert run(session, "WAIT", 0, 10) == 0
    effect = awaited(run(session, "WAIT", 1, 10))
    assert (effect.attempt(), effect.otherwise()) == (None, 0)


def test_waitaof_tells_of_the_engine_and_of_the_nodes() -> None:
    server, facts = shared()
    session = server.session()
    facts.written = lambda: 98
    assert run(session, "WAITAOF", 1, 1, 0) == [1, 1]
    facts.written = lambda: 103
    assert run(session, "WAITAOF", 0, 0, 0) == [0, 0]
    effect = awaited(run(session, "WAITAOF", 1, 0, 5))
    assert (effect.attempt(), effect.otherwise()) == (None, [0, 0])
    facts.applied = 103
    assert effect.attempt() == [1, 0]
    effect = awaited(run(session, "WAITAOF", 1, 1, 5))
    facts.others = [OTHERS[0]._replace(applied=103)]
    assert effect.attempt() == [1, 1]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("WAITAOF 2 0 0", replication.NOT_ONE),
        ("WAITAOF -1 0 0", replication.NOT_ONE),
        ("WAITAOF x 0 0", "ERR value is not an integer or out of range"),
        ("WAITAOF 1 -1 0", replication.NOT_POSITIVE),
        ("WAITAOF 1 x 0", "ERR value is not an integer or out of range"),
        ("WAITAOF 1 0 -1", "ERR timeout is negative"),
        ("WAITAOF 1 0 x", "ERR timeout is not an integer or out of range"),
        ("WAITAOF 1 0", "ERR wrong number of arguments for 'waitaof' command"),
    ],
)
def test_wrong_waitaof_is_told(words: str, error: str) -> None:
    assert text(run(shared()[0].session(), *words.split())) == error


def test_standby_waits_for_nobody() -> None:
    session = shared(is_primary=False)[0].session()
    # Redis asks for the role before it reads the words of the one, and behind that for the other.
    assert text(run(session, "WAIT", "x", "y")) == replication.NO_WAIT
    assert text(run(session, "WAITAOF", 2, 0, 0)) == replication.NOT_ONE
    assert text(run(session, "WAITAOF", 1, 0, 0)) == replication.NO_WAITAOF


# --- FAILOVER, REPLICAOF ---

ASKED = (
    *("FAILOVER", "FAILOVER ABORT", "FAILOVER ABORT TIMEOUT 1", "FAILOVER TO", "FAILOVER TO h", "FAILOVER TO h x"),
    *("FAILOVER TO h 1", "FAILOVER TO h 1 FORCE", "FAILOVER TO h 1 FORCE FORCE", "FAILOVER TO h 1 TO h 1", "FAILOVER FORCE"),
    *("FAILOVER TIMEOUT", "FAILOVER TIMEOUT 0", "FAILOVER TIMEOUT -1", "FAILOVER TIMEOUT x", "FAILOVER TIMEOUT 1 TIMEOUT 1"),
    *("FAILOVER TIMEOUT 10 FORCE", "FAILOVER TO h 1 TIMEOUT 10 FORCE", "FAILOVER NOW", "WAIT 1 x", "WAIT x 1", "WAIT 1 -1"),
    *("WAIT 0 0", "WAIT -1 0", "WAIT 1", "REPLICAOF", "REPLICAOF h", "SLAVEOF h 1 2", "ROLE x", "ROLE"),
)


@pytest.mark.parametrize("words", ASKED)
def test_server_alone_answers_as_redis_alone(redis_oracle: ServerProcess, words: str) -> None:
    reply = run(Server().session(), *words.split())
    theirs = parse(redis_oracle.once(*words.split()))
    if isinstance(reply, Error):
        assert reply.text == str(theirs)
    else:
        assert reply == theirs


def test_primary_yields_to_whoever_is_up() -> None:
    server, facts = shared()
    session = server.session()
    assert run(session, "FAILOVER") == Failover()
    assert run(session, "FAILOVER", "TIMEOUT", 100) == Failover()
    assert text(run(session, "FAILOVER", "FORCE")) == replication.NO_FORCE
    assert text(run(session, "FAILOVER", "TO", "10.0.0.9", 1)) == replication.NO_TARGET
    assert text(run(session, "FAILOVER", "TO", "10.0.0.4", 6382)) == replication.OFFLINE
    assert text(run(session, "FAILOVER", "TO", "10.0.0.2", 6380)) == replication.SEVERAL
    facts.others = OTHERS[:1]
    assert run(session, "FAILOVER", "TO", "10.0.0.2", 6380, "FORCE", "TIMEOUT", 5) == Failover()
    assert text(run(session, "FAILOVER", "ABORT")) == replication.NONE_IN_PROGRESS
    facts.is_yielding = True
    assert text(run(session, "FAILOVER")) == replication.IN_PROGRESS
    assert text(run(session, "FAILOVER", "ABORT")) == replication.NOT_ABORTED
    facts.is_yielding = False
    facts.others = [OTHERS[0]._replace(seen_s_ago=NODE_TIMEOUT_S)]
    assert text(run(session, "FAILOVER")) == replication.NO_REPLICAS


def test_standby_has_nothing_to_yield() -> None:
    assert text(run(shared(is_primary=False)[0].session(), "FAILOVER")) == replication.FROM_REPLICA


def test_server_of_a_folder_is_told_whom_to_follow() -> None:
    server = Server()
    session, facts = server.session(), server.state.replication
    assert run(session, "REPLICAOF", "h", 1) == Follow("h", 1)
    assert run(session, "SLAVEOF", "NO", "ONE") == OK
    for port in ("x", "65536", "-1", ""):
        assert text(run(session, "REPLICAOF", "h", port)) == replication.BAD_PORT
    source = facts.source = SourceFacts("Host", 1, lambda: 0.0)
    facts.is_primary = False
    assert run(session, "REPLICAOF", "hOST", 1) == replication.FOLLOWED
    assert run(session, "REPLICAOF", "host", 2) == Follow("host", 2)
    assert run(session, "REPLICAOF", "no", "one") == Unfollow()
    source.has_given_up = True
    assert run(session, "REPLICAOF", "Host", 1) == Follow("Host", 1)


def test_follower_tells_its_role_by_the_state_of_the_link() -> None:
    server = Server()
    facts = server.state.replication
    source = facts.source = SourceFacts("10.0.0.1", 6379, lambda: 0.0)
    facts.is_primary = False
    for state in LinkState:
        source.state, source.offset = state, 77
        offset = 77 if state is LinkState.CONNECTED else -1
        assert run(server.session(), "ROLE") == [b"slave", b"10.0.0.1", 6379, state.value.encode(), offset]


@pytest.mark.parametrize("words", ["REPLICAOF NO x", "REPLICAOF h 1", "SLAVEOF one no"])
def test_who_leads_is_nothing_to_be_told(words: str) -> None:
    for is_primary in (True, False):
        assert text(run(shared(is_primary=is_primary)[0].session(), *words.split())) == replication.BY_THE_LOG
