"""The role of a node, on whole servers that share an engine in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

import kvserver
from helpers.memory_nodes import (
    break_log,
    client_of,
    empty_log,
    end_of,
    leads,
    node,
    take_over_by_force,
    until,
)
from helpers.node_parts import fresh_engine
from kvserver.errors import MediumError, NotReady, StartError, Trimmed
from kvserver.failover import leadership
from kvserver.failover.leadership import Leadership, log_id
from kvserver.failover.standby import Standby
from kvserver.formats.manifest import Manifest
from kvserver.media.memory_engine import open_memory_engine
from kvserver.media.shared import Entry, Tip

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def name() -> str:
    return fresh_engine().name


async def test_standby_takes_over_at_once_from_one_who_leaves(name: str) -> None:
    one, other = node(name), node(name)
    await one.start()
    await other.start()
    assert (leads(one), leads(other)) == (True, False)
    async with client_of(one) as client:
        await client.set("a", "1")
    await one.stop()
    await until(lambda: leads(other))
    # What it takes over counts for the next snapshot.
    assert other._parts.data.journal.records_since_link == 1
    assert other.state.journal.segment_bytes > 0
    async with client_of(other) as client:
        assert await client.get("a") == "1"
        await client.set("a", "2")
    assert other.state.replication.epoch == 2
    assert other.state.replication.switches == 1
    await other.stop()


async def test_standby_takes_over_from_one_who_dies_and_the_dead_one_follows(name: str) -> None:
    one, other = node(name), node(name)
    await one.start()
    await other.start()
    async with client_of(one) as client:
        await client.set("a", "1")
    one._crash()
    await until(lambda: leads(other))
    async with client_of(other) as client:
        assert await client.get("a") == "1"
        await client.set("b", "2")
    await one.start()
    assert not leads(one)
    async with client_of(one) as client:
        assert await client.get("b") == "2"
        with pytest.raises(redis.exceptions.ReadOnlyError):
            await client.set("b", "3")
    await one.stop()
    await other.stop()


async def test_refused_node_closes_its_clients_and_follows_with_what_the_log_has(name: str) -> None:
    one = node(name)
    await one.start()
    async with client_of(one) as client:
        await client.set("a", "1")
        take_over_by_force(name, 2)
        # Its log never takes this, and nobody is told that it did.
        with pytest.raises((redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)):
            await client.set("a", "lost")
    await until(lambda: one.is_running)
    assert not leads(one)
    assert one.state.replication.primary
    assert one.state.replication.primary.id == "rival"
    async with client_of(one) as client:
        assert await client.get("a") == "1"
    # The rival says nothing more.
    await until(lambda: leads(one))
    assert one.state.replication.epoch == 3
    await one.stop()


async def test_node_that_has_yielded_lets_others_be_first(name: str) -> None:
    one, other = node(name), node(name)
    await one.start()
    await other.start()
    async with client_of(one) as client:
        await client.set("a", "1")
    await one.fail_over()
    await until(lambda: leads(other))
    await until(lambda: one.is_running)
    assert not leads(one)
    async with client_of(one) as client:
        assert await client.get("a") == "1"
    await other.stop()
    await until(lambda: leads(one))
    await one.stop()


async def test_place_that_was_trimmed_is_not_led_from(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby that lags behind a snapshot finds nothing behind its place, which is no reason to lead."""
    one, other = node(name), node(name)
    await one.start()
    await other.start()
    async with client_of(one) as client:
        await client.set("a", "1")
        await until(lambda: other.state.replication.applied == one.state.replication.applied)
        # As an object store does: what was trimmed looks as if nothing had ever been there.
        log = other._parts.data.leadership._engine.log  # type: ignore[union-attr]
        read = log.read
        monkeypatch.setattr(log, "read", lambda after, wait_s: [])
        await client.set("a", "2")
        await client.save()
        loaded = other._parts.data.leadership._standby.load  # type: ignore[union-attr]

        async def load() -> None:
            monkeypatch.setattr(log, "read", read)
            await loaded()

        monkeypatch.setattr(other._parts.data.leadership._standby, "load", load)  # type: ignore[union-attr]
        one._crash()
        await until(lambda: leads(other))
    async with client_of(other) as client:
        assert await client.get("a") == "2"
    await other.stop()


