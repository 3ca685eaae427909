"""What a server knows of the nodes that share its engine."""

from __future__ import annotations

from kvserver.state.replication import NODE_TIMEOUT_S, NodeFacts, Primary, ReplicationFacts


def test_server_without_an_engine_is_a_primary_alone() -> None:
    facts = ReplicationFacts()
    assert (facts.is_primary, facts.is_shared, facts.is_stale) == (True, False, False)


def test_standby_is_stale_behind_a_lease_without_a_word() -> None:
    facts = ReplicationFacts()
    facts.is_primary, facts.engine.lease_ms = False, 3000
    facts.tail_age_s = lambda: 2.9
    assert not facts.is_stale
    facts.tail_age_s = lambda: 3.1
    assert facts.is_stale


def test_node_is_up_while_it_tells_of_itself() -> None:
    node = NodeFacts("id", "host", 1, is_primary=False, applied=0, seen_s_ago=0)
    assert node.is_up
    assert not node._replace(seen_s_ago=NODE_TIMEOUT_S).is_up


def test_replicas_are_the_other_nodes_that_follow_and_are_up() -> None:
    facts = ReplicationFacts()
    node = NodeFacts("a", "host", 1, is_primary=False, applied=5, seen_s_ago=0)
    gone, old = node._replace(id="b", seen_s_ago=NODE_TIMEOUT_S), node._replace(id="c", is_primary=True)
    facts.others = [node, gone, old, node._replace(id="d", applied=7)]
    assert [each.id for each in facts.replicas] == ["a", "d"]
    assert [facts.count_applied(number) for number in (0, 5, 6, 7, 8)] == [2, 2, 1, 1, 0]


def test_node_that_has_led_is_not_the_leader_any_more() -> None:
    facts = ReplicationFacts()
    assert facts.leader is None
    facts.host, facts.port = "host", 1
    facts.primary = Primary("earlier life", "host", 1)
    assert facts.leader == facts.primary
    facts.is_primary = False
    assert facts.leader is None
    facts.primary = Primary("other", "host", 2)
    assert facts.leader == facts.primary
