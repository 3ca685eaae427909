"""Nodes that share an engine, as facts set by hand: what commands tell of them without one."""

from __future__ import annotations

from helpers.sessions import Server
from kvserver.commands.catalogue import COMMANDS_WITH_ENGINE
from kvserver.state.replication import NodeFacts, Primary, ReplicationFacts

LOG_ID = "1f" * 20
OWN = NodeFacts("own", "10.0.0.1", 6379, is_primary=True, applied=100, seen_s_ago=0.0)
OTHERS = (
    NodeFacts("two", "10.0.0.2", 6380, is_primary=False, applied=98, seen_s_ago=0.4),
    NodeFacts("three", "10.0.0.3", 6381, is_primary=False, applied=90, seen_s_ago=1.7),
    NodeFacts("gone", "10.0.0.4", 6382, is_primary=False, applied=1, seen_s_ago=60.0),
)


def shared(*, is_primary: bool = True) -> tuple[Server, ReplicationFacts]:
    """A server whose data is in an engine, with three other nodes, one of them gone. It leads, or the first of them does."""
    server = Server(COMMANDS_WITH_ENGINE)
    facts = server.state.replication
    facts.host, facts.port, facts.node_id = OWN.host, OWN.port, OWN.id
    facts.log_id, facts.epoch, facts.applied = LOG_ID, 4, OWN.applied
    facts.is_primary = is_primary
    leader = OWN if is_primary else OTHERS[0]
    facts.primary = Primary(leader.id, leader.host, leader.port)
    facts.others = [node._replace(is_primary=node.id == leader.id) for node in OTHERS]
    facts.tail_age_s = lambda: 0.25
    facts.engine.url, facts.engine.name, facts.engine.lease_ms = "nats://host/kv", "kv", 3_000
    return server, facts
