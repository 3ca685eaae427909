"""Every call to the disk fails once, and for good; the power fails at every call, and at random. Nothing answered is lost.

The library and the server's Snapshots run the same script of flushes, loads and compactions over a SimulatedDisk. What
is in the file is read here by a scan of its own.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import hashlib
import json
import logging
import os
import random
import re
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from helpers.frames import frame
from helpers.servers import IS_COMPILED
from helpers.simulated_disk import ROOT, SECTOR_BYTES, DiskInLoop, Fault, PowerLoss, SimulatedDisk
from kvserver.data.databases import Databases
from kvserver.data.entries import Entry
from kvserver.errors import MediumError
from kvserver.library.store import KVStore
from kvserver.media.file import FileMedium
from kvserver.options.config import Config
from kvserver.persistence.disk import Disk
from kvserver.persistence.snapshots import Snapshots
from kvserver.state.session import ServerState

# Compiled, a store has a thousand shards, not three, and a history takes ten times as long.
SEEDS = int(os.environ.get("KVSERVER_FAULT_SEEDS", "1000" if IS_COMPILED else "4000"))
# The seeds are split into so many tests, so that all cores have some.
PARTS = 4
FIRST_SEED = int(os.environ.get("KVSERVER_FAULT_FIRST_SEED", "0"))

PATH = f"{ROOT}/folder/dump.kvs"
HEADER_SIZE = 80
KEYS = [f"key:{number}" for number in range(6)]
# Every frame has a key with the number of flushes tried, so that no two frames are the same.
COUNT = "count"
# After a fault that comes once, a step is tried so often: a try may have to open the medium and flush again.
TRIES = 4
FAULTS = [
    Fault(0, kind, number)
    for kind in (
        *("open", "lock", "size", "read", "write", "sync", "rename", "remove", "truncate", "sync_folder", "size_at"),
        "identity",
        "drop_cache",
    )
    for number in (errno.EIO, errno.ENOSPC)
    if number == errno.EIO or kind in ("open", "write", "sync", "rename", "sync_folder")
    # The last fault is that of any call.
] + [Fault(0, "write", short=True), Fault(0, "read", short=True), Fault(0)]

State = dict[str, str]


@functools.lru_cache(maxsize=100)
def strict_scan(medium: bytes) -> tuple[list[State], bytes]:
    """The states of the frames from the left that are valid, and what lies behind them."""
    states = []
    while match := re.match(rb"KVS1([0-9]{12})([0-9a-f]{64})", medium):
        payload = medium[HEADER_SIZE : HEADER_SIZE + int(match[1])]
        if len(payload) < int(match[1]) or hashlib.sha256(payload).hexdigest().encode() != match[2]:
            break
        states.append(json.loads(payload))
        medium = medium[HEADER_SIZE + len(payload) :]
    return states, medium


def text(entry: Entry) -> str:
    assert isinstance(entry, bytes)
    return entry.decode()


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few shards, keys and bytes a step, so that small stores take the steps of big ones, and thousands of runs no time."""
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 3)
    monkeypatch.setattr("kvserver.formats.sorting.BATCH_KEYS", 2)
    for module in ("formats.encoder", "formats.scan", "persistence.snapshots", "persistence.frames"):
        monkeypatch.setattr(f"kvserver.{module}.CHUNK_BYTES", 300)
    monkeypatch.setattr("kvserver.media.file.COPY_BYTES", 700)


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of faults, each of them logged. Exceptions that nobody retrieves have a test of their own."""
    for name in ("kvserver", "asyncio"):
        caplog.set_level(logging.CRITICAL + 1, name)


# --- the library


class Library:
    """A KVStore over a FileMedium, beside a model of what it must hold."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.medium: FileMedium | None = None
        self.store: KVStore | None = None
        self.live: State = {}
        self.flushes = 0
        # The data of the last flush that was answered True.
        self.answered: State = {}
        # The data of the flushes since then. Each may have reached the disk, or not.
        self.attempted: list[State] = []
        self.failures = 0

    def open(self) -> None:
        self.medium = FileMedium(PATH, self.disk)
        self.store = KVStore(self.medium)
        self.live = {}
        self.restore()

    def set(self, key: str, value: str) -> None:
        assert self.store is not None
        self.store.set(key, value)
        self.live[key] = value

    def flush(self) -> None:
        assert self.store is not None
        earlier = self.frames()
        self.flushes += 1
        self.set(COUNT, str(self.flushes))
        self.attempted.append(dict(self.live))
        try:
            assert self.store.shutdown() is True
        except MediumError:
            self.check_live()
            assert self.frames()[: len(earlier)] == earlier
            raise
        self.answered, self.attempted = dict(self.live), []
        frames, tail = strict_scan(self.disk.content(PATH))
        assert frames[-1] == self.live
        assert not tail
        self.check_live()

    def restore(self) -> None:
        assert self.store is not None
        try:
            found = self.store.restore()
        except MediumError:
            self.check_live()
            raise
        self.live = self.state()
        assert self.live in self.possible()
        assert found == bool(self.frames())

    def compact(self, keep: int) -> None:
        """Do what `kvserver compact` does."""
        assert self.medium
        earlier, tail = strict_scan(self.disk.content(PATH))
        content = b"".join(map(frame, earlier[-keep:]))
        if not self.medium.poisoned and not tail and earlier:
            try:
                rewrite = self.medium.begin_rewrite()
                try:
                    start = len(b"".join(map(frame, earlier[:-keep])))
                    for _ in rewrite.copy(start, len(content)):
                        pass
                    rewrite.commit(None)
                except BaseException:
                    rewrite.abort()
                    raise
            except MediumError:
                assert self.frames() in (earlier, earlier[-keep:])
                raise
            assert self.disk.content(PATH) == content

    def close(self) -> None:
        assert self.medium
        self.medium.close()
        self.medium = self.store = None

    def state(self) -> State:
        assert self.store is not None
        values = {key: self.store.get(key) for key in (*KEYS, COUNT)}
        return {key: value for key, value in values.items() if value is not None}

    def check_live(self) -> None:
        assert self.state() == self.live

    def frames(self) -> list[State]:
        """The valid frames as they can be read now."""
        return strict_scan(self.disk.content(PATH))[0] if PATH in self.disk.names() else []

    def possible(self) -> list[State]:
        return [self.answered, *self.attempted]

    # The script

    def steps(self) -> list[Callable[[], None]]:
        def flushed(number: int) -> list[Callable[[], None]]:
            return [lambda: self.set(KEYS[number % 6], f"{number} " * (50 + number * 20)), self.flush]

        return [
            self.open,
            *flushed(0), *flushed(1), *flushed(2),
            lambda: self.set(KEYS[5], "never flushed"),
            self.restore,
            *flushed(3),
            lambda: self.compact(2),
            *flushed(4),
            self.close, self.open,
            *flushed(5), *flushed(6),
        ]  # fmt: skip

    def run(self, tries: int) -> None:
        """All steps; one that fails is tried again, and left out after some tries."""
        for step in self.steps():
            if step != self.open and self.store is None:
                continue
            for _ in range(tries):
                try:
                    step()
                    break
                except MediumError:
                    self.failures += 1
                    assert self.disk.open_count == (1 if self.medium else 0), "descriptors that nobody closes"
                    # The restore has failed.
                    if self.store is not None and step == self.open:
                        self.close()
        assert PATH not in self.disk.names() or self.frames() or not self.answered


