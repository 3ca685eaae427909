"""The single writer: it runs clients' commands in the order of their arrival, one tick per loop iteration.

Owns the inbox, into which connections put clients whose requests are parsed, and the fairness between clients. A tick drains
the inbox, runs every command, writes the replies of each client at once, and records what was written. No command waits
here: what takes longer is an effect (`results`), and only its own client waits for that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from kvserver._speedups.ahead import FETCHES_AHEAD
from kvserver._speedups.choice import IS_COMPILED
from kvserver._speedups.replies import cut_replies
from kvserver.dispatch.effect import EFFECTS
from kvserver.dispatch.gate import is_free
from kvserver.dispatch.table import ALIKE_FROM, CommandTable
from kvserver.engine.outbox import Outbox
from kvserver.engine.results import INTERNAL_ERROR, Client, Jobs, Result, Results
from kvserver.errors import CommandError
from kvserver.resp.reply import (
    BULK_HEADERS,
    CACHED_BULK_HEADERS,
    CACHED_INTEGERS,
    CRLF,
    INTEGERS,
    NULL,
    Encoded,
    Error,
    Simple,
    encode_pieces,
)
from kvserver.resp.request import Request
from kvserver.state.description import ANY_NUMBER
from kvserver.state.session import ServerState

# The turn of one client ends at the first of these three limits. The clock is looked at after each COMMANDS_PER_RUN.
COMMANDS_PER_TURN: Final = 1024
TURN_S: Final = 0.002
# This limit is also there for the client to take some of the replies before more are gathered.
LONG_REPLIES_PER_TURN_BYTES: Final = 1 << 18
COMMANDS_PER_RUN: Final = 64
# For fewer look-ups, fetching ahead takes as much as it saves.
AHEAD_FROM: Final = 4
# The names of commands are counted after so many.
COMMANDS_PER_FOLD: Final = 1024

if TYPE_CHECKING:
    from kvserver.engine.carrier import Carrier

ANY_ARITY: Final = range(1, ANY_NUMBER)

_log = logging.getLogger("kvserver")


class Writer:
    """The inbox and the tick of a server. Each tick gives its write commands, if there are some, to `record`.

    `runs_together`: requests of clients that have sent one each are run as if one of them had sent all.
    """

    def __init__(
        self,
        state: ServerState,
        table: CommandTable,
        jobs: Jobs,
        record: Callable[[list[Request]], None],
    ) -> None:
        self.results = Results(state, table, jobs)
        self.results.wake = self.wake
        self._outbox: Outbox | None = None
        self._record = record
        self._plain = table.plain
        self._call = table.call
        # The runner of a name that is not among those of the session.
        self._gated = (table.call, ANY_ARITY, None, None)
        self._state = state
        self._counters = state.counters
        self._clock = state.databases.clock
        self._awaited = state.databases.awaited
        self._run_alike = table.run_alike
        # Measured: where the leaves are not compiled, it takes as long as it saves.
        self.runs_together = IS_COMPILED
        self._usages = state.usages
        self._executed = state.usages.executed
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

    def resume(self) -> None:
        """End one `pause`."""
        self._pauses -= 1
        if (self._inbox or self._awaited.touched) and not self._is_scheduled:
            self._schedule()

    def wake(self) -> None:
        """Run a tick soon, though nobody has sent a command: something else has written."""
        if not self._is_scheduled:
            self._schedule()

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
        batch, place = self._batch, self._place + 1
        self._inbox[:0] = batch[place:]
        del batch[place:]
        if self._inbox and not self._is_scheduled:
            self._schedule()
        records = self._state.databases.records
        records.keep_from(position)
        if records.has_any:
            self._record(records.take())
        if self._outbox:
            self._outbox.seal()

    def step_back(self) -> None:
        """Let the tick go on alone: its script has ended."""
        self._is_aside = False
        self._state.databases.records.keep_from(None)

    def _tick(self) -> None:
        self._is_scheduled = False
        batch, self._inbox = self._inbox, []
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
            self._run_batch(batch)
        records = self._state.databases.records
        if records.has_any:
            self._record(records.take())
        if self._outbox:
            self._outbox.seal()

    def _run_batch(self, batch: list[Client]) -> None:
        """Give each client its turn, until there is a pause: then the others are in the inbox again."""
        is_beside = self._is_aside
        now_ms = self._state.now_ms()
        if not is_beside:
            while self.runs_together and len(batch) >= ALIKE_FROM and not self._pauses:
                left = self._run_together(batch, now_ms)
                if len(left) == len(batch):
                    break
                batch = left
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
                            self._run_one(client, requests)
                        else:
                            self._run(client, requests)
                    else:
                        self._take_turn(client)
                    if client.is_full:
                        client.read_on()
                except Exception:
                    self._usages.noted, self._usages.batch = 0, []
                    self._clock.release()
                    self._abandon(client)
                    continue
                if client.queue and not (client.is_queued or client.is_waiting or client.is_choked):
                    self.enqueue(client)
            if client.has_ended and not (client.queue or client.is_waiting or client.is_choked):
                if self._outbox:
                    self._outbox.finish(client)
                else:
                    client.finish()

    def _run_together(self, batch: list[Client], now_ms: int) -> list[Client]:
        """Run requests of clients that have sent one each, as if one of them had sent all; return the clients that are left.

        Those that take part have the protocol and the database of the first one that does. They come before the others. That
        is an order as good as any, since nobody of them has a reply yet. Measured: with 50 clients, a GET takes half as long.
        """
        first = next((client.session for client in batch if len(client.queue) == 1 and is_free(client.session)), None)
        if first is None:
            return batch
        runners, keyspace, protocol = self._plain(first), first.keyspace, first.protocol
        clients = [
            client
            for client in batch
            if len(client.queue) == 1
            and (runner := runners.get(client.queue[0][0]))
            and (many := runner[3])
            and many.width in (len(client.queue[0]), 0)
            and (session := client.session).keyspace is keyspace
            and session.protocol == protocol
            and is_free(session)
            and not (client.is_waiting or client.is_choked or client.is_full or client.has_ended)
        ]
        if len(clients) < ALIKE_FROM:
            return batch
        requests = [client.queue[0] for client in clients]
        if FETCHES_AHEAD:
            keyspace.fetch_ahead(requests)
        output: list[bytes] = []
        self._clock.hold()
        try:
            done = self._run_alike(first, requests, runners, output)
            replies = cut_replies(b"".join(output))
        except Exception:
            for client in clients:
                client.queue = []
                self._abandon(client)
            return batch
        finally:
            self._clock.release()
        self._counters.commands_processed += done
        self._executed += [request[0] for request in requests[:done]]
        outbox = self._outbox
        for client, request, reply in zip(clients, requests, replies, strict=False):
            client.is_queued = False
            client.queue = []
            session = client.session
            session.last_active_at_ms = now_ms
            session.last_command = request[0]
            try:
                if outbox:
                    outbox.write(client, reply)
                else:
                    client.write(reply)
            except Exception:
                self._abandon(client)
        return [] if done == len(batch) else [client for client in batch if client.is_queued]

    def _abandon(self, client: Client) -> None:
        """Close a client while an exception is handled: its failure must not take the turn of those behind it."""
        _log.exception("a client's turn failed: this is a defect of kvserver")
        client.abort()

    def _take_turn(self, client: Client) -> None:
        """Run as much of a long queue as one turn may take."""
        requests = client.queue
        deadline = time.perf_counter() + TURN_S
        for start in range(0, min(len(requests), COMMANDS_PER_TURN), COMMANDS_PER_RUN):
            end = start + COMMANDS_PER_RUN
            client.queue = []
            self._run(client, requests[start:end])
            if client.is_closed:
                return
            if client.queue or client.is_waiting or client.is_choked or time.perf_counter() > deadline:
                break
        client.queue += requests[end:]

    def _run_one(self, client: Client, requests: list[Request]) -> None:
        """Run the only request of a client's queue and write its reply, as `_run` does, with less around it.

        Measured: of a GET that comes alone it saves a fifteenth of the instructions between the read and the write.
        """
        session, request = client.session, requests[0]
        self._clock.hold()
        session.last_command = request[0]
        self._counters.commands_processed += 1
        self._usages.batch = requests
        runners = self._plain(session)
        try:
            handler, arities, _, _ = runners.get(request[0]) or runners.get(request[0].lower()) or self._gated
            if len(request) not in arities:
                handler = self._call
            reply = handler(session, request)
        except CommandError as error:
            self._usages.fail(request, error)
            reply = Error(str(error))
        except Exception:
            _log.exception("the command %r failed: this is a defect of kvserver", request[0][:64])
            reply = Error(INTERNAL_ERROR)

        kind = type(reply)
        if kind is bytes and len(reply) <= LONG_REPLIES_PER_TURN_BYTES:  # type: ignore[arg-type]
            data = b"$%d\r\n%b\r\n" % (len(reply), reply)  # type: ignore[arg-type, str-format]
        elif kind is Simple:
            data = reply.wire  # type: ignore[union-attr]
        elif reply is None:
            data = NULL[session.protocol]
        elif kind is int:
            data = b":%d\r\n" % reply  # type: ignore[str-format]
        elif kind is Encoded:
            data = reply  # type: ignore[assignment]
        else:
            output: list[bytes] = []
            if kind in EFFECTS:
                self.results.carry_out(reply, client, request, output)
            else:
                if kind is Error:
                    self._usages.count_error(reply.text)  # type: ignore[union-attr]
                output += encode_pieces(reply, session.protocol)  # type: ignore[arg-type]
            self._clock.release()
            self.results.send_long(client, output)
            # The command itself has yet to run.
            if client.is_waiting and session.is_postponed:
                self._counters.commands_processed -= 1
                if not client.is_closed:
                    client.queue.insert(0, request)
            else:
                self._executed.append(request[0])
            return
        self._clock.release()
        self._executed.append(request[0])
        if self._outbox:
            self._outbox.write(client, data)
        else:
            client.write(data)

    def _run(self, client: Client, requests: list[Request]) -> None:
        """Run requests and write their replies; requests that must wait go back to the queue.

        Measured: one loop, with the encoding of the usual replies spelled out in it, takes less time than functions that each
        do a step of it: each call costs every command.
        """
        if self._is_aside:
            self._run_beside(client, requests)
            return
        session = client.session
        self._clock.hold()
        session.last_command = requests[-1][0]
        self._counters.commands_processed += len(requests)
        runners = self._plain(session)
        usages = self._usages
        usages.batch = requests
        output: list[bytes] = []
        long_bytes = 0
        # Measured: for a request alone, to call `run_alike` costs more than it can save.
        done = 0
        if len(requests) >= ALIKE_FROM:
            if FETCHES_AHEAD:
                session.keyspace.fetch_ahead(requests)
            done = self._run_alike(session, requests, runners, output)
        gated = self._gated
        # An iterator over a list knows how many are left, which tells the usages how many have begun.
        remaining: Iterator[Request] = iter(requests[done:] if done else requests)
        usages.remaining = remaining
        for request in remaining:
            try:
                handler, arities, _, _ = runners.get(request[0]) or runners.get(request[0].lower()) or gated
                if len(request) not in arities:
                    handler = self._call
                reply = handler(session, request)
            except CommandError as error:
                usages.fail(request, error)
                reply = Error(str(error))
            except Exception:
                _log.exception("the command %r failed: this is a defect of kvserver", request[0][:64])
                reply = Error(INTERNAL_ERROR)

            kind = type(reply)
            if kind is bytes:
                length = len(reply)  # type: ignore[arg-type]
                if length < CACHED_BULK_HEADERS:
                    output += (BULK_HEADERS[length], reply, CRLF)  # type: ignore[arg-type]
                    continue
                output += (b"$%d\r\n" % length, reply, CRLF)  # type: ignore[arg-type]
                long_bytes += length
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                    break
            elif kind is Simple:
                output.append(reply.wire)  # type: ignore[union-attr]
            elif reply is None:
                output.append(NULL[session.protocol])
            elif kind is int:
                if 0 <= reply < CACHED_INTEGERS:  # type: ignore[operator]
                    output.append(INTEGERS[reply])  # type: ignore[index]
                else:
                    output.append(b":%d\r\n" % reply)  # type: ignore[str-format]
            elif kind is Encoded:
                output.append(reply)  # type: ignore[arg-type]
                long_bytes += len(reply)  # type: ignore[arg-type]
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                    break
            elif kind in EFFECTS:
                long_bytes += self.results.carry_out(reply, client, request, output)
                if client.is_waiting or client.is_closed:
                    # The command itself has yet to run.
                    if session.is_postponed:
                        remaining = chain((request,), remaining)
                    break
                runners = self._plain(session)
                # A script that stood aside may have been paused meanwhile.
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES or self._pauses:
                    break
            else:
                if kind is Error:
                    usages.count_error(reply.text)  # type: ignore[union-attr]
                pieces = encode_pieces(reply, session.protocol)  # type: ignore[arg-type]
                output += pieces
                long_bytes += sum(map(len, pieces))
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                    break
        self._clock.release()
        if output:
            if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                self.results.send_long(client, output)
            elif self._outbox:
                self._outbox.write(client, b"".join(output))
            else:
                client.write(b"".join(output))
        rest = list(remaining)
        if rest:
            del requests[-len(rest) :]
            self._counters.commands_processed -= len(rest)
            if not client.is_closed:
                client.queue[:0] = rest
        executed = self._executed
        executed += [request[0] for request in requests[usages.noted :]]
        usages.noted, usages.batch = 0, []
        if len(executed) > COMMANDS_PER_FOLD:
            usages.fold()

    def _run_beside(self, client: Client, requests: list[Request]) -> None:
        """Run requests while a script stands aside: the gate refuses all but those by which it can be ended.

        Nothing of the tick that stands aside is touched: neither the clock that it holds, nor the requests it counts.
        """
        output: list[bytes] = []
        for place, request in enumerate(requests):
            result: Result
            try:
                result = self._call(client.session, request)
            except CommandError as error:
                result = error
            except Exception:
                _log.exception("the command %r failed: this is a defect of kvserver", request[0][:64])
                result = Error(INTERNAL_ERROR)
            self._counters.commands_processed += 1
            self._executed.append(request[0])
            self.results.carry_out(result, client, request, output)
            if client.is_waiting or client.is_closed:
                if not client.is_closed:
                    client.queue[:0] = requests[place + (not client.session.is_postponed) :]
                break
        self.results.send_long(client, output)
