"""The data of a server on an engine: what is told of it, and how long nobody waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import kvserver
from helpers.node_parts import HeldLog, fresh_engine
from helpers.servers import encode
from kvserver.errors import MediumError, Unknown
from kvserver.failover import shared_data
from kvserver.failover.shared_data import boot_time
from kvserver.formats.control import Lead, encode_lead
from kvserver.formats.manifest import Manifest
from kvserver.media.memory_engine import MemoryVault
from kvserver.media.shared import Engine, ObjectWriter, Tip

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


class FailingVault:
    """A vault of one server. `failure`: every commit of a manifest ends with that; behind Unknown, nothing can be read."""

    def __init__(self, vault: MemoryVault) -> None:
        self._vault = vault
        self.failure: MediumError | None = None
        # The threads that were in a commit which failed.
        self.threads: set[threading.Thread] = set()

    def begin(self) -> ObjectWriter:
        return self._vault.begin()

    def manifest(self) -> tuple[Manifest | None, str]:
        if isinstance(self.failure, Unknown) and threading.current_thread() in self.threads:
            raise MediumError("the vault does not answer")
        return self._vault.manifest()

    def commit(self, manifest: Manifest, tag: str) -> str:
        if self.failure:
            self.threads.add(threading.current_thread())
            raise self.failure
        return self._vault.commit(manifest, tag)

    def read(self, name: str, offset: int, length: int) -> bytes:
        return self._vault.read(name, offset, length)

    def remove(self, names: list[str]) -> None:
        self._vault.remove(names)

    def close(self) -> None:
        self._vault.close()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine that servers open from here on, with a FailingVault."""
    engine = fresh_engine()
    assert isinstance(engine.vault, MemoryVault)
    failing = engine._replace(vault=FailingVault(engine.vault))

    def open_failing(medium: str, snapshots: str) -> Engine:
        assert medium == engine.url
        return failing

    monkeypatch.setattr(shared_data, "open_engine", open_failing)
    return failing


async def until(is_so: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 (threads change it)
            await asyncio.sleep(0.002)


def vault_of(engine: Engine) -> FailingVault:
    assert isinstance(engine.vault, FailingVault)
    return engine.vault


async def test_save_fails_where_the_manifest_certainly_can_not_be_replaced_and_the_next_one_succeeds(engine: Engine) -> None:
    vault = vault_of(engine)
    async with kvserver.Server(medium=engine.url) as server, redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("a", "1")
        vault.failure = MediumError("no space left on device")
        with pytest.raises(redis.exceptions.ResponseError, match="no space left on device"):
            await client.save()
        assert (await client.info("persistence"))["rdb_last_bgsave_status"] == "err"
        vault.failure = None
        await client.save()
        manifest, _ = vault.manifest()
        assert manifest
        assert len(manifest.frames) == 1


async def test_server_ends_while_a_snapshot_waits_for_a_vault_that_is_away(engine: Engine) -> None:
    vault = vault_of(engine)
    server = kvserver.Server(medium=engine.url)
    await server.start()
    async with redis.asyncio.Redis.from_url(server.url) as client:
        vault.failure = Unknown("the connection broke")
        await client.bgsave()
        await until(lambda: vault.threads)
    async with asyncio.timeout(20):
        await server.stop()
    assert not any(thread.is_alive() for thread in vault.threads)


def lead_by_force(engine: Engine, epoch: int) -> None:
    """Append a LEAD as another node would that has applied everything."""
    tip = Tip()
    for entry in engine.log.read(tip.position, 0):
        tip = tip.behind(entry.position, entry.mark, entry.data)
    lead = Lead(epoch, "rival", "rival.example", 1, 1000)
    engine.log.append(encode_lead(lead), tip.mark(epoch), tip.position)


async def test_demoted_node_leaves_no_thread_in_the_vault(engine: Engine) -> None:
    vault = vault_of(engine)
    async with kvserver.Server(medium=engine.url, lease_milliseconds=20_000) as server:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            vault.failure = Unknown("the connection broke")
            await client.bgsave()
            await until(lambda: vault.threads)
        lead_by_force(engine, 2)
        # The heartbeats of 20 s tell nothing, and so a write has to.
        async with redis.asyncio.Redis.from_url(server.url) as client:
            with pytest.raises(redis.exceptions.ConnectionError):
                await client.set("a", "1")
        await until(lambda: not any(thread.is_alive() for thread in vault.threads))
        assert len(vault.threads) == 1


async def test_node_that_takes_over_while_the_vault_is_away_ends(engine: Engine) -> None:
    vault = vault_of(engine)
    vault.failure = Unknown("the connection broke")
    lead_by_force(engine, 1)
    server = kvserver.Server(medium=engine.url, lease_milliseconds=500)
    await server.start()
    await until(lambda: vault.threads)
    async with asyncio.timeout(20):
        await server.stop()
    assert not any(thread.is_alive() for thread in vault.threads)
