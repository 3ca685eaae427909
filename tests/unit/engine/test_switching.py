"""Subscribers are told when another node leads, by the message of Redis's Sentinel."""

from __future__ import annotations

from helpers.node_facts import shared
from helpers.sessions import run
from kvserver.engine.switching import tell_of_switches
from kvserver.state.channels import Message
from kvserver.state.replication import Primary
from kvserver.state.session import Session

ONE, TWO = Primary("a", "10.0.0.1", 1), Primary("b", "10.0.0.2", 2)
PAYLOAD = b"kv 10.0.0.1 1 10.0.0.2 2"


def test_subscribers_of_the_channel_and_of_patterns_are_told() -> None:
    server, facts = shared()
    told: list[tuple[Session, Message]] = []
    tell_of_switches(server.state, told.extend)
    assert facts.on_switch
    subscriber, other, stranger = server.session(), server.session(), server.session()
    run(subscriber, "SUBSCRIBE", "+switch-master")
    run(other, "PSUBSCRIBE", "+*")
    run(stranger, "SUBSCRIBE", "c")
    facts.on_switch(ONE, TWO)
    assert [(receiver, message.wire(2).split(b"\r\n")[-2]) for receiver, message in told] == [
        (subscriber, PAYLOAD),
        (other, PAYLOAD),
    ]


def test_first_primary_and_one_that_comes_back_are_no_switch() -> None:
    server, facts = shared()
    told: list[tuple[Session, Message]] = []
    tell_of_switches(server.state, told.extend)
    assert facts.on_switch
    run(server.session(), "SUBSCRIBE", "+switch-master")
    facts.on_switch(None, TWO)
    facts.on_switch(ONE, ONE._replace(id="c"))
    assert told == []
