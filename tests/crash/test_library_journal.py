"""A store with a journal loses nothing that a call has returned: not at kill -9, nor at the loss of power where it is synced.

Children of this process write, and are killed amid their calls; each start has what they had. On a simulated disk the power
fails at each call in turn, or the call fails.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import PROJECT, StartServer, kvserver_environment
from helpers.sessions import Server
from helpers.simulated_disk import ROOT, Fault, PowerLoss, SimulatedDisk
from kvserver import KVStore, MediumError, ServerFolder
from kvserver.library import journal as journal_module
from kvserver.library.journal import Fsync

LIVES = int(os.environ.get("KVSERVER_LIBRARY_KILLS", "4"))
SEED = int(os.environ.get("KVSERVER_LIBRARY_KILLS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
# Of the calls to a simulated disk, each of so many meets a power loss, or fails.
EACH = int(os.environ.get("KVSERVER_LIBRARY_EACH_CALL", "4"))
WRITERS = 3
FOLDER = f"{ROOT}/data"
TABLE = Server().table

# It tells on its output what has returned: the number of the writer, and that of its turn.
CHILD = """
import os, sys, threading
from kvserver import KVStore
from kvserver.library import journal

journal.LEAST_OUTGROWN_BYTES = 30_000
store = KVStore(sys.argv[1], journal=True, fsync=sys.argv[2])

def write(name):
    turn = store.get(f"turn {name}", 0)
    while True:
        turn += 1
        assert store.incr(f"count {name}") == turn
        store.update({f"left {name}": turn, f"right {name}": {"turn": turn}})
        store.set(f"timed {name}", turn, ttl=1000)
        store.set(f"long {name}", str(turn) * 20_000 if turn % 10 == 0 else "short")
        if turn % 2:
            store.set(f"odd {name}", turn)
        else:
            store.delete(f"odd {name}")
        store.set(f"turn {name}", turn)
        os.write(1, b"%d %d\\n" % (name, turn))

def flush():
    while True:
        store.shutdown()

for work in (*(lambda name=name: write(name) for name in range(int(sys.argv[3]))), flush):
    threading.Thread(target=work).start()
"""


def live(folder: Path, fsync: Fsync, turns: int) -> dict[int, int]:
    """A life that is killed when it has told of so many turns. Return the last turn that each writer has told of."""
    told: dict[int, int] = {}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), fsync, str(WRITERS)],
        stdout=subprocess.PIPE, env=kvserver_environment(), cwd=PROJECT,
    )  # fmt: skip
    assert child.stdout
    with child:
        for number, line in enumerate(child.stdout):
            if line.endswith(b"\n"):
                name, turn = map(int, line.split())
                told[name] = turn
            if number == turns:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL, "it ended by itself"
    return told


def check(store: KVStore, told: dict[int, int]) -> None:
    """Each writer's data is that of its last turn that was told of, and of some steps of the next one."""
    for name, turn in told.items():
        count = store.get(f"count {name}", 0)
        assert count - turn in (0, 1), f"writer {name}: {turn} was told of, and {count} is there"
        left, right = store.get(f"left {name}", 0), store.get(f"right {name}", {"turn": 0})
        assert left == right["turn"], "half of an update"
        steps = [count, left, store.get(f"timed {name}", 0), store.get(f"turn {name}", 0)]
        assert steps == sorted(steps, reverse=True), "a later call is there, and an earlier one is not"
        assert steps[-1] >= turn
        assert (store.ttl(f"timed {name}") or 0) > 900 or not steps[2]
        if len(set(steps)) == 1:
            assert store.get(f"odd {name}") == (count if count % 2 else None)
            assert store.get(f"long {name}", "short") == (str(count) * 20_000 if count and count % 10 == 0 else "short")


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_kill_9_amid_calls_loses_nothing_that_has_returned(fsync: Fsync, tmp_path: Path, start_server: StartServer) -> None:
    print(f"KVSERVER_LIBRARY_KILLS_SEED={SEED}")
    rng, folder = random.Random(SEED), tmp_path / "data"
    told: dict[int, int] = {}
    for _ in range(LIVES):
        told |= live(folder, fsync, rng.randrange(5, 100))
        with KVStore(folder, read_only=True) as store:
            check(store, told)
        with KVStore(folder, journal=rng.random() < 0.5) as store:
            check(store, told)
            for name in told:
                # The next life begins with a whole turn.
                turn = told[name] = store.get(f"count {name}")
                odd = {f"odd {name}": turn} if turn % 2 else {}
                store.pop(f"odd {name}", None)
                store.update({f"left {name}": turn, f"right {name}": {"turn": turn}, f"turn {name}": turn, **odd})
                store.set(f"timed {name}", turn, ttl=1000)
                store.set(f"long {name}", str(turn) * 20_000 if turn % 10 == 0 else "short")
    assert all(told.values())
    with start_server(directory=folder).connect() as wire:
        for name, turn in told.items():
            assert wire.value("GET", f"count {name}") == b"%d" % turn
            assert wire.value("JSON.GET", f"right {name}") == b'{"turn":%d}' % turn


# --- A simulated disk ---


