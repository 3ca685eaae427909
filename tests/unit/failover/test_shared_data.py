"""The data of a server on an engine: what is told of it, and how long nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import kvserver
from helpers.node_parts import HeldLog, fresh_engine
from helpers.servers import encode
from kvserver.failover import shared_data
from kvserver.failover.shared_data import boot_time

pytestmark = pytest.mark.timeout(60)


async def _until(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 (threads change it)
            await asyncio.sleep(0.001)


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


async def test_script_that_goes_on_behind_failover_is_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = fresh_engine()
    log = HeldLog(engine)
    log.is_open = True
    monkeypatch.setattr(shared_data, "open_engine", lambda medium, snapshots: engine._replace(log=log))
    async with (
        kvserver.Server(medium=engine.url, busy_reply_threshold=20, lease_milliseconds=20_000) as server,
        kvserver.Server(medium=engine.url, lease_milliseconds=20_000) as other,
    ):
        facts = server.state.replication
        # Before it has heard of the other node, FAILOVER is refused.
        await _until(lambda: facts.replicas)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        # Behind the first script, the others can stand aside.
        writer.write(encode("EVAL", "return 1", "0"))
        assert await reader.readline() == b":1\r\n"
        log.is_open, sent = False, len(log.begun)
        source = b"""
            local ends_at = redis.call('TIME')[1] + 1000
            repeat until redis.call('TIME')[1] + 0 > ends_at
            redis.call('SET', 'k', 'v')
            return 'done'"""
        writer.write(encode("FAILOVER") + encode("EVAL", source, "0"))
        # YIELD is on its way.
        await _until(lambda: len(log.begun) > sent)
        assert server.state.scripts.busy_error
        server.clock.move(2000)
        await _until(lambda: not server.state.scripts.busy_error)
        log.is_open = True
        for number in log.begun:
            log.let_through(number)
        answer = b""
        with suppress(ConnectionResetError):
            while data := await reader.read(1000):
                answer += data
        assert answer == b""
        writer.close()
        await _until(lambda: other.state.replication.is_primary)
        assert other.state.databases[0].get(b"k") is None
