"""Snapshots in one event loop: what a frame holds while the data changes, how much waits for a slow disk, what a load does."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from helpers.frames import frame
from helpers.slow_medium import NOW_MS, Setting, State, entries, loop_steps
from kvserver.data.databases import Databases
from kvserver.data.shards import new_shards
from kvserver.errors import CommandError, MediumError
from kvserver.formats.encoder import encode
from kvserver.formats.scan import CHUNK_BYTES
from kvserver.persistence import slices
from kvserver.persistence import snapshots as snapshot
from kvserver.persistence.disk import Disk
from kvserver.persistence.schedule import Schedule

SEED = int(os.environ.get("KVSERVER_SNAPSHOT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
IN_FLIGHT_CHUNKS = 4  # at the most: what is being gathered, what is queued, what is being written


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.close()


@pytest.fixture
def few_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few keys have shards that are folded and shards that are not."""
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 5)
    monkeypatch.setattr("kvserver.formats.sorting.BATCH_KEYS", 2)
    monkeypatch.setattr(snapshot, "CHUNK_BYTES", 50)
    monkeypatch.setattr(slices, "SLICE_S", 0)  # the loop goes on after each step


# --- what a frame holds


@pytest.mark.usefixtures("few_shards")
async def test_sum_is_right_in_every_frame_while_money_moves_between_keys(disk: Disk) -> None:
    setting = Setting(disk)
    accounts = [f"account:{number}" for number in range(40)]
    for name in accounts:
        setting.set(name, "100")
    rng = random.Random(SEED)

    def transfer() -> None:
        source, target = rng.sample(accounts, 2)
        amount = rng.randrange(50)
        for name, change in ((source, -amount), (target, amount)):
            setting.set(name, str(int(setting.keyspace.get(name.encode())) + change))

    transfers_in_flushes = 0
    for _ in range(30):
        flush = setting.snapshots.start_flush()
        while not flush.done():
            transfer()
            transfers_in_flushes += 1
            await asyncio.sleep(0)
        await flush
    sums = [sum(map(int, state.values())) for state in setting.frames()]
    assert sums == [4000] * 30, f"KVSERVER_SNAPSHOT_SEED={SEED}"
    assert transfers_in_flushes > 300
    assert sum(int(setting.keyspace.get(name.encode())) for name in accounts) == 4000


class Interleaving:
    """A random history of commands, flushes and loads with steps of the event loop in between, against a dict."""

    KEYS = tuple(f"key:{number}" for number in range(12))

    def __init__(self, disk: Disk, seed: int) -> None:
        self.rng = random.Random(seed)
        self.setting = Setting(disk)
        self.model: State = {}
        self.expected: list[State] = []  # the frames, in order
        self.happened: Counter[str] = Counter()
        self.flush: asyncio.Task[None] | None = None
        self.drains: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        actions = (self.set, self.delete, self.set_expiring, self.flush_all, self.start_flush, self.restore, self.step)
        weights = (10, 5, 3, 0.7, 3, 0.4, 12)
        for _ in range(80):
            action = self.rng.choices(actions, weights)[0]
            self.happened[action.__name__] += 1
            await action()
            self.check()
        await self.finish_flush()
        for task in self.drains:
            await task
        self.check()

    def check(self) -> None:
        keyspace = self.setting.keyspace
        assert entries(keyspace) == self.model
        assert len(keyspace) == len(self.model)
        key = self.rng.choice(self.KEYS)
        assert (keyspace.get(key.encode()) is not None) == (key in self.model)

    async def set(self) -> None:
        key, value = self.rng.choice(self.KEYS), str(self.rng.getrandbits(40))
        self.setting.set(key, value)
        self.model[key] = value

    async def delete(self) -> None:
        key = self.rng.choice(self.KEYS)
        assert self.setting.keyspace.delete(key.encode()) == (self.model.pop(key, None) is not None)

    async def set_expiring(self) -> None:
        key, at = self.rng.choice(self.KEYS), NOW_MS + self.rng.randrange(1, 9)
        self.setting.keyspace.set_expiring(key.encode(), b"soon gone", at)
        self.model[key] = {"$kvs": {"expires_at_ms": at, "value": "soon gone"}}

    async def flush_all(self) -> None:
        unused = self.setting.keyspace.replace(new_shards())
        self.drains.append(asyncio.create_task(self.setting.snapshots.discard(unused)))
        self.model = {}

    async def start_flush(self) -> None:
        snapshots = self.setting.snapshots
        if self.flush and not self.flush.done():
            assert snapshots.is_flushing
            with pytest.raises(RuntimeError):
                snapshots.start_flush()
            self.happened["second flush refused"] += 1
            return
        await self.finish_flush()
        self.flush = snapshots.start_flush()
        self.expected.append(dict(self.model))

    async def restore(self) -> None:
        """Until it is done the data is as it was, then it is the last frame."""
        load = asyncio.create_task(self.setting.snapshots.load())
        loaded = dict(self.expected[-1]) if self.expected else {}
        while not load.done():
            if entries(self.setting.keyspace) == loaded:
                self.model = loaded
            self.check()
            await asyncio.sleep(0)
        assert await load == bool(self.expected)
        self.model = loaded

    async def step(self) -> None:
        await loop_steps(self.rng.randrange(1, 5))

    async def finish_flush(self) -> None:
        if self.flush:
            await self.flush
            assert self.setting.frames() == self.expected