class Life:
    """A store on a simulated disk, beside what has returned, and what may have happened besides."""

    def __init__(self, disk: SimulatedDisk, fsync: Fsync = "always") -> None:
        self.disk = disk
        self.fsync = fsync
        self.kept: dict[str, Any] = {}
        self.attempted: dict[str, Any] = {}
        self.store: KVStore | None = None
        self.counts: Counter[str] = Counter()

    def open(self) -> None:
        self.store = KVStore(ServerFolder(FOLDER, filesystem=self.disk), journal=True, fsync=self.fsync)
        found = dict(self.store)
        assert found in (self.kept, self.attempted), f"{found!s:.80}… is neither of two"
        self.kept = self.attempted = found

    def change(self, change: Callable[[dict[str, Any]], object], call: Callable[[KVStore], object]) -> None:
        """The same on both; what has failed may be kept all the same."""
        assert self.store is not None
        assert dict(self.store) in (self.kept, self.attempted)
        self.kept = self.attempted = dict(self.store)
        self.attempted = dict(self.kept)
        change(self.attempted)
        call(self.store)
        assert dict(self.store) == self.attempted
        self.kept = self.attempted

    def flush(self) -> None:
        assert self.store is not None
        self.store.shutdown()
        self.kept = self.attempted = dict(self.store)

    def close(self) -> None:
        assert self.store is not None
        store, self.store = self.store, None
        self.kept = self.attempted = dict(store)
        store.close()

    def steps(self) -> Iterator[Callable[[], None]]:
        def written(number: int) -> Callable[[], None]:
            value, key = f"{number} " * (1 + number * 40 % 700), f"key {number % 4}"
            return lambda: self.change(lambda model: model.update({key: value}), lambda store: store.set(key, value))

        def removed(key: str) -> Callable[[], None]:
            return lambda: self.change(lambda model: model.pop(key, None), lambda store: store.pop(key, None))

        yield self.open
        for number in range(4):
            yield written(number)
        yield self.flush
        yield written(4)
        yield removed("key 1")
        yield self.flush
        yield written(6)
        yield self.close
        yield self.open
        yield written(7)
        yield self.flush
        yield removed("key 2")
        yield written(8)
        yield self.close
        yield self.open

    def run(self) -> None:
        for step in self.steps():
            step()

    def run_against_faults(self) -> None:
        """All steps; where one fails, a frame heals it, as a person is told to have it."""
        for step in self.steps():
            if self.store is None:
                self.open_again()
            if step == self.open:
                continue
            try:
                step()
            except MediumError:
                self.counts["told"] += 1
                if self.store is not None:
                    self.heal()
        if self.store is None:
            self.open_again()

    def open_again(self) -> None:
        for _ in range(6):
            try:
                self.open()
                return
            except MediumError:
                self.counts["told"] += 1
        pytest.fail("it could not be opened again")

    def heal(self) -> None:
        for _ in range(6):
            try:
                self.flush()
                return
            except MediumError:
                self.counts["told"] += 1
        pytest.fail("no frame has healed it")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Only the test's own thread uses the simulated disk, so that each run is like the others. Faults are not logged."""
    monkeypatch.setattr(journal_module, "SYNC_INTERVAL_S", 3600)
    # To make one for each of a thousand starts would take most of the time.
    monkeypatch.setattr("kvserver.library.folder.CommandTable", lambda commands, usages: TABLE)
    monkeypatch.setattr("kvserver.data.shards.SHARDS", 3)
    caplog.set_level(100, "kvserver")


def calls_of_a_run() -> Counter[str]:
    disk = SimulatedDisk(random.Random(0))
    disk.evicts_at_close = False
    Life(disk).run()
    return disk.calls


def test_power_loss_at_each_call_keeps_what_has_returned() -> None:
    total = sum(calls_of_a_run().values())
    counts: Counter[str] = Counter()
    print(f"KVSERVER_LIBRARY_KILLS_SEED={SEED}")
    for at in range(1 + SEED % EACH, total + 1, EACH):
        disk = SimulatedDisk(random.Random(SEED))
        disk.power_loss_at = at
        life = Life(disk)
        with suppress(PowerLoss):
            life.run()
        disk.crash()
        was_changing, attempted = life.kept != life.attempted, life.attempted
        life.open()
        if was_changing:
            counts["what was cut short is there" if life.kept == attempted else "it is not"] += 1
        life.change(lambda model: model.update(behind=1), lambda store: store.set("behind", 1))
        disk.crash()
        life.open()
        assert life.kept["behind"] == 1, f"power loss at call {at}"
    print(dict(counts))
    assert total > 100


KINDS = ["write", "sync", "sync_folder", "open", "rename", "remove", "truncate", "list", "size_at"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_call_that_fails_is_told_and_what_has_returned_is_kept(kind: str, fsync: Fsync) -> None:
    told = 0
    print(f"KVSERVER_LIBRARY_KILLS_SEED={SEED}")
    for at in range(1 + SEED % EACH, calls_of_a_run()[kind] + 4, EACH):
        disk = SimulatedDisk(random.Random(at))
        disk.fault = Fault(at, kind, for_good=False)
        life = Life(disk, fsync)
        life.run_against_faults()
        told += life.counts["told"]
        assert life.store is not None
        disk.fault = None
        life.heal()
        life.store["end"] = at
        life.kept = life.attempted = dict(life.store)
        if fsync == "everysec":
            # The thread that syncs would have had its second.
            life.store._journal.sync_late()  # type: ignore[union-attr]
        disk.crash()
        life.open()
        assert life.kept["end"] == at
    assert told or kind in ("truncate", "remove", "rename")
