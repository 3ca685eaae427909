"""The data of a server on an engine: what is told of it, and how long nobody waits."""

from __future__ import annotations

import pytest

import kvserver
from helpers.node_parts import fresh_engine
from kvserver.failover.shared_data import boot_time

pytestmark = pytest.mark.timeout(60)


def test_clock_goes_on() -> None:
    before = boot_time()
    assert 0 < before <= boot_time()


async def test_facts_tell_of_the_engine() -> None:
    engine = fresh_engine()
    async with kvserver.Server(medium=engine.url, announce_ip="192.0.2.1", announce_port=7) as server:
        facts = server.state.replication
        assert (facts.engine.url, facts.engine.name, facts.engine.lease_ms) == (engine.url, engine.name, 3000)
        assert 0 < facts.engine.lease_left_ms() <= 2100
        assert facts.engine.append_p99_us() >= facts.engine.append_p50_us() >= 0
        assert facts.engine.waiting_bytes() == 0
        assert facts.primary
        assert (facts.primary.id, facts.primary.host, facts.primary.port) == (facts.node_id, "192.0.2.1", 7)
        assert facts.is_shared
        assert facts.written() == facts.applied == 1


async def test_address_that_others_can_not_reach_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with kvserver.Server(medium=fresh_engine().url) as server:
        assert server.state.replication.primary
        assert server.state.replication.primary.port == server.port
    assert any("set announce-ip" in record.message for record in caplog.records)