@pytest.mark.usefixtures("few_shards")
async def test_frame_equals_the_state_at_its_cut_under_random_interleavings(disk: Disk) -> None:
    asyncio.get_running_loop().set_debug(False)
    happened: Counter[str] = Counter()
    for seed in range(SEED, SEED + 200):
        interleaving = Interleaving(disk, seed)
        try:
            await interleaving.run()
        except AssertionError as error:
            raise AssertionError(f"KVSERVER_SNAPSHOT_SEED={seed}: {error}") from error
        happened += interleaving.happened
    print(dict(happened))
    assert min(happened[name] for name in ("second flush refused", "flush_all", "restore", "start_flush")) > 50


@pytest.mark.usefixtures("few_shards")
async def test_flush_asked_for_while_a_load_runs_is_made_behind_it_and_holds_what_was_loaded(disk: Disk) -> None:
    """Else the next start would have what was there before the load, although that has succeeded."""
    setting = Setting(disk, frame({"k": "loaded"}))
    setting.set("k", "before")
    load = asyncio.create_task(setting.snapshots.load())
    await asyncio.sleep(0)
    flush = setting.snapshots.start_flush()
    assert await load is True
    assert entries(setting.keyspace) == {"k": "loaded"}
    await flush
    assert setting.frames() == [{"k": "loaded"}, {"k": "loaded"}]
    assert entries(setting.keyspace) == {"k": "loaded"}


@pytest.mark.usefixtures("few_shards")
async def test_cut_of_an_empty_store_stays_empty_whatever_is_written_and_flushed_away_meanwhile(disk: Disk) -> None:
    setting = Setting(disk)
    setting.medium.gate.clear()
    flush = setting.snapshots.start_flush()
    setting.set("k", "v")
    unused = setting.keyspace.replace(new_shards())
    setting.medium.gate.set()
    await flush
    await setting.snapshots.discard(unused)
    assert setting.frames() == [{}]


@pytest.mark.usefixtures("few_shards")
async def test_flush_that_fails_in_a_way_that_nobody_thought_of_is_told(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(disk)
    setting.set("k", "v")

    def fail(*_: Any) -> Iterator[bytes]:
        raise RuntimeError("a defect")
        yield b""

    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "encode", fail)
        with pytest.raises(RuntimeError, match="a defect"):
            await setting.snapshots.start_flush()
    assert not setting.facts.last_save_ok
    assert "a defect" in setting.facts.last_save_error
    await setting.snapshots.start_flush()
    assert setting.frames() == [{"k": "v"}]
    assert setting.facts.last_save_ok


@pytest.mark.usefixtures("few_shards")
async def test_data_written_while_a_flush_fails_is_kept_and_in_the_next_frame(disk: Disk) -> None:
    setting = Setting(disk)
    setting.set("before", "1")
    setting.medium.gate.clear()
    setting.medium.fails = True
    flush = setting.snapshots.start_flush()
    setting.set("meanwhile", "2")
    assert setting.keyspace.delete(b"before")
    setting.medium.gate.set()
    with pytest.raises(MediumError, match="the medium fails"):
        await flush
    assert (setting.facts.last_save_ok, setting.facts.last_save_error) == (False, "the medium fails")
    assert entries(setting.keyspace) == {"meanwhile": "2"}
    setting.medium.fails = False
    await setting.snapshots.start_flush()
    assert setting.frames() == [{"meanwhile": "2"}]
    assert (setting.facts.last_save_ok, setting.facts.last_save_error) == (True, "")