def each_fault(for_good: bool, calls_of: Counter[str]) -> Iterator[Fault]:
    """A fault at each call that a run without faults makes, and a few behind them that only a recovery makes."""
    total = sum(calls_of.values())
    for fault in FAULTS:
        for at in range(1, (calls_of[fault.kind] if fault.kind else total) + 4):
            yield Fault(at, fault.kind, fault.errno, for_good, fault.short)


def calls_of(run: Callable[[SimulatedDisk], object]) -> Counter[str]:
    disk = SimulatedDisk()
    run(disk)
    return disk.calls


# --- the library, call by call


def test_script_without_faults_meets_every_kind_of_call() -> None:
    disk = SimulatedDisk()
    library = Library(disk)
    library.run(tries=1)
    assert library.failures == 0
    assert library.live == library.answered
    print(dict(disk.calls))
    assert {fault.kind for fault in FAULTS} - {"", "truncate", "remove"} <= set(disk.calls)


# --- many runs, one verdict


class Verdicts:
    """Runs one case after another, so that one defect does not hide the others."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failed: list[str] = []

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        self.counts["runs"] += 1
        try:
            yield
        except (Exception, PowerLoss) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self.failed.append(f"{name}: {error!r:.200} ({os.path.basename(frame.filename)}:{frame.lineno})")

    def close(self) -> None:
        print(dict(self.counts))
        if self.failed:
            shown = "\n".join(self.failed[:20])
            pytest.fail(f"{len(self.failed)} of {self.counts['runs']} runs failed:\n{shown}", pytrace=False)


@pytest.fixture
def verdicts() -> Iterator[Verdicts]:
    verdicts = Verdicts()
    yield verdicts
    verdicts.close()


def test_call_that_fails_once_costs_no_more_than_a_second_try(verdicts: Verdicts) -> None:
    for fault in each_fault(for_good=False, calls_of=calls_of(lambda disk: Library(disk).run(1))):
        with verdicts.case(str(fault)):
            disk = SimulatedDisk(random.Random(fault.at))
            disk.fault = fault
            library = Library(disk)
            library.run(TRIES)
            verdicts.counts["faults met"] += disk.faults_met > 0
            verdicts.counts["answered with an error"] += library.failures > 0
            disk.fault = None
            assert library.store is not None, "it could not be opened again"
            assert library.live == library.answered
            disk.crash()
            library.open()
            assert library.live == library.answered
    assert verdicts.counts["answered with an error"] > 100


def test_call_that_fails_for_good_loses_nothing_and_a_flush_on_a_sound_disk_succeeds(verdicts: Verdicts) -> None:
    for fault in each_fault(for_good=True, calls_of=calls_of(lambda disk: Library(disk).run(1))):
        for ending in ("the disk is sound again", "the power fails"):
            with verdicts.case(f"{fault}, then {ending}"):
                disk = SimulatedDisk(random.Random(fault.at))
                disk.fault = fault
                library = Library(disk)
                library.run(tries=2)
                verdicts.counts["faults met"] += disk.faults_met > 0
                verdicts.counts["answered with an error"] += library.failures > 0
                disk.fault = None
                if ending == "the power fails":
                    disk.crash()
                    library.open()
                elif library.store is None:
                    library.open()
                library.set(KEYS[0], "after the fault")
                library.flush()
                disk.crash()
                library.open()
                assert library.live == library.answered
    assert verdicts.counts["answered with an error"] > 100


def test_power_loss_at_each_call_leaves_the_last_answered_flush_or_the_one_it_cut_short(verdicts: Verdicts) -> None:
    for at in range(1, sum(calls_of(lambda disk: Library(disk).run(1)).values()) + 1):
        for seed in range(8):
            with verdicts.case(f"power loss at call {at}, seed {seed}"):
                disk = SimulatedDisk(random.Random(seed))
                disk.power_loss_at = at
                library = Library(disk)
                with suppress(PowerLoss):
                    library.run(1)
                disk.crash()
                library.open()
                verdicts.counts["the one cut short" if library.live != library.answered else "the last answered"] += 1
                offset = len(b"".join(map(frame, library.frames())))
                library.set(KEYS[0], "after the power loss")
                library.flush()
                # Only a header that two sectors share can be left half written; what else a power loss leaves is torn.
                if offset % SECTOR_BYTES <= SECTOR_BYTES - HEADER_SIZE:
                    assert disk.names() in ([PATH], [PATH, f"{PATH}.new"]), "a torn tail that is taken for damage"
    assert verdicts.counts["the one cut short"] > 10


def test_full_disk_leaves_the_frames_and_gives_the_space_back(verdicts: Verdicts) -> None:
    """For every amount of room that is too little for the frame."""
    disk = SimulatedDisk()
    library = Library(disk)
    library.open()
    library.set("key:0", "small")
    library.flush()
    before = disk.content(PATH)
    library.set("key:1", "x" * 2000)
    # The count of flushes gets longer by two digits.
    length = len(frame(library.live)) + 2
    for room in range(0, length, 7):
        with verdicts.case(f"room for {room} of {length} bytes"):
            disk.capacity_bytes = len(before) + room
            with pytest.raises(MediumError):
                library.flush()
            assert disk.content(PATH) == before
            assert disk.names() == [PATH]
            assert disk.used_bytes == len(before)
    disk.capacity_bytes = len(before) + length
    library.flush()
    assert len(frame(library.live)) == length
    assert disk.content(PATH) == before + frame(library.live), "no need for a new file: what is synced is as good as before"


BROKEN_IN = {
    "writes": ("write",),
    "syncs": ("sync",),
    "writes, syncs and truncates": ("write", "sync", "truncate"),
    "everything": ("write", "sync", "truncate", "read"),
}


@pytest.mark.parametrize("how", BROKEN_IN)
def test_file_that_breaks_for_good_is_left_for_a_new_one(how: str) -> None:
    disk = SimulatedDisk()
    library = Library(disk)
    library.open()
    library.set("key:0", "x" * 700)
    library.flush()
    disk.break_file(PATH, *BROKEN_IN[how])
    library.set("key:1", "y" * 700)
    with pytest.raises(MediumError):
        library.flush()
    library.flush()
    library.flush()
    disk.crash()
    library.open()
    assert library.live == library.answered


def test_name_that_was_never_made_durable_is_by_the_next_start(verdicts: Verdicts) -> None:
    """A process that was killed between making or renaming the file and syncing the folder; the power fails only later."""
    for at in range(1, sum(calls_of(lambda disk: Library(disk).run(1)).values()) + 1):
        for seed in range(4):
            with verdicts.case(f"kill -9 at call {at}, seed {seed}"):
                disk = SimulatedDisk(random.Random(seed))
                disk.power_loss_at = at
                library = Library(disk)
                with suppress(PowerLoss):
                    library.run(1)
                disk.kill()
                library.open()
                library.set(KEYS[0], "after the kill")
                library.flush()
                disk.crash()
                library.open()
                assert library.live[KEYS[0]] == "after the kill"


def test_frame_whose_sync_failed_is_not_believed_by_the_next_process() -> None:
    """The old process could not cut it off either, and the cache still has it: opening the file looks at the disk."""
    disk = SimulatedDisk()
    disk.evicts_at_close = False
    library = Library(disk)
    library.open()
    library.set("key:0", "x" * 700)
    library.flush()
    library.set("key:1", "y" * 7000)
    disk.fault = Fault(disk.calls["sync"] + 2, "sync", for_good=True)
    disk.break_file(PATH, "truncate")
    with pytest.raises(MediumError):
        library.flush()
    disk.fault, disk.broken_calls = None, set()
    disk.kill()
    library.open()
    library.set("key:2", "z")
    library.flush()
    disk.crash()
    library.open()
    assert library.live == library.answered


# --- the server's flushes


class Server:
    """The server's Snapshots over a simulated disk, in this event loop, beside a model."""

    KEEP_FRAMES = 2

    def __init__(self, filesystem: SimulatedDisk, disk: Disk) -> None:
        self.filesystem = filesystem
        self.disk = disk
        self.medium: FileMedium | None = None
        self.snapshots: Snapshots | None = None
        self.answered: list[State] = [{}]
        # The data of the flushes that failed.
        self.attempted: list[State] = []
        self.failures = 0
        self.flushes = 0
        self.live: State = {}

    async def open(self) -> None:
        config = Config()
        config.keep_frames = self.KEEP_FRAMES
        # No client comes here, so that there are no commands: their statistics would take more time than all the rest.
        self.state = ServerState(config, Databases(lambda: 0), {}, lambda: 0)
        self.medium = FileMedium(PATH, self.filesystem)
        self.snapshots = Snapshots(self.state, self.medium, self.disk)
        self.live = {}
        await self.load(at_start=True)

    def set(self, key: str, value: str) -> None:
        self.state.databases[0].set(key.encode(), value.encode())
        self.live[key] = value

    async def load(self, at_start: bool = False) -> None:
        assert self.snapshots
        try:
            await (self.snapshots.frames.recover() if at_start else self.snapshots.load())
        except MediumError:
            if not at_start:
                self.check_live()
            raise
        self.live = self.keys()
        assert self.live in self.possible()

    async def flush(self) -> None:
        assert self.snapshots
        facts, earlier = self.state.persistence, self.frames()
        self.flushes += 1
        self.set(COUNT, str(self.flushes))
        try:
            await self.snapshots.start_flush()
        except PowerLoss:
            self.attempted.append(dict(self.live))
            raise
        except MediumError as error:
            self.attempted.append(dict(self.live))
            assert not facts.last_save_ok
            assert (facts.last_save_error, bool(facts.last_save_error)) == (str(error), True)  # noqa: PT017
            self.check_live()
            self.check_frames(earlier)
            raise
        finally:
            assert not facts.flush_in_progress
            assert not self.snapshots.is_flushing
        self.answered.append(dict(self.live))
        assert facts.last_save_ok
        assert not facts.last_save_error
        self.check_live()
        states, tail = strict_scan(self.filesystem.content(PATH))
        assert not tail
        assert states[-1] == self.live
        self.check_frames(earlier)
        if not self.medium or not self.medium.poisoned:
            assert (facts.medium_frames, facts.medium_bytes) == (len(states), len(self.filesystem.content(PATH)))

    def check_frames(self, earlier: list[State]) -> None:
        """The file holds the last frames, in order, as many as are to be kept or were there.

        A frame whose flush failed may be one of them, where only the last of its syncs did.
        """
        frames = self.frames()
        least = min(self.KEEP_FRAMES, len([state for state in earlier if state in self.answered]))
        assert len(frames) >= least, f"{len(frames)} frames of {len(earlier)} are left"
        answered = [state for state in frames if state not in self.attempted]
        assert answered == self.answered[len(self.answered) - len(answered) :]

    async def close(self) -> None:
        assert self.snapshots
        await self.snapshots.close()
        self.medium = self.snapshots = None

    def keys(self) -> State:
        return {key.decode(): text(entry) for key, entry in self.state.databases[0].members()}

    def check_live(self) -> None:
        assert self.keys() == self.live

    def frames(self) -> list[State]:
        return strict_scan(self.filesystem.content(PATH))[0] if PATH in self.filesystem.names() else []

    def possible(self) -> list[State]:
        return [self.answered[-1], *self.attempted]

    async def run(self, tries: int) -> None:
        for number in range(8):
            if self.snapshots is None:
                await self.attempt(self.open, tries)
            if self.snapshots:
                self.set(KEYS[number % 2], f"{number} " * 100)
                await self.attempt(self.flush, tries)
                if number == 4:
                    self.set(KEYS[5], "never flushed")
                    await self.attempt(self.load, tries)
            if number == 5 and self.snapshots:
                await self.close()

    async def attempt(self, step: Callable[[], Awaitable[None]], tries: int) -> None:
        for _ in range(tries):
            try:
                await step()
                break
            except MediumError:
                self.failures += 1
                # The load has failed.
                if step == self.open and self.medium:
                    self.medium.close()
                    self.medium = self.snapshots = None
                assert self.filesystem.open_count == (1 if self.medium else 0), "descriptors that nobody closes"


