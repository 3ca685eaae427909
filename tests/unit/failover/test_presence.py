"""The nodes learn of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from helpers.node_parts import Clock, fresh_engine
from kvserver.errors import MediumError
from kvserver.failover.presence import Neighbours
from kvserver.media.shared import Engine, Node
from kvserver.state.replication import ReplicationFacts

pytestmark = pytest.mark.timeout(30)


def neighbours(engine: Engine, name: str, clock: Clock) -> tuple[Neighbours, ReplicationFacts]:
    facts = ReplicationFacts()
    facts.node_id = name
    one = Neighbours(facts, engine.presence, 0.01, clock)
    one.host, one.port = f"{name}.example", 6379
    return one, facts


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 (threads change it)
            await asyncio.sleep(0.001)


async def test_nodes_tell_of_themselves_and_leave() -> None:
    engine, clock = fresh_engine(), Clock()
    (one, facts), (other, others_facts) = neighbours(engine, "a", clock), neighbours(engine, "b", clock)
    others_facts.is_primary, others_facts.applied = False, 5
    one.begin()
    other.begin()
    await until(lambda: facts.others and others_facts.others)
    (node,) = facts.others
    assert (node.id, node.host, node.port, node.is_primary, node.applied) == ("b", "b.example", 6379, False, 5)
    others_facts.applied = 6
    await until(lambda: facts.others[0].applied == 6)
    await other.leave()
    await until(lambda: not facts.others)
    other.close()
    one.halt()
    one.close()


async def test_node_that_says_nothing_new_gets_older() -> None:
    engine, clock = fresh_engine(), Clock()
    engine.presence.tell(Node("b", "b.example", 1, True, 3, 1))
    one, facts = neighbours(engine, "a", clock)
    one.begin()
    await until(lambda: facts.others)
    clock.now += 6
    await until(lambda: facts.others[0].seen_s_ago == 6)
    assert not facts.others[0].is_up
    engine.presence.tell(Node("b", "b.example", 1, True, 3, 2))
    await until(lambda: facts.others[0].is_up)
    one.halt()
    one.close()


async def test_earlier_life_of_a_node_that_was_started_anew_is_no_node() -> None:
    engine, clock = fresh_engine(), Clock()
    engine.presence.tell(Node("early", "b.example", 1, True, 3, 1))
    engine.presence.tell(Node("own early", "a.example", 6379, False, 3, 1))
    engine.presence.tell(Node("elsewhere", "c.example", 1, False, 3, 1))
    one, facts = neighbours(engine, "a", clock)
    one.begin()
    await until(lambda: facts.others)
    clock.now += 0.05
    engine.presence.tell(Node("late", "b.example", 1, False, 4, 1))
    await until(lambda: [node.id for node in facts.others] == ["late", "elsewhere"])
    one.halt()
    one.close()


class Failing:
    def __init__(self, error: Exception) -> None:
        self.calls = 0
        self.error = error

    def tell(self, node: Node) -> None:
        self.calls += 1
        raise self.error

    def nodes(self) -> list[Node]:
        return []

    def leave(self, node_id: str) -> None:
        raise MediumError("away")

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("error", [MediumError("away"), ValueError("away")], ids=["engine", "defect"])
async def test_engine_that_fails_is_told_once_and_asked_again(caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    failing = Failing(error)
    one, _ = neighbours(fresh_engine()._replace(presence=failing), "a", Clock())
    one.begin()
    await until(lambda: failing.calls > 3)
    assert [record.message for record in caplog.records].count("the engine does not tell of other nodes: away") == 1
    await one.leave()
    one.close()
