"""The writer, journal, snapshots, recovery and medium keep their promises on a simulated clock, loop and disk, from a seed.

Nothing here is real but the code under test: time moves when everybody waits, disk calls take what the seed says, fail
where it says, and at a moment of its choice the process is killed or the power fails. Then the next life must have what
the clients of this one were told, and be a state that the keyspace really had. A seed reproduces exactly; where kvserver
is compiled, which keeps its own hash and number of shards, with the same PYTHONHASHSEED.
"""

from __future__ import annotations

import asyncio
import os
import random
import selectors
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, TypeVar

import hiredis
import pytest

from helpers import models
from helpers.models import Data
from helpers.servers import IS_COMPILED
from helpers.simulated_disk import ROOT, Fault, SimulatedDisk
from helpers.small_chunks import data_of, divide_small_collections
from kvserver.commands.catalogue import COMMANDS
from kvserver.data import shards
from kvserver.data.databases import Databases, Frozen
from kvserver.data.freeze import Cut
from kvserver.dispatch.table import CommandTable
from kvserver.engine import writer
from kvserver.engine.client import Client
from kvserver.engine.jobs import Jobs
from kvserver.engine.writer import Writer
from kvserver.formats.encoder import encode
from kvserver.formats.tags import Mapping
from kvserver.media.file import FileMedium
from kvserver.media.medium import Place
from kvserver.media.memory import MemoryLease
from kvserver.media.segments import FileLog
from kvserver.options.config import Config
from kvserver.persistence import frames, journal, recovery, schedule, slices
from kvserver.persistence import snapshots as snapshot
from kvserver.persistence.disk import Disk
from kvserver.persistence.local_data import LocalData
from kvserver.state.session import REPLAY_ID, ServerState, Session

T = TypeVar("T")

# Compiled, a life has a thousand shards, not seven, and takes several times as long.
SEEDS = int(os.environ.get("KVSERVER_SIMULATION_SEEDS", "150" if IS_COMPILED else "300"))
ONE_SEED = os.environ.get("KVSERVER_SIMULATION_SEED")
# The seeds are split into so many tests, so that all cores have some.
PARTS = 4
LIVES = 3
PATH = f"{ROOT}/dump.kvs"
# The keys that are mostly used for each type: a string, a hash, a list, a set, a sorted set, a stream.
KEYS_OF = {letter: [b"%b%d" % (letter.encode(), number) for number in range(2)] for letter in "bhjklstxz"}
KEYS = KEYS_OF["any"] = [key for keys in KEYS_OF.values() for key in keys]
READS = {
    "k": [b"GET"],
    "h": [b"HGETALL"],
    "l": [b"LRANGE", b"0", b"-1"],
    "s": [b"SMEMBERS"],
    "z": [b"ZRANGE", b"0", b"-1"],
    "x": [b"XRANGE", b"-", b"+"],
}
START_MS = 1_700_000_000_000
# There is a sync each second, but each comes behind other calls of the simulated disk.
EVERYSEC_S = 2.0


# What all values begin with, and nothing else.
VALUE = b"v"

# What a tick has recorded: the commands, each with its database.
Tick = list[tuple[int, list[bytes]]]

# The commands that replace all data of a database.
REPLACING = (b"FLUSHALL", b"FLUSHDB", b"SWAPDB")

# The life that runs.
LIVING: list[Life] = []


def checked_encode(cuts: list[Cut], mapping: Mapping, libraries: dict[bytes, bytes]) -> Iterator[bytes]:
    """Encode cuts for a frame, and see that it is what the model said when the data was cut."""
    payload = b""
    for piece in encode(cuts, mapping, libraries):
        payload += piece
        yield piece
    life = LIVING[0]
    expected = life.cuts.pop(id(cuts))[1]
    if payload != expected:
        # To raise would be a flush that fails.
        life.fail(AssertionError(f"a frame that is not the state at its cut:\n{payload!r}\n{expected!r}"))