@pytest.fixture
async def disk_in_loop() -> Disk:
    # In thousands of runs, the debug mode would take more time than they do.
    asyncio.get_running_loop().set_debug(False)
    return DiskInLoop()


async def server_calls(disk: Disk) -> Counter[str]:
    filesystem = SimulatedDisk()
    server = Server(filesystem, disk)
    await server.run(1)
    assert server.failures == 0
    assert server.live == server.answered[-1]
    assert filesystem.calls["rename"] >= 2, "no compaction happened"
    return filesystem.calls


async def test_flush_whose_call_fails_once_is_told_and_the_next_one_recovers(verdicts: Verdicts, disk_in_loop: Disk) -> None:
    for fault in each_fault(for_good=False, calls_of=await server_calls(disk_in_loop)):
        with verdicts.case(str(fault)):
            filesystem = SimulatedDisk(random.Random(fault.at))
            filesystem.fault = fault
            server = Server(filesystem, disk_in_loop)
            await server.run(TRIES)
            verdicts.counts["faults met"] += filesystem.faults_met > 0
            verdicts.counts["answered with an error"] += server.failures > 0
            filesystem.fault = None
            assert server.snapshots, "it could not be opened again"
            await server.flush()
            assert not server.state.persistence.medium_poisoned
            filesystem.crash()
            await server.open()
            assert server.live == server.answered[-1]
    assert verdicts.counts["answered with an error"] > 100