async def test_restart_of_the_only_node_has_all(name: str) -> None:
    one = node(name)
    await one.start()
    async with client_of(one) as client:
        for number in range(100):
            await client.rpush("list", number)
        await client.save()
        await client.rpush("list", "last")
    await one.restart()
    assert leads(one)
    async with client_of(one) as client:
        assert await client.llen("list") == 101
        await client.execute_command("RESTORE")  # type: ignore[no-untyped-call]
        assert await client.llen("list") == 100
        await client.rpush("list", "other")
    await one.restart()
    async with client_of(one) as client:
        assert await client.lrange("list", -1, -1) == ["other"]
    await one.stop()


def test_log_id_is_of_forty_digits_and_another_in_each_epoch() -> None:
    assert len(log_id("kv", 1)) == 40
    assert len({log_id("kv", 1), log_id("kv", 2), log_id("other", 1)}) == 3


async def test_snapshots_of_another_log_are_told_and_nothing_is_written(caplog: pytest.LogCaptureFixture) -> None:
    first, second = fresh_engine(), fresh_engine()
    async with node(first.name) as one, client_of(one) as client:
        await client.set("a", "1")
        await client.save()
    server = kvserver.Server(medium=second.url, snapshots=first.url, lease_milliseconds=100)
    async with server:
        await until(lambda: "is the snapshot of another log?" in caplog.text)
        assert not leads(server)
    assert end_of(second.name) == Tip()


async def test_backups_of_a_folder_are_no_snapshots_of_a_log() -> None:
    engine = fresh_engine()
    engine.vault.commit(Manifest(owner="somebody"), "")
    with pytest.raises(StartError, match="the backups of the server somebody"):
        await node(engine.name).start()


async def test_node_that_is_demoted_before_it_serves_follows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = node(name)
    begin, count = Leadership.begin, 0

    async def begin_and_lose(self: Leadership, **options: Any) -> None:
        nonlocal count
        count += 1
        await begin(self, **options)
        if count == 1:
            take_over_by_force(name, 2)
            self._journal.append([[b"SET", b"a", b"lost"]], 1)
            await until(lambda: self._is_over)

    monkeypatch.setattr(Leadership, "begin", begin_and_lose)
    await one.start()
    assert one.is_running
    assert (count, one.state.replication.epoch) == (2, 2)
    async with client_of(one) as client:
        assert await client.get("a") is None
    await one.stop()


async def test_node_that_slept_behind_its_entry_leaves_the_manifest_to_a_later_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Leadership._take_manifest
    epochs = []

    async def sleep_and_take(self: Leadership, epoch: int) -> bool:
        """Another node takes over between the LEAD of this one and its look at the manifest."""
        epochs.append(epoch)
        if epoch == 1:
            take_over_by_force(name, 2)
            vault = open_memory_engine(name).vault
            _, tag = vault.manifest()
            vault.commit(Manifest(counter=1, epoch=2), tag)
        return await plain(self, epoch)

    monkeypatch.setattr(Leadership, "_take_manifest", sleep_and_take)
    one = node(name)
    await one.start()
    assert not leads(one)
    manifest, tag = open_memory_engine(name).vault.manifest()
    assert manifest
    assert (manifest.epoch, tag) == (2, "1")
    # The rival is never heard of again.
    await until(lambda: leads(one))
    assert epochs == [1, 3]
    await one.stop()


async def test_node_goes_by_the_snapshot_where_that_has_another_entry_than_it_has(name: str) -> None:
    one, other = node(name), node(name)
    await one.start()
    await other.start()
    async with client_of(one) as client:
        await client.set("a", "1")
    one._crash()
    # As if the entry that the other node has applied last stood there for nothing: a snapshot has none of it.
    vault, tip = open_memory_engine(name).vault, end_of(name)
    manifest, tag = vault.manifest()
    assert manifest
    vault.commit(manifest._replace(position=tip.position, mark_number=tip.number, mark_digest="0" * 32), tag)
    await until(lambda: leads(other))
    async with client_of(other) as client:
        assert await client.get("a") is None
    await other.stop()


