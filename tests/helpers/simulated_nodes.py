"""Whole nodes, without sockets and threads, in virtual time: each on an event loop of its own, over one engine with faults.

Nothing of a node is a model: writer, jobs, outbox, sender, lease, standby, leadership and snapshots are the server's own, tied
as `server` ties them. What a disk's thread would do takes the time that the seed says, on the node's loop. A node's clock runs
at a rate of its own, and a node can be stopped and killed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import hiredis

from helpers.conductor import Conductor, Loop
from helpers.faulty_engine import Faults, FaultyLog, FaultyPresence, FaultyVault
from kvserver.commands.catalogue import COMMANDS
from kvserver.data.databases import Databases
from kvserver.dispatch.table import CommandTable
from kvserver.engine.client import Client
from kvserver.engine.jobs import Jobs
from kvserver.engine.writer import Writer
from kvserver.errors import MediumError
from kvserver.failover.shared_data import SharedData
from kvserver.formats.manifest import Position
from kvserver.media.memory_engine import MemoryLog, MemoryPresence, MemoryVault
from kvserver.media.shared import Engine, Entry, Mark
from kvserver.options.config import Config
from kvserver.persistence.disk import Disk
from kvserver.state.session import REPLAY_ID, ServerState, Session

T = TypeVar("T")

START_MS = 1_700_000_000_000
LEASE_MS = 1000
# The times that a call of a disk's thread takes, before its effect and behind it.
TAKES_S = (0.0, 0.0005, 0.002, 0.01, 0.05)
DRIFT = 0.08
# A late call has its effect so much later at most, to within the time between two looks.
LATEST_S = 3.0
LAND_S = 0.1
ROUNDS_OF_ENDING = 5
# All that clients and the journal call. Tables of all commands would take as long to make as a second of a node's life.
CALLED = {name: COMMANDS[name] for name in (b"bgrewriteaof", b"bgsave", b"get", b"incr", b"set")}


class NodeDisk(Disk):
    """Runs calls one behind the other, each at a time of the seed's choice, on the node's loop."""

    def __init__(self, node: SimulatedNode) -> None:
        super().__init__()
        self._node = node
        self._free_at = 0.0
        self._is_gone = False

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        loop, rng = self._node.loop, self._node.rng
        future: asyncio.Future[T] = loop.create_future()
        if not self._is_gone:
            self._free_at = max(self._free_at, loop.time()) + rng.choice(TAKES_S)
            loop.call_at(self._free_at, self._do, call, future)
        return future

    def _do(self, call: Callable[[], T], future: asyncio.Future[T]) -> None:
        if self._is_gone or future.cancelled():
            return
        self._node.lingers_s = 0.0
        result: Any = None
        error: Exception | None = None
        try:
            result = call()
        except Exception as raised:
            error = raised
        takes_s = self._node.rng.choice(TAKES_S) + self._node.lingers_s
        self._free_at = max(self._free_at, self._node.loop.time() + takes_s)
        self._node.loop.call_later(takes_s, self._end, future, result, error)

    def _end(self, future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
        if self._is_gone or future.done():
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def close(self) -> None:
        self._is_gone = True

    abandon = forget = close


class _Tail(FaultyLog):
    """The log as a node has it. Who waits for entries is answered at once, and hears of that when the wait is over."""

    def __init__(self, node: SimulatedNode, log: MemoryLog, faults: Faults) -> None:
        super().__init__(log, faults)
        self._node = node

    def append(self, data: bytes, mark: Mark, after: Position) -> Position:
        self._node.appends += 1
        return super().append(data, mark, after)

    def read(self, after: Position, wait_s: float) -> list[Entry]:
        found = super().read(after, 0)
        if not found and wait_s:
            self._node.lingers_s = wait_s
        return found

    def close(self) -> None:
        """Do nothing: others are there."""


class Shared:
    """What all nodes share: the engine, without faults, and the conductor."""

    def __init__(self, rng: random.Random, appendfsync: str = "always") -> None:
        self.rng = rng
        self.appendfsync = appendfsync
        self.conductor = Conductor()
        self.log = MemoryLog()
        self.vault = MemoryVault()
        self.presence = MemoryPresence()
        share = rng.choice((0.0, 0.02, 0.06))
        self.rates = {"lost": share, "late": share, "nothing": share, "failed": share}
        # Those of all lives of all nodes.
        self.faults: list[Faults] = []
        self._land()

    @property
    def has_late(self) -> bool:
        """True while a late effect is to come."""
        return any(faults.next_landing is not None for faults in self.faults)

    def _land(self) -> None:
        """Let late effects come that are due, also those of calls of a node that is dead."""
        for faults in self.faults:
            faults.land()
        self.conductor.at(self.conductor.now + LAND_S, self._land)

    def new_faults(self) -> Faults:
        conductor = self.conductor
        # Delays are the disk's.
        faults = Faults(self.rng, self.rates, now=lambda: conductor.now, wait=lambda seconds: None, latest_s=LATEST_S)
        self.faults.append(faults)
        return faults

    def calm(self) -> None:
        """Let no new fault come."""
        self.rates = {}
        for faults in self.faults:
            faults.rates = {}
            faults.is_away = False


class SimulatedNode:
    """One life of a node. `kill` ends it; one that is demoted starts anew by itself."""

    def __init__(self, shared: Shared, number: int) -> None:
        self.shared, self.rng, self.number = shared, shared.rng, number
        self.loop = Loop(shared.conductor, self.rng.uniform(1 - DRIFT, 1 + DRIFT))
        self.loop.set_exception_handler(self._on_exception)
        self.is_dead = False
        self.is_serving = False
        self.lingers_s = 0.0
        self.appends = 0
        self.demotions = 0
        self.clients: list[SimulatedClient] = []
        self._sessions = REPLAY_ID
        self._faults = [shared.new_faults() for _ in range(3)]
        self._engine = Engine(
            "memory://simulated",
            "simulated",
            _Tail(self, shared.log, self._faults[0]),
            FaultyVault(shared.vault, self._faults[1]),
            FaultyPresence(shared.presence, self._faults[2]),
            LEASE_MS / 1000,
        )
        self._serving: asyncio.Task[None] | None = None
        shared.conductor.loops.append(self.loop)
        self._begin(self._serve(is_first=True))

    def __str__(self) -> str:
        return f"node {self.number}"

    @property
    def is_primary(self) -> bool:
        return self.is_serving and self.state.replication.is_primary

    @property
    def is_following(self) -> bool:
        return self.is_serving and not self.is_primary and self.state.replication.is_link_up

    @property
    def epoch(self) -> int:
        return self.state.replication.epoch

    def _now_ms(self) -> int:
        return START_MS + int(self.loop.time() * 1000)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._serving = self.loop.create_task(work)
        self._serving.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.is_dead or not (error := task.exception()):
            return
        if isinstance(error, MediumError) and not self.is_serving:
            # A start without the engine ends the process, and whoever supervises it starts it again.
            self.data.halt()
            self.data.abandon()
            self.loop.call_later(1.0, lambda: self._begin(self._serve(is_first=True)))
        else:
            self.shared.conductor.failure = error

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.is_dead:
            self.shared.conductor.failure = context.get("exception") or AssertionError(context["message"])

    async def _serve(self, *, is_first: bool) -> None:
        """Do what Server does, without sockets."""
        config = Config()
        config.save = ()
        config.appendfsync = self.shared.appendfsync
        config.lease_milliseconds = LEASE_MS
        config.auto_aof_rewrite_min_size = 1500
        self.state = state = ServerState(
            config, Databases(self._now_ms), CALLED, self._now_ms, random_below=self.rng.randrange
        )
        table = CommandTable(CALLED, state.usages, lambda: 0)
        self.data = data = SharedData(
            state,
            table,
            self._engine,
            lambda: self.writer.wake(),
            self.loop.time,
            lambda: NodeDisk(self),
            is_first=is_first,
        )
        data.leadership.on_lead, data.leadership.on_demoted = self._lead, self._demote
        self.jobs = Jobs(state, data.snapshots, data.journal, lambda: None, lambda names: None, data.load, data.disk)
        self.writer = self.jobs.writer = Writer(state, table, self.jobs, data.journal.append)
        self.jobs.attend_journal()
        await self.jobs.load_at_start()
        self.is_serving = True
        while True:
            await asyncio.sleep(0.5)
            self.jobs.schedule.start_if_due()

    def _lead(self) -> None:
        self.state.databases.lead()
        self.jobs.choose_outbox()

    def _demote(self) -> None:
        self.demotions += 1
        self.is_serving = False
        self.writer.pause()
        self.data.halt()
        self._reset_clients()
        self.data.abandon()
        assert self._serving
        self._serving.cancel()
        self._begin(self._start_anew())

    async def _start_anew(self) -> None:
        for _ in range(ROUNDS_OF_ENDING):
            await asyncio.sleep(0)
            for task in {*self.writer.results.tasks, *self.jobs.tasks, *self.data.snapshots.tasks}:
                task.cancel()
        await self._serve(is_first=False)

    def _reset_clients(self) -> None:
        clients, self.clients = self.clients, []
        for client in clients:
            client.hang_up()

    def cut_off(self, *, is_away: bool) -> None:
        """Let the log of the engine be out of this node's reach, or in it again."""
        self._faults[0].is_away = is_away

    def connect(self, on_reply: Callable[[object], None], on_end: Callable[[], None]) -> SimulatedClient:
        self._sessions += 1
        client = SimulatedClient(self, Session(self.state, self._sessions, "simulated", "simulated", is_local=True))
        client.on_reply, client.on_end = on_reply, on_end
        self.clients.append(client)
        return client

    def kill(self) -> None:
        """End it where it stands. What is late of its calls has its effect all the same."""
        self.is_dead = True
        self.is_serving = False
        self.shared.conductor.loops.remove(self.loop)
        self._reset_clients()
        if hasattr(self, "data"):
            self.loop.do(self.data.halt)
            self.data.abandon()
        for _ in range(ROUNDS_OF_ENDING):
            for task in [*self.loop.tasks]:
                task.cancel()
            self.loop.turn()
        for task in self.loop.tasks:
            # It waits, as it ends, for a disk that is no more.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.loop.close()


class SimulatedClient(Client):
    """The node's end of a connection. Its other end is told of replies, and of the end."""

    on_reply: Callable[[object], None]
    on_end: Callable[[], None]

    def __init__(self, node: SimulatedNode, session: Session) -> None:
        super().__init__()
        self.session = session
        self._node = node
        self._reader = hiredis.Reader()

    def send(self, words: list[bytes]) -> None:
        """A command arrives when the node runs."""
        self._node.loop.call_soon(self._take, words)

    def _take(self, words: list[bytes]) -> None:
        if not self.is_closed:
            self.queue.append(words)
            if not (self.is_queued or self.is_waiting):
                self._node.writer.enqueue(self)

    def write(self, data: bytes) -> None:
        if not self.is_closed:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self.on_reply(reply)

    def wait(self, *, reads_on: bool = False) -> None:
        self.is_waiting = True

    def go_on(self) -> None:
        self.is_waiting = False
        if self.queue and not (self.is_queued or self.is_closed):
            self._node.writer.enqueue(self)

    def recognize(self) -> None: ...
    def read_on(self) -> None: ...

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        self.hang_up()

    def abort(self) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        if not self.is_closed:
            self.is_closed = self.has_ended = True
            self.queue = []
            self.on_end()
