"""The single writer: it runs clients' commands in the order of their arrival, one tick per loop iteration.

Owns the inbox, into which connections put clients whose requests are parsed, and the fairness between clients. A tick drains
the inbox, runs every command, writes the replies of each client at once, and records what was written. No command waits
here: what takes longer is an effect (`results`), and only its own client waits for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from kvserver._speedups.ahead import FETCHES_AHEAD
from kvserver._speedups.choice import IS_COMPILED
from kvserver.dispatch.table import ALIKE_FROM, CommandTable
from kvserver.engine.client import Client
from kvserver.engine.execution import Execution
from kvserver.engine.outbox import Outbox
from kvserver.engine.results import Jobs, Results
from kvserver.resp.request import Request
from kvserver.state.session import ServerState

# The turn of one client ends at the first of these limits, or where it has long replies. The clock is looked at after each
# COMMANDS_PER_RUN.
COMMANDS_PER_TURN: Final = 1024
TURN_S: Final = 0.002
COMMANDS_PER_RUN: Final = 64
# For fewer look-ups, fetching ahead takes as much as it saves.
AHEAD_FROM: Final = 4

if TYPE_CHECKING:
    from kvserver.engine.carrier import Carrier


class Writer:
    """The inbox and the tick of a server.

    Each tick gives its write commands, if there are some, to `record`, and the number of clients that had their turn in it.
    `runs_together`: requests of clients that have not sent much are run as if one of them had sent all.
    """

    def __init__(
        self,
        state: ServerState,
        table: CommandTable,
        jobs: Jobs,
        record: Callable[[list[Request], int], None],
    ) -> None:
        self.results = Results(state, table, jobs)
        self.results.wake = self.wake
        self._outbox: Outbox | None = None
        self._record = record
        self._execution = Execution(state, table, self.results, lambda: bool(self._pauses))
        self._state = state
        self._clock = state.databases.clock
        self._awaited = state.databases.awaited
        # Measured: where the leaves are not compiled, it takes as long as it saves.
        self.runs_together = IS_COMPILED
        self._inbox: list[Client] = []
        self._is_scheduled = False
        # What a turn of the event loop runs.
        self._turn: Callable[[], None] = self._tick
        # The tick stands aside whose clients are in the batch, at this place.
        self._is_aside = False
        self._batch: list[Client] = []
        self._place = 0
        self._pauses = 0
        self._loop = asyncio.get_running_loop()
        # Somebody may write beside the ticks now.
        self._free = asyncio.Event()
        self._free.set()

    def hold_replies(self, outbox: Outbox | None) -> None:
        """Send replies by this outbox or, if it is None, at once."""
        self._outbox = self.results.outbox = outbox

    def enqueue(self, client: Client) -> None:
        """Run what is in a client's queue in the next tick. The client must not be queued already."""
        client.is_queued = True
        self._inbox.append(client)
        if not self._is_scheduled:
            self._schedule()

    def pause(self) -> None:
        """Run no command from the next client on, until `resume` was called as often as this."""
        self._pauses += 1
        self._free.clear()

    def resume(self) -> None:
        """End one `pause`."""
        self._pauses -= 1
        self._note_free()
        if (self._inbox or self._awaited.touched) and not self._is_scheduled:
            self._schedule()

    def wake(self) -> None:
        """Run a tick soon, though nobody has sent a command: something else has written."""
        if not self._is_scheduled:
            self._schedule()

    def _note_free(self) -> None:
        if not (self._pauses or self._is_aside):
            self._free.set()

    async def until_free(self) -> None:
        """Wait while there is a pause, or a script stands aside."""
        await self._free.wait()

    def run_beside(self, work: Callable[[], None]) -> None:
        """Do work that writes, though no client has sent it, as a tick of its own. The caller has waited `until_free`."""
        try:
            work()
        finally:
            if self._awaited.touched:
                self._clock.hold()
                self.results.waiting.serve()
                self._clock.release()
            self._end_tick(1)
            if self.results.waiting.has_ended_any:
                self.results.waiting.release()

    def _schedule(self) -> None:
        # What runs beside a script changes nothing, and may be what ends it: a pause does not hold it.
        if self._is_aside or not self._pauses:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    # Scripts

    def carry(self, carrier: Carrier) -> None:
        """Run ticks in a carrier from now on, so that scripts can stand aside."""
        self._turn = partial(self._carried_tick, carrier)

    def _carried_tick(self, carrier: Carrier) -> None:
        if self._is_aside:
            self._tick()
        elif not carrier.run(self._tick):
            self._loop.call_soon(self._go_on, carrier)

    def _go_on(self, carrier: Carrier) -> None:
        if not carrier.go_on():
            self._loop.call_soon(self._go_on, carrier)

    def step_aside(self, position: int) -> None:
        """Let ticks run beside the one that runs: a script of it stands aside, and what it does begins at this record.

        Those who are behind its client in the tick have their turn beside it, and what was written before is safe.
        """
        self._is_aside = True
        self._free.clear()
        batch, place = self._batch, self._place + 1
        self._inbox[:0] = batch[place:]
        del batch[place:]
        if self._inbox and not self._is_scheduled:
            self._schedule()
        records = self._state.databases.records
        records.keep_from(position)
        if records.has_any:
            self._record(records.take(), len(batch))
        if self._outbox:
            self._outbox.seal()

    def step_back(self) -> None:
        """Let the tick go on alone: its script has ended."""
        self._is_aside = False
        self._note_free()
        self._state.databases.records.keep_from(None)

    def _tick(self) -> None:
        self._is_scheduled = False
        batch, self._inbox = self._inbox, []
        clients = len(batch)
        self._run_batch(batch)
        if self._awaited.touched and not (self._pauses or self._is_aside):
            self._clock.hold()
            self.results.waiting.serve()
            self._clock.release()
        # Those whose wait is over run what they have sent meanwhile before anything that comes later, as in Redis.
        while self.results.waiting.has_ended_any:
            others, self._inbox = self._inbox, []
            self.results.waiting.release()
            batch, self._inbox = self._inbox, others
            clients += len(batch)
            self._run_batch(batch)
        self._end_tick(clients)

    def _end_tick(self, clients: int) -> None:
        """Record what was written, in one record, and let go what may be sent behind it."""
        records = self._state.databases.records
        if records.has_any:
            self._record(records.take(), clients)
        if self._outbox:
            self._outbox.seal()

    def _run_batch(self, batch: list[Client]) -> None:
        """Give each client its turn, until there is a pause: then the others are in the inbox again."""
        execution, is_beside = self._execution, self._is_aside
        run, run_one = execution.run_beside if is_beside else execution.run, execution.run_one
        now_ms = self._state.now_ms()
        if not is_beside:
            if self.runs_together and len(batch) >= ALIKE_FROM and not self._pauses:
                batch = execution.run_together(batch, now_ms)
            self._batch = batch
        if FETCHES_AHEAD and len(batch) >= AHEAD_FROM:
            # Nearly always all clients have selected one database. For those in another one this fetches nothing of use. Long
            # queues fetch ahead when they run.
            firsts = [client.queue[0] for client in batch if 0 < len(client.queue) < AHEAD_FROM]
            batch[0].session.keyspace.fetch_ahead(firsts)
        for position, client in enumerate(batch):
            if not is_beside:
                self._place = position
            if self._pauses and not is_beside:
                self._inbox[:0] = batch[position:]
                break
            client.is_queued = False
            if client.is_waiting or client.is_choked:
                continue
            if client.queue:
                client.session.last_active_at_ms = now_ms
                try:
                    requests = client.queue
                    if len(requests) <= COMMANDS_PER_RUN:
                        client.queue = []
                        if len(requests) == 1 and not is_beside:
                            run_one(client, requests)
                        else:
                            run(client, requests)
                    else:
                        self._take_turn(client, run)
                    if client.is_full:
                        client.read_on()
                except Exception:
                    execution.abandon(client)
                    continue
                if client.queue and not (client.is_queued or client.is_waiting or client.is_choked):
                    self.enqueue(client)
            if client.has_ended and not (client.queue or client.is_waiting or client.is_choked):
                if self._outbox:
                    self._outbox.finish(client)
                else:
                    client.finish()

    def _take_turn(self, client: Client, run: Callable[[Client, list[Request]], None]) -> None:
        """Run as much of a long queue as one turn may take."""
        requests = client.queue
        deadline = time.perf_counter() + TURN_S
        for start in range(0, min(len(requests), COMMANDS_PER_TURN), COMMANDS_PER_RUN):
            end = start + COMMANDS_PER_RUN
            client.queue = []
            run(client, requests[start:end])
            if client.is_closed:
                return
            if client.queue or client.is_waiting or client.is_choked or time.perf_counter() > deadline:
                break
        client.queue += requests[end:]