@pytest.mark.parametrize("ending", ["the disk is sound again", "the power fails"])
async def test_flush_whose_call_fails_for_good_recovers_on_a_sound_disk(
    verdicts: Verdicts, disk_in_loop: Disk, ending: str
) -> None:
    for fault in each_fault(for_good=True, calls_of=await server_calls(disk_in_loop)):
        with verdicts.case(str(fault)):
            filesystem = SimulatedDisk(random.Random(fault.at))
            filesystem.fault = fault
            server = Server(filesystem, disk_in_loop)
            await server.run(tries=2)
            verdicts.counts["faults met"] += filesystem.faults_met > 0
            verdicts.counts["answered with an error"] += server.failures > 0
            filesystem.fault = None
            if ending == "the power fails":
                filesystem.crash()
                await server.open()
            elif server.snapshots is None:
                await server.open()
            server.set(KEYS[0], "after the fault")
            await server.flush()
            filesystem.crash()
            await server.open()
            assert server.live == server.answered[-1]
    assert verdicts.counts["answered with an error"] > 50


async def test_power_loss_at_each_call_of_a_server_loses_nothing_answered(verdicts: Verdicts, disk_in_loop: Disk) -> None:
    for at in range(1, sum((await server_calls(disk_in_loop)).values()) + 1):
        for seed in range(3):
            with verdicts.case(f"power loss at call {at}, seed {seed}"):
                filesystem = SimulatedDisk(random.Random(seed))
                filesystem.power_loss_at = at
                server = Server(filesystem, disk_in_loop)
                with suppress(PowerLoss):
                    await server.run(1)
                filesystem.crash()
                await server.open()
                if server.live == server.answered[-1]:
                    verdicts.counts["the last answered"] += 1
                else:
                    verdicts.counts["the one cut short"] += 1
                    server.answered.append(server.attempted.pop())
                server.set(KEYS[0], "after the power loss")
                await server.flush()
    assert verdicts.counts["the one cut short"] > 10