class NoSelector(selectors.DefaultSelector):
    """Waiting moves the clock. Waiting for nothing is a deadlock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for nothing"
        self.now += timeout
        return []


class Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = NoSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


class SlowDisk(Disk):
    """Runs calls in their order, each after a time of the seed's choice, on the loop itself.

    A call is done when its time is over, so that nothing else comes between.
    """

    def __init__(self, loop: Loop, rng: random.Random) -> None:
        self.is_dead = False
        self._loop = loop
        self._rng = rng
        self._free_at = 0.0

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        self._loop.call_at(self._take_time(), self._execute, call, future)
        return future

    def _take_time(self) -> float:
        """The time at which the next call ends."""
        delay = self._rng.choice((0.0, 0.0001, 0.001, 0.01, 0.2))
        self._free_at = max(self._free_at, self._loop.time()) + delay
        return self._free_at

    def _execute(self, call: Callable[[], T], future: asyncio.Future[T]) -> None:
        if future.cancelled():
            return
        if self.is_dead:
            future.cancel()
            return
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)


class SyncDisk(SlowDisk):
    """Runs syncs beside writes: each begins at once and ends when its time is over, and misses what is written meanwhile.

    Each has a thread that runs only while the loop waits for it, so that a seed reproduces all the same.
    """

    def __init__(self, loop: Loop, rng: random.Random, disk: SimulatedDisk) -> None:
        super().__init__(loop, rng)
        self._disk = disk
        self._may_end = threading.Event()
        # The thread that is in the middle of a sync.
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        assert not self._thread, "two syncs at once"
        future: asyncio.Future[T] = self._loop.create_future()
        outcome: asyncio.Future[T] = self._loop.create_future()

        has_begun, self._may_end = threading.Event(), threading.Event()

        def work() -> None:
            with suppress(ProcessEnded):
                self._execute(call, outcome)
            # Where there was nothing to sync, `wait` was not called.
            has_begun.set()

        def wait() -> None:
            has_begun.set()
            self._may_end.wait()
            if self.is_dead:
                raise ProcessEnded

        self._thread = threading.Thread(target=work, daemon=True)
        self._disk.in_sync = wait
        self._thread.start()
        has_begun.wait()
        self._disk.in_sync = lambda: None
        self._loop.call_at(self._take_time(), self._end, outcome, future)
        return future

    def _end(self, outcome: asyncio.Future[T], future: asyncio.Future[T]) -> None:
        self.end()
        if not self.is_dead:
            self._execute(outcome.result, future)

    def end(self) -> None:
        """Let the sync that has begun end, or be cut short if the process is dead."""
        if thread := self._thread:
            self._thread = None
            self._may_end.set()
            thread.join()


class ProcessEnded(BaseException):
    """The process was killed in the middle of a sync."""


class Simulated(Client):
    """A client that sends what the seed says and notes what it is told."""

    def __init__(self, life: Life, number: int) -> None:
        super().__init__()
        self.life = life
        self.session = Session(life.state, number, "simulated", "simulated", is_local=True)
        self.asked: list[list[bytes]] = []
        self.reader = hiredis.Reader()
        self.life.loop.call_later(life.rng.random() * 0.1, self.send)

    def send(self) -> None:
        rng = self.life.rng
        if self.is_closed or self.has_ended or self.life.is_silent:
            return
        # Most clients wait for their replies.
        if not self.asked or rng.random() < 0.2:
            for _ in range(rng.choice((1, 1, 2, 5))):
                command = self.life.draw_command()
                self.asked.append(command)
                self.queue.append(list(command))
            if rng.random() < 0.02:
                self.has_ended = True
            if not (self.is_queued or self.is_waiting):
                self.life.writer.enqueue(self)
        self.life.loop.call_later(rng.choice((0.0, 0.001, 0.02, 0.1)), self.send)

    def write(self, data: bytes) -> None:
        # A Connection does so, too.
        if self.is_closed:
            return
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            self.life.note(self.asked.pop(0), reply)

    def wait(self, *, reads_on: bool = False) -> None:
        assert not self.is_waiting
        self.is_waiting = True

    def go_on(self) -> None:
        assert self.is_waiting
        self.is_waiting = False
        if (self.queue or self.has_ended) and not (self.is_queued or self.is_closed):
            self.life.writer.enqueue(self)

    def recognize(self) -> None: ...
    def read_on(self) -> None: ...

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        self.is_closed = True
        self.queue = []

    def abort(self) -> None:
        self.close()
        self.life.aborted += 1


class WatchedConfig(Config):
    """Tells its life when the policy changes: the client who asked for that may never be told."""

    def __init__(self, life: Life) -> None:
        self.life = life
        super().__init__()

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("appendonly", "appendfsync") and self.life.policy and value != getattr(self, name):
            self.life.policy = "mixed"
            self.life.was_switched |= name == "appendonly"
        super().__setattr__(name, value)


class Life:
    """One process, from its start to its end, on a disk that outlives it."""

    def __init__(self, rng: random.Random, disk: SimulatedDisk, number: int) -> None:
        self.is_last = number == LIVES
        self.rng = rng
        self.loop = Loop()
        self.filesystem = disk
        self.number = number
        self.disks = (SlowDisk(self.loop, rng), SlowDisk(self.loop, rng), SyncDisk(self.loop, rng, disk))
        self.values = 0
        self.aborted = 0
        # The ticks, each a list of commands with their databases, and the data behind each RESTORE.
        self.history: list[Tick | Data] = []
        # The first tick that wrote each value.
        self.positions: dict[bytes, int] = {}
        # The last tick that a client was told of while it had to be durable.
        self.told = -1
        # What the history comes to up to some tick.
        self.data_then: Data = {}
        self.ticks_then = 0
        # The payloads that the frames of cuts must have.
        self.cuts: dict[int, tuple[Frozen, bytes]] = {}
        # The journal's numbers of ticks.
        self.recorded: list[tuple[int, int]] = []
        # The last tick that a client was told of while a kill had to lose nothing of it.
        self.handed_over = -1
        self.written_at: list[float] = []
        self.policy = ""
        # True if the journal was switched on or off in this life.
        self.was_switched = False
        self.config = WatchedConfig(self)
        self.config.save = ()
        self.config.keep_frames = rng.choice((1, 2, 3))
        self.config.appendfsync = rng.choice(("always", "always", "everysec", "no"))
        self.config.auto_aof_rewrite_min_size = rng.choice((500, 1 << 20))
        # The policy of the whole life, or "mixed".
        self.policy = self.config.appendfsync

    def now_ms(self) -> int:
        return START_MS + self.number * 1_000_000 + int(self.loop.time() * 1000)

    def run(self) -> None:
        loop = self.loop
        asyncio.set_event_loop(loop)
        loop.create_task(self.serve()).add_done_callback(self.on_end)
        self.ends_at = self.rng.uniform(0.05, 6.0) if self.rng.random() < 0.9 else self.rng.uniform(0.0, 0.1)
        # Behind all writes, a sync that missed one of them is seen: no later one makes up for it.
        self.is_silent = False
        if self.rng.random() < 0.2:
            loop.call_at(max(0.0, self.ends_at - EVERYSEC_S - 0.5), setattr, self, "is_silent", True)
        if not self.is_last:
            loop.call_at(self.ends_at, loop.stop)
        self.failure: BaseException | None = None
        loop.set_exception_handler(self.on_exception)
        loop.run_forever()
        for disk in self.disks:
            disk.is_dead = True
        self.disks[2].end()
        self.filesystem.fault = None
        self.faults = self.filesystem.faults_met
        self.syncs_failed = self.filesystem.syncs_failed
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
        asyncio.set_event_loop(None)
        if self.failure:
            raise self.failure

    def fail(self, failure: BaseException) -> None:
        self.failure = failure
        self.loop.stop()

    def on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()):
            self.fail(failure)

    def on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if self.failure is None and not self.disks[0].is_dead:
            self.fail(error or AssertionError(context["message"]))

    async def serve(self) -> None:
        """Do what Server does, without sockets."""
        config = self.config
        medium = FileMedium(PATH, self.filesystem, with_journal=True)
        databases = Databases(self.now_ms)
        self.state = state = ServerState(config, databases, COMMANDS, self.now_ms, random_below=self.rng.randrange)
        table = CommandTable(COMMANDS, state.usages)
        log = FileLog(PATH, self.filesystem)
        disks = iter(self.disks)
        data = LocalData(state, table, Place(MemoryLease(), medium, log), lambda: next(disks))
        self.journal, self.snapshots = data.journal, data.snapshots
        self.jobs = Jobs(state, self.snapshots, self.journal, lambda: None, lambda names: None, data.load, data.disk)
        self.writer = self.jobs.writer = Writer(state, table, self.jobs, self.record)
        self.jobs.attend_journal()
        await self.jobs.load_at_start()
        databases.records.attend(self)
        self.watch_cuts()
        self.history = [data_of(databases)]
        self.written_at = [self.loop.time()]
        self.told = self.handed_over = 0
        # Nothing ends the last life while it starts, so that a start that fails is seen.
        if self.is_last:
            self.loop.call_at(self.ends_at, self.loop.stop)
        if self.rng.random() < 0.5:
            self.filesystem.fault = Fault(
                at=self.filesystem.call_count + self.rng.randrange(1, 200), for_good=self.rng.random() < 0.1
            )
        self.clients = [Simulated(self, REPLAY_ID + 1 + number) for number in range(self.rng.choice((1, 3, 6)))]
        while True:
            await asyncio.sleep(1)
            self.jobs.schedule.start_if_due()

    def record(self, commands: list[list[bytes]], clients: int) -> None:
        self.journal.append(commands, clients)
        self.recorded.append((self.journal.sequence, len(self.history) - 1))

    def watch_cuts(self) -> None:
        """Note what the frame of each cut must hold, by the model, for `checked_encode`."""
        if IS_COMPILED:
            return
        databases = self.state.databases
        plain = databases.cut

        def cut() -> Frozen:
            made = plain()
            self.cuts[id(made.cuts)] = made, models.payload(self.data_now())
            return made

        databases.cut = cut  # type: ignore[method-assign]
        LIVING[:] = [self]

    def data_now(self) -> Data:
        """What the data must be, by all commands that were recorded so far."""
        for tick in self.history[self.ticks_then :]:
            self.data_then = applied(self.data_then, tick)
        self.ticks_then = len(self.history)
        return applied(copied(self.data_then), self.state.databases.records.since(0))

    # What the databases tell: what becomes of the data, in the order in which it does

    def before_taking(self) -> None:
        written = self.state.databases.records.since(0)
        if written:
            self.history.append([(number, list(command)) for number, command in written])
            self.written_at.append(self.loop.time())
            for word in (word for _, command in written for word in command if word.startswith(VALUE)):
                self.positions.setdefault(word, len(self.history) - 1)

    def before_replacing(self, number: int) -> None: ...

    def after_replacing(self, number: int) -> None:
        databases = self.state.databases
        records = databases.records
        is_recorded = any(request[0] in REPLACING for _, request in records.since(records.position - 1))
        # A RESTORE replaces one database after the other, and database 0 as the last.
        if not is_recorded and number == 0:
            records.take()
            self.history.append(data_of(databases))
            self.written_at.append(self.loop.time())

    def wrote_beside(self, number: int, key: bytes) -> None: ...

    def draw_command(self) -> list[bytes]:
        rng = self.rng
        key = rng.choice(KEYS)
        value = self.make_value()
        draw = rng.random()
        if draw < 0.2:
            return [b"SET", rng.choice(KEYS_OF["k"]), value]
        if draw < 0.55:
            return models.random_call(rng, KEYS_OF, self.make_value)
        if draw < 0.8:
            letter = rng.choice("khlszx")
            name, *words = READS[letter]
            return [name, rng.choice(KEYS_OF[letter]), *words]
        odd: list[list[bytes]] = [
            [b"DEL", key],
            [b"DEL", key],
            [b"SET", key, value, b"PX", b"%d" % rng.choice((1, 50, 5000, 10_000_000))],
            [b"SET", key, value, b"XX"],
            [b"PEXPIRE", key, b"%d" % rng.choice((1, 50, 5000, 10_000_000))],
            [b"SAVE"],
            [b"SAVE"],
            [b"BGREWRITEAOF"],
            [b"FLUSHALL"],
            [b"FLUSHDB"],
            *[[b"SELECT", b"%d" % rng.choice((0, 0, 1, 2))] for _ in range(3)],
            [b"SWAPDB", b"0", b"%d" % rng.choice((1, 2))],
            [b"MOVE", key, b"%d" % rng.choice((0, 1, 2))],
            [b"COPY", key, rng.choice(KEYS), b"DB", b"%d" % rng.choice((1, 2)), b"REPLACE"],
            [b"RESTORE"],
            [b"DEBUG", b"CRASH"],
            [b"CONFIG", b"SET", b"appendfsync", rng.choice((b"always", b"everysec", b"no"))],
            [b"CONFIG", b"SET", b"appendonly", rng.choice((b"yes", b"no"))],
        ]
        return rng.choice(odd)

    def make_value(self) -> bytes:
        """A value that no other command of any life has."""
        self.values += 1
        return b"%b%d.%d" % (VALUE, self.number, self.values) + b"x" * self.rng.choice((0, 0, 0, 0, 0, 100, 3000))

    def note(self, command: list[bytes], reply: object) -> None:
        """A client was told this, which is a promise: of what it wrote, or of what it saw."""
        if isinstance(reply, hiredis.ReplyError):
            assert b"defect" not in str(reply).encode(), reply
            return
        # Reads go on, and may show writes that were not synced.
        if self.state.journal.error:
            return
        if self.config.appendonly and not self.was_switched:
            seen: list[Any] = reply if isinstance(reply, list) else [reply]
            if command[0] == b"XRANGE":
                seen = [word for _, row in seen for word in row]
            for word in (*command[2:], *seen):
                position = self.positions.get(word, 0) if isinstance(word, bytes) else 0
                # A SET that was told OK may have been undone by a RESTORE since; the tick counts, not the value.
                if self.policy == "always":
                    self.told = max(self.told, position)
                self.handed_over = max(self.handed_over, position)

    def must_have(self, *, was_killed: bool) -> int:
        """The first tick that a start may end with. A kill loses nothing that the system has, unless a sync failed of it."""
        if was_killed and not self.syncs_failed:
            return self.handed_over
        if self.policy == "always":
            return self.told
        if self.faults or self.was_switched:
            return 0
        # What the journal takes for synced, and under `everysec` what is old enough to be that.
        safe = [index for number, index in self.recorded if number <= self.journal.synced]
        if self.policy == "everysec":
            safe += [index for index, at in enumerate(self.written_at) if at < self.ends_at - EVERYSEC_S]
        return max(safe, default=0)


def copied(data: Data) -> Data:
    return {number: state.copy() for number, state in data.items()}


def applied(data: Data, tick: Tick | Data) -> Data:
    """The data after a tick, which may be that before it, changed."""
    if isinstance(tick, dict):
        return copied(tick)
    for number, command in tick:
        models.apply_in(data, number, command)
    return data


def alive(data: Data, now_ms: int) -> Data:
    found = {
        number: {key: held for key, held in state.items() if held.expires_at_ms is None or held.expires_at_ms > now_ms}
        for number, state in data.items()
    }
    return {number: state for number, state in found.items() if state}


def matches(life: Life, found: Data, now_ms: int) -> int | None:
    """The last tick after which the data was what was found."""
    data: Data = {}
    last = None
    for index, tick in enumerate(life.history):
        data = applied(data, tick)
        if alive(data, now_ms) == found:
            last = index
    return last


def count_asides(disk: SimulatedDisk) -> int:
    return sum(".journal.damaged" in name for name in disk.names())


def simulate(seed: int) -> dict[str, int]:
    rng = random.Random(seed)
    disk = SimulatedDisk(rng)
    before: Life | None = None
    # True if each life since the last start that came to its end was killed; else the power failed.
    was_killed = True
    # True if nothing since the last start that came to its end explains damage.
    is_clean = True
    counts = {"lives": 0, "ticks": 0, "power losses": 0, "faults": 0, "aborted": 0, "promised and killed": 0}
    for number in range(LIVES + 1):
        disk.faults_met = disk.syncs_failed = 0
        asides = count_asides(disk)
        life = Life(rng, disk, number)
        life.run()
        counts["lives"] += 1
        counts["ticks"] += len(life.history)
        counts["faults"] += disk.faults_met
        counts["aborted"] += life.aborted
        assert life.history or not life.is_last, f"seed {seed}: a start that ends before it serves"
        if life.history and isinstance(life.history[0], dict):
            now_ms = START_MS + number * 1_000_000
            started = alive(life.history[0], now_ms)
            if before and before.history:
                found = matches(before, started, now_ms)
                assert found is not None, f"seed {seed}, life {number}: a state that never was: {started}"
                least = before.must_have(was_killed=was_killed)
                assert found >= least, f"seed {seed}, life {number}: tick {found} of {len(before.history)}, told of {least}"
                counts["promised and killed"] += was_killed and least > 0
            if is_clean and not life.faults:
                assert count_asides(disk) == asides, f"seed {seed}, life {number}: damage without a fault"
            before, is_clean, was_killed = life, True, True
        is_clean &= not life.faults and life.policy != "mixed"
        if rng.random() < 0.5:
            disk.kill()
        else:
            was_killed = False
            is_clean = False
            counts["power losses"] += 1
            disk.crash(rng)
    return counts


@pytest.fixture(autouse=True)
def _simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clock for all, few shards, and a hash that is the same in each process."""
    ticks = iter(range(1 << 60))

    def perf_counter() -> float:
        return next(ticks) * 0.00001

    def loop_time() -> float:
        return asyncio.get_running_loop().time()

    def perf_counter_ns() -> int:
        return round(perf_counter() * 1e9)

    clock = SimpleNamespace(perf_counter=perf_counter, perf_counter_ns=perf_counter_ns, time=loop_time, monotonic=loop_time)
    for module in (frames, schedule, journal, recovery, slices, snapshot, writer):
        monkeypatch.setattr(module, "time", clock, raising=False)
    divide_small_collections(monkeypatch)
    if not IS_COMPILED:
        monkeypatch.setattr(snapshot, "encode", checked_encode)
    monkeypatch.setattr(shards, "SHARDS", 7)
    monkeypatch.setattr(shards, "hash", zlib.crc32, raising=False)


@pytest.mark.timeout(60 + SEEDS // 4)
@pytest.mark.parametrize("part", range(1 if ONE_SEED else PARTS))
def test_every_life_begins_with_what_the_one_before_has_told(part: int) -> None:
    totals: dict[str, int] = {}
    for seed in [int(ONE_SEED)] if ONE_SEED else range(part, SEEDS, PARTS):
        try:
            counts = simulate(seed)
        except BaseException:
            print(f"KVSERVER_SIMULATION_SEED={seed} shows it again")
            raise
        totals = {name: totals.get(name, 0) + count for name, count in counts.items()}
    print(totals)
    if not ONE_SEED and SEEDS >= 100 * PARTS:
        assert all(totals.values())


def test_seed_reproduces_exactly() -> None:
    def calls(seed: int) -> object:
        rng = random.Random(seed)
        disk = SimulatedDisk(rng)
        life = Life(rng, disk, 0)
        life.run()
        return disk.calls, life.history, {name: disk.content(name) for name in disk.names()}

    assert calls(7) == calls(7)
