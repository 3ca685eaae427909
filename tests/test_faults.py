"""Every call to the disk fails once, and for good; the power fails at every call, and at random. Nothing answered is lost.

The library and the server's Snapshots run the same script of flushes, loads and compactions over a SimulatedDisk. What
is in the file is read here by a scan of its own.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import json
import logging
import os
import random
import re
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from simulated_disk import ROOT, Fault, PowerLoss, SimulatedDisk

from kvserver.commands.table import CommandTable
from kvserver.config import Config
from kvserver.disk import Disk
from kvserver.errors import MediumError
from kvserver.keyspace import Keyspace
from kvserver.media.file import FileMedium
from kvserver.session import ServerState
from kvserver.snapshot import Snapshots
from kvserver.store import KVStore

SEEDS = int(os.environ.get("KVSERVER_FAULT_SEEDS", "10000"))
FIRST_SEED = int(os.environ.get("KVSERVER_FAULT_FIRST_SEED", "0"))

PATH = f"{ROOT}/dump.kvs"
HEADER_SIZE = 80
KEYS = [f"key:{number}" for number in range(6)]
TRIES = 4  # of a step after a fault that comes once: opening and flushing again
FAULTS = [
    Fault(0, kind, number)
    for kind in ("open", "lock", "size", "read", "write", "sync", "rename", "remove", "truncate", "sync_folder", "is_at")
    for number in (errno.EIO, errno.ENOSPC)
    if number == errno.EIO or kind in ("open", "write", "sync", "rename", "sync_folder")
] + [Fault(0, "write", short=True), Fault(0, "read", short=True), Fault(0)]  # the last: whatever is called

State = dict[str, str]


def frame(state: State) -> bytes:
    """A frame, written here once more so that nothing is checked by its own code."""
    payload = json.dumps(state, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return b"KVS1%012d" % len(payload) + hashlib.sha256(payload).hexdigest().encode() + payload


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


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few shards, keys and bytes a step, so that small stores take the steps of big ones, and thousands of runs no time."""
    for module in ("keyspace", "payload"):
        monkeypatch.setattr(f"kvserver.{module}.SHARDS", 3)
    monkeypatch.setattr("kvserver.payload.BATCH_KEYS", 2)
    for module in ("store", "scan", "snapshot"):
        monkeypatch.setattr(f"kvserver.{module}.CHUNK_BYTES", 300)
    monkeypatch.setattr("kvserver.media.file.COPY_BYTES", 700)


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Thousands of faults, each of them logged."""
    log = logging.getLogger("kvserver")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(level)


# --- the library


class Library:
    """A KVStore over a FileMedium, beside a model of what it must hold."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.medium: FileMedium | None = None
        self.store: KVStore | None = None
        self.live: State = {}
        self.answered: State = {}  # the last flush that was answered True
        self.attempted: list[State] = []  # flushes since then that were not: each may have reached the disk, or not
        self.failures = 0

    def open(self) -> None:
        self.medium = FileMedium(PATH, self.disk)
        self.store = KVStore(self.medium)
        self.live = {}
        self.restore()

    def set(self, key: str, value: str) -> None:
        assert self.store
        self.store.set(key, value)
        self.live[key] = value

    def flush(self) -> None:
        assert self.store
        earlier = self.frames()
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
        assert self.store
        try:
            found = self.store.restore()
        except MediumError:
            self.check_live()
            raise
        self.live = self.state()
        assert self.live in self.possible()
        assert found == bool(self.frames())

    def compact(self, keep: int) -> None:
        """What `kvserver compact` does."""
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
        assert self.store
        values = {key: self.store.get(key) for key in KEYS}
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
            if step != self.open and not self.store:
                continue
            for _ in range(tries):
                try:
                    step()
                    break
                except MediumError:
                    self.failures += 1
                    assert self.disk.open_count == (1 if self.medium else 0), "descriptors that nobody closes"
                    if self.store and step == self.open:  # its restore failed
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


def test_script_without_faults_meets_every_kind_of_call() -> None:
    disk = SimulatedDisk()
    library = Library(disk)
    library.run(tries=1)
    assert library.failures == 0
    assert library.live == library.answered
    print(dict(disk.calls))
    assert {fault.kind for fault in FAULTS} - {"", "truncate", "remove"} <= set(disk.calls)


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
        shown = "\n".join(self.failed[:20])
        assert not self.failed, f"{len(self.failed)} of {self.counts['runs']} runs failed:\n{shown}"


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
            assert library.store, "it could not be opened again"
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
                elif not library.store:
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
                library.set(KEYS[0], "after the power loss")
                library.flush()
    assert verdicts.counts["the one cut short"] > 10