async def test_compaction_that_fails_leaves_the_flush_answered_and_every_frame(verdicts: Verdicts, disk_in_loop: Disk) -> None:
    """Whatever call of it fails: the flush before it stands, and the file holds the old frames or the kept ones."""
    calls = await server_calls(disk_in_loop)
    for kind in ("rename", "sync_folder", "open", "remove", "lock"):
        for at in range(1, calls[kind] + 1):
            with verdicts.case(f"{kind} {at}"):
                filesystem = SimulatedDisk(random.Random(at))
                server = Server(filesystem, disk_in_loop)
                await server.open()
                filesystem.fault = Fault(filesystem.calls[kind] + at, kind)
                for number in range(9):
                    server.set(KEYS[number % 2], f"{number} " * 100)
                    with suppress(MediumError):
                        await server.flush()
                    assert filesystem.open_count == 1, "descriptors that nobody closes"
                verdicts.counts["faults met"] += filesystem.faults_met > 0
                assert filesystem.names() == [PATH]
    assert verdicts.counts["faults met"] > 5


@pytest.mark.parametrize("how", BROKEN_IN)
async def test_server_leaves_a_file_that_breaks_for_good_for_a_new_one(how: str, disk_in_loop: Disk) -> None:
    filesystem = SimulatedDisk()
    server = Server(filesystem, disk_in_loop)
    await server.open()
    server.set("key:0", "x" * 700)
    await server.flush()
    filesystem.break_file(PATH, *BROKEN_IN[how])
    server.set("key:1", "y" * 700)
    with pytest.raises(MediumError):
        await server.flush()
    if "read" in BROKEN_IN[how]:
        # A frame that can't be read can't be kept.
        server.answered.pop()
    await server.flush()
    await server.flush()
    filesystem.crash()
    await server.open()
    assert server.live == server.answered[-1]