async def test_failed_flush_leaves_no_exception_that_nobody_retrieves(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Chunks that were on their way behind the one that failed fail as well: asyncio would log a traceback for each."""
    caplog.set_level(logging.CRITICAL + 1, "kvserver")  # a record that is kept would keep the exceptions
    monkeypatch.setattr(snapshot, "CHUNK_BYTES", 10)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    setting = Setting(disk)
    for number in range(1000):
        setting.set(f"key:{number}", "x" * 20)
    setting.medium.fails = True
    with suppress(MediumError):
        await setting.snapshots.start_flush()
    await disk.run(lambda: None)
    await loop_steps(3)
    gc.collect()
    assert complaints == []


async def test_changes_during_a_flush_count_as_not_saved(disk: Disk) -> None:
    setting = Setting(disk)
    setting.set("a", "1")
    flush = setting.snapshots.start_flush()
    setting.set("b", "2")
    await flush
    assert setting.keyspace.records.changes - setting.facts.changes_at_last_save == 1


# --- memory


async def test_no_more_than_a_few_chunks_wait_for_a_slow_disk(disk: Disk) -> None:
    """The encoder waits for the disk, and while it does the loop goes on."""
    setting = Setting(disk)
    for number in range(20_000):
        setting.set(f"key:{number:05}", "x" * 500)
    longest_chunk = CHUNK_BYTES + 64 * 600  # one batch longer at the most
    produced = 0

    def counting(*arguments: Any) -> Iterator[bytes]:
        nonlocal produced
        for piece in encode(*arguments):
            produced += len(piece)
            yield piece

    medium, most_ahead = setting.medium, 0
    medium.gate.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "encode", counting)
        flush = setting.snapshots.start_flush()
        await loop_steps(10_000)  # many more than it takes to encode all
        waiting = produced
        medium.gate.set()
        while not flush.done():
            most_ahead = max(most_ahead, produced - sum(medium.writes))
            await asyncio.sleep(0)
        await flush
    assert waiting <= IN_FLIGHT_CHUNKS * longest_chunk < produced / 5, "the encoder does not wait for the disk"
    assert most_ahead <= IN_FLIGHT_CHUNKS * longest_chunk
    assert max(medium.writes) <= longest_chunk
    assert sum(medium.writes) == produced == len(medium.read_all()) - 80


# --- loads


@pytest.mark.parametrize("damage", ["in the checksum's last digit", "in the last byte", "a byte behind it"])
async def test_live_data_stays_until_the_whole_frame_is_proven(disk: Disk, damage: str) -> None:
    """The frame is wrong only at its very end, when all of its keys have been read."""
    good = frame({"k": "good"})
    bad = bytearray(frame({f"key:{number:05}": "x" * 50 for number in range(8000)}))
    if damage == "in the checksum's last digit":
        bad[79] ^= 1
    elif damage == "in the last byte":
        bad[-1] ^= 1
    else:
        bad[15:16] = bytes([bad[15] + 1]) if bad[15] < 57 else b"0"
    setting = Setting(disk, good + bytes(bad))
    setting.set("live", "data")
    load = asyncio.create_task(setting.snapshots.load())
    turns = 0
    while not load.done():
        assert entries(setting.keyspace) in ({"live": "data"}, {"k": "good"})
        turns += entries(setting.keyspace) == {"live": "data"}
        await asyncio.sleep(0)
    assert await load is True
    assert turns > 5
    assert entries(setting.keyspace) == {"k": "good"}
    assert setting.medium.read_all() == good + bytes(bad), "a load at run time changes nothing on the medium"


async def test_medium_that_cannot_be_read_leaves_the_live_data(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(disk, frame({"k": "v"}))
    setting.set("live", "data")

    def fail(offset: int, length: int) -> bytes:
        raise MediumError("the medium can't be read")

    monkeypatch.setattr(setting.medium, "read", fail)
    with pytest.raises(MediumError, match="can't be read"):
        await setting.snapshots.load()
    assert entries(setting.keyspace) == {"live": "data"}
    setting.set("live", "on")
    assert entries(setting.keyspace) == {"live": "on"}


async def test_load_without_a_frame_clears_the_data(disk: Disk) -> None:
    setting = Setting(disk)
    setting.set("k", "v")
    assert await setting.snapshots.load() is False
    assert entries(setting.keyspace) == {}


async def test_adopted_data_is_a_durable_frame_before_it_is_the_data(disk: Disk) -> None:
    setting, other = Setting(disk), Databases(lambda: NOW_MS)
    setting.set("old", "1")
    other[0].put(b"new", b"2")
    other[3].put(b"there", b"3", 2 * NOW_MS)
    other.libraries.replace({b"lib": b"#!lua name=lib"})
    setting.medium.gate.clear()
    adopting = asyncio.create_task(setting.snapshots.adopt(other, "TEST"))
    await loop_steps(20)
    assert entries(setting.keyspace) == {"old": "1"}
    setting.set("late", "4")
    setting.medium.gate.set()
    await adopting
    assert entries(setting.keyspace) == {"new": "2"}
    assert setting.state.databases[3].expires_at_ms(b"there") == 2 * NOW_MS
    assert setting.state.databases.libraries.copy() == {b"lib": b"#!lua name=lib"}
    assert not other.key_count
    [held] = setting.frames()
    assert held["new"] == "2"
    assert "$kvs:3:there" in held


async def test_data_stays_when_what_is_to_be_adopted_can_not_be_written(disk: Disk) -> None:
    setting, other = Setting(disk), Databases(lambda: NOW_MS)
    setting.set("old", "1")
    other[0].put(b"new", b"2")
    setting.medium.fails = True
    with pytest.raises(MediumError):
        await setting.snapshots.adopt(other, "TEST")
    assert entries(setting.keyspace) == {"old": "1"}
    assert other[0].peek(b"new") == b"2"


async def test_load_waits_for_the_flush_that_runs(disk: Disk) -> None:
    setting = Setting(disk)
    setting.set("k", "flushed")
    setting.medium.gate.clear()
    flush = setting.snapshots.start_flush()
    setting.set("k", "newer")
    load = asyncio.create_task(setting.snapshots.load())
    await loop_steps(20)
    assert not load.done()
    assert entries(setting.keyspace) == {"k": "newer"}
    setting.medium.gate.set()
    await flush
    assert await load is True
    assert entries(setting.keyspace) == {"k": "flushed"}


async def test_flush_while_a_crash_is_made_is_refused_or_waits_and_breaks_nothing(disk: Disk) -> None:
    """DEBUG CRASH freezes the data, too."""
    setting = Setting(disk)
    for number in range(5000):
        setting.set(f"key:{number}", "value")
    crash = asyncio.create_task(setting.snapshots.crash())
    await loop_steps(3)
    flush = None if setting.snapshots.is_flushing else setting.snapshots.start_flush()
    await crash
    await (flush or setting.snapshots.start_flush())
    assert [len(state) for state in setting.frames()] == [5000]


# --- the end


async def test_close_waits_for_the_flush_that_runs(disk: Disk) -> None:
    setting = Setting(disk)
    setting.set("k", "v")
    setting.medium.gate.clear()
    flush = setting.snapshots.start_flush()
    closing = asyncio.create_task(setting.snapshots.close())
    await loop_steps(20)
    assert not closing.done()
    setting.medium.gate.set()
    await closing
    assert flush.done()
    assert setting.frames() == [{"k": "v"}]


async def test_progress_of_a_flush_is_told_while_it_runs(disk: Disk) -> None:
    setting = Setting(disk)
    for number in range(3000):
        setting.set(f"key:{number:05}", "x" * 1000)
    setting.medium.gate.clear()
    flush = setting.snapshots.start_flush()
    await asyncio.sleep(0)
    facts = setting.facts
    assert (facts.flush_in_progress, facts.flush_keys_total) == (True, 3000)
    await loop_steps(3000)
    done = facts.flush_keys_done
    setting.medium.gate.set()
    await flush
    assert 0 < done < 3000
    assert not facts.flush_in_progress
    assert facts.last_save_duration_s >= 0


async def test_data_of_a_flushall_is_freed_in_the_background(disk: Disk) -> None:
    setting = Setting(disk)
    for number in range(3000):
        setting.set(f"key:{number}", "x")
    unused = setting.keyspace.replace(new_shards())
    assert sum(map(len, unused)) == 3000
    await setting.snapshots.discard(unused)
    assert unused == []


async def test_flush_that_fails_leaves_nothing_to_the_garbage_collector(disk: Disk) -> None:
    """It holds the data as it was, which the collector of a server would never look at again."""
    setting = Setting(disk)
    setting.set("k", "v")
    setting.medium.fails = True
    schedule = Schedule(setting.state, setting.snapshots)
    gc.collect()
    gc.disable()
    try:
        reply = asyncio.ensure_future(schedule.save())
        await loop_steps(1)
        flush = setting.snapshots.flush
        assert flush
        gone = weakref.ref(flush)
        del flush
        with suppress(CommandError):
            await reply
        del reply
        await loop_steps(5)
        assert gone() is None
    finally:
        gc.enable()