async def test_start_ends_while_others_write_all_the_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = node(name)
    await one.start()
    plain = Leadership._read

    async def read_slowly(self: Leadership, wait_s: float) -> list[Entry]:
        """Read, and let the other node write more before that is applied."""
        entries = await plain(self, wait_s)
        async with client_of(one) as client:
            await client.incr("a")
        return entries

    other = node(name)
    monkeypatch.setattr(Leadership, "_read", read_slowly)
    async with asyncio.timeout(30):
        await other.start()
    monkeypatch.undo()
    async with client_of(one) as client:
        count = int(await client.get("a") or 0)
    async with client_of(other) as client:
        async with asyncio.timeout(20):
            while int(await client.get("a") or 0) < count:  # noqa: ASYNC110 (the other node changes it)
                await asyncio.sleep(0.01)
    await other.stop()
    await one.stop()


@pytest.mark.parametrize("patience_s", [15.0, 0.0])
async def test_first_start_has_patience_with_an_engine_that_does_not_answer_yet(
    name: str, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    plain, failures = Leadership._read, iter([NotReady("no answer")] * 2)

    async def read_late(self: Leadership, wait_s: float) -> list[Entry]:
        for failure in failures:
            raise failure
        return await plain(self, wait_s)

    monkeypatch.setattr(Leadership, "_read", read_late)
    monkeypatch.setattr(leadership, "START_WAIT_S", patience_s)
    one = node(name)
    if not patience_s:
        with pytest.raises(StartError, match="no answer"):
            await one.start()
        return
    await one.start()
    await until(lambda: leads(one))
    await one.stop()


async def test_first_start_has_no_patience_with_what_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Leadership, wait_s: float) -> list[Entry]:
        raise MediumError("the stream is gone")

    monkeypatch.setattr(Leadership, "_read", fail)
    with pytest.raises(StartError, match="the stream is gone"):
        await node(name).start()


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often nodes have loaded a snapshot, and failed to follow, since the test cleared this."""
    counts: Counter[str] = Counter()
    load, tell = Standby.load, Leadership._tell_of_failure

    async def load_and_count(self: Standby) -> None:
        counts["load"] += 1
        await load(self)

    def tell_and_count(self: Leadership, error: Exception) -> None:
        counts["failure"] += 1
        tell(self, error)

    monkeypatch.setattr(Standby, "load", load_and_count)
    monkeypatch.setattr(Leadership, "_tell_of_failure", tell_and_count)
    return counts


async def test_break_is_told_and_nobody_reads_back_in_time(
    name: str, counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    one = node(name)
    other = kvserver.Server(medium=f"memory://{name}", lease_milliseconds=200, replica_serve_stale_data=False)
    await one.start()
    async with client_of(one) as client:
        await client.set("a", "1")
        await client.save()
        await client.set("a", "2")
        await other.start()
        facts = other.state.replication
        one._parts.data.halt()
        counts.clear()
        behind = break_log(name)
        await until(lambda: counts["failure"] > 2 and facts.is_stale)
        assert not facts.is_link_up
        assert other.state.databases[0].live(b"a") == b"2"
        assert counts["load"] == 0
        assert caplog.text.count("the log is broken") == 1
        async with client_of(other) as reader:
            with pytest.raises(redis.exceptions.ResponseError, match="Link with MASTER is down"):
                await reader.get("a")
            assert (await reader.info("replication"))["master_link_status"] == "down"
    # A newer snapshot leads beyond the break.
    vault = open_memory_engine(name).vault
    manifest, tag = vault.manifest()
    assert manifest
    vault.commit(manifest._replace(position=behind.position, mark_number=behind.number, mark_digest=behind.digest), tag)
    await until(lambda: leads(other))
    assert counts["load"] == 1
    assert facts.is_link_up
    assert other.state.databases[0].live(b"a") == b"1"
    await other.stop()
    one._crash()


async def test_node_that_is_demoted_by_a_break_loads_once_and_serves(
    name: str, counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    one = kvserver.Server(medium=f"memory://{name}", lease_milliseconds=200)
    await one.start()
    async with client_of(one) as client:
        await client.set("a", "1")
    counts.clear()
    break_log(name)
    await until(lambda: counts["failure"] > 2 and one.is_running)
    assert not leads(one)
    assert not one.state.replication.is_link_up
    assert counts["load"] == 1
    assert caplog.text.count("the log is broken") == 1
    async with client_of(one) as client:
        assert await client.get("a") == "1"
    await one.stop()


async def test_log_that_was_made_anew_is_led_by_nobody(
    name: str, counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    one = kvserver.Server(medium=f"memory://{name}", lease_milliseconds=200)
    await one.start()
    async with client_of(one) as client:
        await client.set("a", "1")
    empty_log(name)
    counts.clear()
    await until(lambda: counts["failure"] > 2 and one.is_running)
    assert not leads(one)
    assert not one.state.replication.is_link_up
    told = "nodes have led up to the epoch 1, and the log ends in the epoch 0: it was made anew"
    assert caplog.text.count(told) == 1
    assert one.state.replication.engine.error == told
    await one.stop()
    with pytest.raises(StartError, match=told):
        async with asyncio.timeout(20):
            await node(name).start()
    assert end_of(name) == Tip()


async def test_start_fails_where_the_log_was_trimmed_and_the_manifest_is_gone(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = node(name)
    await one.start()
    async with client_of(one) as client:
        await client.set("a", "1")
        await client.save()
    await one.stop()
    vault = open_memory_engine(name).vault
    vault._manifest, vault._commits = None, 0  # type: ignore[attr-defined]
    caplog.clear()
    with pytest.raises(StartError, match="is not there any more, and no snapshot leads beyond that"):
        async with asyncio.timeout(20):
            await node(name).start()
    assert len(caplog.records) < 5


async def test_node_follows_on_behind_a_failure_that_nobody_knows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = node(name), node(name)
    await one.start()
    await other.start()
    standby, medium = other._parts.data.leadership._standby, other._parts.data.leadership._medium  # type: ignore[union-attr]
    follow, look = standby.follow, medium.look
    failures: list[str] = []

    async def follow_or_fail(entries: list[Entry]) -> None:
        if not failures:
            failures.append("follow")
            raise Trimmed("once")
        await follow(entries)

    def look_or_fail() -> Manifest:
        if len(failures) == 1:
            failures.append("look")
            raise ValueError("a defect")
        return look()

    monkeypatch.setattr(standby, "follow", follow_or_fail)
    monkeypatch.setattr(medium, "look", look_or_fail)
    await until(lambda: len(failures) == 2)
    async with client_of(one) as client:
        await client.set("a", "1")
    await until(lambda: other.state.databases[0].live(b"a") == b"1")
    assert other.state.replication.is_link_up
    await one.stop()
    await until(lambda: leads(other))
    await other.stop()


@pytest.mark.parametrize("is_trimmed", [False, True], ids=["lead in the log", "lead trimmed"])
async def test_node_with_a_short_lease_waits_for_the_long_one_of_who_leads(
    name: str, caplog: pytest.LogCaptureFixture, is_trimmed: bool
) -> None:
    one = kvserver.Server(medium=f"memory://{name}", lease_milliseconds=60_000)
    other = kvserver.Server(medium=f"memory://{name}", lease_milliseconds=100)
    await one.start()
    async with client_of(one) as client:
        await client.set("a", "1")
        if is_trimmed:
            await client.save()
        await other.start()
        facts = other.state.replication
        assert facts.engine.lease_ms == 60_000
        # The other node says nothing for a while, and may go on to answer.
        await until(lambda: leads(other) or facts.tail_age_s() > 0.5)
        assert not leads(other)
        assert not facts.is_stale
        assert await client.get("a") == "1"
    told = [record.message for record in caplog.records if "is to be the same on all nodes" in record.message]
    assert len(told) == 1
    assert "has 60000 ms, and this one 100 ms" in told[0]
    await one.stop()
    await until(lambda: leads(other))
    assert facts.engine.lease_ms == 100
    await other.stop()