async def test_server_on_a_full_disk_gives_the_space_back_at_every_length(verdicts: Verdicts, disk_in_loop: Disk) -> None:
    filesystem = SimulatedDisk()
    server = Server(filesystem, disk_in_loop)
    await server.open()
    server.set("key:0", "small")
    await server.flush()
    before = filesystem.content(PATH)
    server.set("key:1", "x" * 2000)
    length = len(frame(server.live))
    for room in range(0, length, 17):
        with verdicts.case(f"room for {room} of {length} bytes"):
            filesystem.capacity_bytes = len(before) + room
            with pytest.raises(MediumError, match="No space left on device"):
                await server.flush()
            assert filesystem.content(PATH) == before
            assert filesystem.used_bytes == len(before)
            assert not server.state.persistence.medium_poisoned
    filesystem.capacity_bytes = None
    await server.flush()
    assert filesystem.content(PATH) == before + frame(server.live)


async def test_full_disk_during_a_recovery_gives_the_space_back(verdicts: Verdicts, disk_in_loop: Disk) -> None:
    """The new file that a poisoned one needs fits nowhere; once it fits, it is written."""
    for room in range(0, 2500, 101):
        with verdicts.case(f"room for {room} bytes"):
            filesystem = SimulatedDisk()
            server = Server(filesystem, disk_in_loop)
            await server.open()
            server.set("key:0", "x" * 1000)
            await server.flush()
            server.set("key:1", "y" * 1000)
            filesystem.fault = Fault(filesystem.calls["sync"] + 1, "sync")
            with pytest.raises(MediumError):
                await server.flush()
            used = filesystem.used_bytes
            filesystem.capacity_bytes = used + room
            with pytest.raises(MediumError):
                await server.flush()
            assert filesystem.used_bytes == used
            assert filesystem.open_count == 1, "descriptors that nobody closes"
            filesystem.capacity_bytes = None
            await server.flush()


