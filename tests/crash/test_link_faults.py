"""A flush under a journal whose calls to the disk fail, one by one: also behind the snapshot, where the link is written.

Then the flush has failed although the snapshot is there. A start goes on from the older snapshot that the journal is
linked to, with all segments since, which therefore must be kept; and the next flush is the way back. What no start needs goes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import Counter
from contextlib import suppress

import pytest

from helpers import sessions
from helpers.simulated_disk import ROOT, DiskInLoop, Fault, PowerLoss, SimulatedDisk
from kvserver.data.databases import Databases
from kvserver.errors import MediumError
from kvserver.media.file import FileMedium
from kvserver.media.segments import FileLog
from kvserver.options.config import Config
from kvserver.persistence.journal import Journal
from kvserver.persistence.recovery import Recovery
from kvserver.persistence.slices import BesideLoop
from kvserver.persistence.snapshots import Snapshots
from kvserver.state.session import ServerState

PATH = f"{ROOT}/dump.kvs"
TABLE = sessions.Server().table


class Server:
    """The parts of a server that keep its data, without clients: each write is a tick of its own."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.told: dict[bytes, bytes] = {}
        self.count = 0

    async def open(self) -> None:
        config = Config()
        config.appendfsync, config.keep_frames = "always", 1
        # No client comes here, so that there are no commands: their statistics would take more time than all the rest.
        self.state = ServerState(config, Databases(lambda: 0), {}, lambda: 0)
        log, disk = FileLog(PATH, self.disk), DiskInLoop()
        self.medium = FileMedium(PATH, self.disk, with_journal=True)
        self.journal = Journal(self.state, log, disk, disk)
        self.has_news = asyncio.Event()
        self.journal.courier.on_safe = self.has_news.set
        self.journal.courier.on_lost = lambda: None
        self.snapshots = Snapshots(self.state, self.medium, disk, self.journal)
        place = BesideLoop(disk, self.state.counters, self.state.persistence)
        recovered = await Recovery(self.state, TABLE, self.snapshots.frames, log, place).run()
        await self.journal.take_over(recovered, switch_on=True)
        found = dict(self.state.databases[0].members())
        # What was never told may be there; what was told is.
        assert {key: found.get(key) for key in self.told} == self.told

    async def write(self) -> None:
        """A write that nobody is told of where the journal fails."""
        self.count += 1
        key, value = b"key:%d" % (self.count % 5), b"%d:%s" % (self.count, b"x" * 200)
        if self.state.journal.error:
            return
        self.state.databases[0].set(key, value)
        self.journal.append([[b"SET", key, value]])
        self.told.pop(key, None)
        await self.settle()
        if not self.state.journal.error:
            assert self.journal.synced == self.journal.sequence
            self.told[key] = value

    async def settle(self) -> None:
        while self.journal.synced < self.journal.sequence:
            self.has_news.clear()
            await self.has_news.wait()

    async def flush(self) -> bool:
        try:
            await self.snapshots.start_flush()
        except MediumError:
            return False
        return True

    def frames(self) -> int:
        return self.disk.content(PATH).count(b"KVS1")

    def segments(self) -> list[str]:
        return [name for name in self.disk.names() if name.endswith(".journal")]


async def ready(seed: int) -> Server:
    """With a snapshot, and writes behind it."""
    server = Server(SimulatedDisk(random.Random(seed)))
    await server.open()
    for _ in range(2):
        for _ in range(4):
            await server.write()
        assert await server.flush()
    for _ in range(3):
        await server.write()
    return server


async def calls_of_a_flush() -> int:
    server = await ready(0)
    before = server.disk.call_count
    assert await server.flush()
    return server.disk.call_count - before


def check_error(text: str, *_: object, **__: object) -> None:
    assert "the medium has no such frame" not in text, "the snapshot that the journal is linked to was not kept"


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("ending", ["kill", "power loss", "next flush", "more failures"])
async def test_flush_that_fails_anywhere_loses_nothing_told_and_the_next_one_heals(
    ending: str, for_good: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 3)
    monkeypatch.setattr("kvserver.persistence.recovery._log.error", check_error)
    caplog.set_level(logging.CRITICAL + 1, "kvserver")
    asyncio.get_running_loop().set_debug(False)
    counts: Counter[str] = Counter()
    calls = await calls_of_a_flush()
    for at, seed in itertools.product(range(1, calls + 1), range(2)):
        server = await ready(seed)
        disk, frames = server.disk, server.frames()
        disk.fault = Fault(disk.call_count + at, for_good=for_good)
        has_flushed = await server.flush()
        counts["failed" if not has_flushed else "succeeded"] += 1
        counts["failed with its snapshot there"] += not has_flushed and server.frames() > frames
        await server.write()
        if ending == "more failures":
            # Each leaves a snapshot, or none, that no start may need; the one that it needs has to stay.
            rng = random.Random(100 * at + seed)
            for _ in range(20):
                disk.fault = Fault(disk.call_count + rng.randrange(1, calls))
                await server.flush()
                await server.write()
        elif ending == "next flush":
            disk.fault = None
            # A poisoned file costs one flush more.
            assert await server.flush() or await server.flush()
            assert not server.state.journal.error
            assert not server.state.persistence.medium_poisoned
            told = dict(server.told)
            await server.write()
            assert server.told != told, "a write that is not taken"
        disk.fault = None
        if ending == "kill":
            disk.kill()
        else:
            with suppress(PowerLoss):
                disk.crash()
        await server.open()
        await server.write()
        assert await server.flush()
        disk.crash()
        await server.open()
    print(dict(counts))
    assert counts["failed"] > 20
    assert counts["failed with its snapshot there"] > 10


async def test_starts_that_write_nothing_pile_up_no_segments() -> None:
    server = await ready(0)
    found = []
    for _ in range(4):
        server.disk.kill()
        await server.open()
        found.append(server.segments())
    assert len(found[0]) == 2, "what was replayed, and a new one"
    assert found == [found[0]] * 4
