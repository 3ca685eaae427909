"""The single writer: the one place where commands run, in the order in which they arrived, one tick per loop iteration.

Connections put what they parsed into the inbox. A tick drains it, runs every command and writes each connection's
replies at once. No command waits here: what takes longer becomes an effect, and only its own client waits for that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final

from kvserver.dispatch.effect import EFFECTS
from kvserver.dispatch.table import CommandTable
from kvserver.engine.outbox import Outbox
from kvserver.engine.results import INTERNAL_ERROR, Client, Jobs, Results
from kvserver.errors import CommandError
from kvserver.resp.reply import BULK_HEADERS, CACHED_BULK_HEADERS, CRLF, NULL, Error, Simple, encode_pieces
from kvserver.resp.request import Request
from kvserver.state.description import ANY_NUMBER
from kvserver.state.session import ServerState

# What one connection may have before the others have their turn, whichever comes first.
COMMANDS_PER_TURN: Final = 1024
TURN_S: Final = 0.002  # looked at after each COMMANDS_PER_RUN
COMMANDS_PER_RUN: Final = 64
COMMANDS_PER_FOLD: Final = 1024  # after so many, their names are counted
LONG_REPLIES_PER_TURN_BYTES: Final = 1 << 18  # also so that a client takes some of it before more is gathered

ANY_ARITY: Final = range(1, ANY_NUMBER)

_log = logging.getLogger("kvserver")


class Writer:
    """The inbox and the tick. `record` is given each tick's write commands."""

    def __init__(
        self,
        state: ServerState,
        table: CommandTable,
        jobs: Jobs,
        record: Callable[[list[Request]], None],
    ) -> None:
        self.results = Results(state, table, jobs)
        self._outbox: Outbox | None = None
        self._record = record
        self._plain = table.plain
        self._call = table.call
        self._gated = (table.call, ANY_ARITY, None)  # what runs a name that is not in the table
        self._state = state
        self._counters = state.counters
        self._run_alike = table.run_alike
        self._usages = state.usages
        self._executed = state.usages.executed
        self._inbox: list[Client] = []
        self._is_scheduled = False
        self._pauses = 0
        self._loop = asyncio.get_running_loop()

    def hold_replies(self, outbox: Outbox | None) -> None:
        """Send what is to be sent by this outbox, or (None) at once."""
        self._outbox = self.results.outbox = outbox

    def enqueue(self, client: Client) -> None:
        """Run what is in a client's queue in the next tick. Not for a client that is queued already."""
        client.is_queued = True
        self._inbox.append(client)
        if not self._is_scheduled:
            self._schedule()

    def pause(self) -> None:
        """Run no command until `resume` was called as often as this."""
        self._pauses += 1

    def resume(self) -> None:
        self._pauses -= 1
        if self._inbox and not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if not self._pauses:
            self._is_scheduled = True
            self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        self._is_scheduled = False
        batch, self._inbox = self._inbox, []
        now_ms = self._state.now_ms()
        for position, client in enumerate(batch):
            if self._pauses:
                self._inbox[:0] = batch[position:]
                break
            client.is_queued = False
            if client.is_waiting or client.is_choked:
                continue
            if client.queue:
                client.session.last_active_at_ms = now_ms
                try:
                    if len(client.queue) <= COMMANDS_PER_RUN:
                        commands, client.queue = client.queue, []
                        self._run(client, commands)
                    else:
                        self._take_turn(client)
                    if client.is_full:
                        client.read_on()
                except Exception:  # what hurts one client must not take the turn of those behind it
                    _log.exception("a client's turn failed: this is a defect of kvserver")
                    client.abort()
                    continue
                if client.queue and not (client.is_queued or client.is_waiting or client.is_choked):
                    self.enqueue(client)
            if client.has_ended and not (client.queue or client.is_waiting or client.is_choked):
                if self._outbox:
                    self._outbox.finish(client)
                else:
                    client.finish()
        keyspace = self._state.keyspace
        if keyspace.has_written:
            self._record(keyspace.take_written())
        if self._outbox:
            self._outbox.seal()

    def _take_turn(self, client: Client) -> None:
        """Run as much of a long queue as one turn may take."""
        commands = client.queue
        deadline = time.perf_counter() + TURN_S
        for start in range(0, min(len(commands), COMMANDS_PER_TURN), COMMANDS_PER_RUN):
            end = start + COMMANDS_PER_RUN
            client.queue = []
            self._run(client, commands[start:end])
            if client.is_closed:
                return
            if client.queue or client.is_waiting or client.is_choked or time.perf_counter() > deadline:
                break
        client.queue += commands[end:]

    def _run(self, client: Client, commands: list[Request]) -> None:
        """Run commands and write their replies; those that must wait go back to the queue."""
        session = client.session
        session.last_command = commands[-1][0]
        self._counters.commands_processed += len(commands)
        runners = self._plain(session)
        self._usages.batch = commands
        output: list[bytes] = []
        long_bytes = 0
        done = self._run_alike(session, commands, runners, output)
        gated = self._gated
        remaining: Iterator[Request] = islice(commands, done, None) if done else iter(commands)
        for args in remaining:
            try:
                handler, arities, _ = runners.get(args[0]) or runners.get(args[0].lower()) or gated
                if len(args) not in arities:
                    handler = self._call
                reply = handler(session, args)
            except CommandError as error:
                self._usages.fail(args, error)
                reply = Error(str(error))
            except Exception:
                _log.exception("the command %r failed: this is a defect of kvserver", args[0][:64])
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
                output.append(b":%d\r\n" % reply)  # type: ignore[str-format]
            elif kind in EFFECTS:
                long_bytes += self.results.bring(reply, client, args, output)
                if client.is_waiting or client.is_closed:
                    if session.is_blocked:  # the command itself has yet to run
                        remaining = chain((args,), remaining)
                    break
                runners = self._plain(session)
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                    break
            else:
                if kind is Error:
                    self._usages.count_error(reply.text)  # type: ignore[union-attr]
                pieces = encode_pieces(reply, session.protocol)  # type: ignore[arg-type]
                output += pieces
                long_bytes += sum(map(len, pieces))
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                    break
        if output:
            if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                self.results.send_long(client, output)
            elif self._outbox:
                self._outbox.write(client, b"".join(output))
            else:
                client.write(b"".join(output))
        rest = list(remaining)
        if rest:
            del commands[-len(rest) :]
            self._counters.commands_processed -= len(rest)
            if not client.is_closed:
                client.queue[:0] = rest
        # By now, since a command that was refused has lost its name.
        executed = self._executed
        if len(commands) == 1:
            executed.append(args[0])
        else:
            executed += [args[0] for args in commands[self._usages.noted :]]
            self._usages.noted = 0
            if len(executed) > COMMANDS_PER_FOLD:
                self._usages.fold()