async def test_damage_that_cannot_be_set_aside_leaves_no_part_of_a_copy(disk_in_loop: Disk) -> None:
    """Else each try would take more of a disk that is full already."""
    damage = b"?" * 3000
    filesystem = SimulatedDisk()
    filesystem.put(PATH, frame({"key:0": "x"}) + damage)
    filesystem.capacity_bytes = filesystem.used_bytes + 2000
    for _ in range(2):
        server = Server(filesystem, disk_in_loop)
        server.answered.append({"key:0": "x"})
        with pytest.raises(MediumError):
            await server.open()
        assert server.medium
        server.medium.close()
        assert filesystem.content(PATH).endswith(damage)
        assert filesystem.names() == [PATH]


# --- random histories with power losses, kills and faults


class History:
    """The history that one seed gives: some lives of one medium, each ending in a power loss, a kill or a close."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.disk = SimulatedDisk(self.rng)
        self.embedded = Library(self.disk)
        self.happened: Counter[str] = Counter()

    def live(self) -> None:
        for _ in range(self.rng.randrange(2, 4)):
            self.start()
            try:
                self.arm()
                for _ in range(self.rng.randrange(1, 4)):
                    self.step()
                self.happened["closed"] += 1
                self.embedded.close()
            except PowerLoss:
                self.happened["power lost in a call"] += 1
            self.disarm()
            if self.rng.random() < 0.7:
                self.disk.crash()
                self.happened["crashes"] += 1
            else:
                self.disk.kill()
        self.start()

    def start(self) -> None:
        """The state is the last answered flush, or a newer one that was cut short; a flush behind it is found."""
        asides = self.asides()
        library = self.embedded
        library.open()
        self.happened["cut flush kept"] += library.live != library.answered
        library.answered, library.attempted = dict(library.live), []
        tail = strict_scan(self.disk.content(PATH))[1]
        self.happened["tail"] += bool(tail)
        library.set(self.rng.choice(KEYS), "first of a life " * self.rng.randrange(1, 60))
        library.flush()
        self.happened["set aside"] += self.asides() != asides

    def step(self) -> None:
        library = self.embedded
        for _ in range(self.rng.randrange(3)):
            library.set(self.rng.choice(KEYS), str(self.rng.getrandbits(30)) * self.rng.choice((1, 40, 90)))
        action = self.rng.choices((library.flush, library.restore, lambda: library.compact(2)), (6, 1, 1))[0]
        try:
            action()
        except MediumError:
            self.happened["errors"] += 1

    def arm(self) -> None:
        calls = self.disk.call_count
        if self.rng.random() < 0.6:
            self.disk.power_loss_at = calls + self.rng.randrange(1, 40)
        if self.rng.random() < 0.25:
            kind = self.rng.choice(("write", "sync", "truncate", "rename", "sync_folder", "read"))
            at = self.disk.calls[kind] + self.rng.randrange(1, 6)
            self.disk.fault = Fault(at, kind, self.rng.choice((errno.EIO, errno.ENOSPC)), for_good=self.rng.random() < 0.3)

    def disarm(self) -> None:
        self.disk.fault = None
        self.disk.power_loss_at = 0

    def asides(self) -> list[str]:
        return [name for name in self.disk.names() if ".damaged-" in name]


@pytest.mark.timeout(120 + SEEDS // 50)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_of_crashes_loses_what_was_answered(verdicts: Verdicts, part: int) -> None:
    for seed in range(FIRST_SEED + part, FIRST_SEED + SEEDS, PARTS):
        with verdicts.case(f"KVSERVER_FAULT_FIRST_SEED={seed} KVSERVER_FAULT_SEEDS=1"):
            history = History(seed)
            history.live()
            verdicts.counts += history.happened
