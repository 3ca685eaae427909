"""The single writer: the one place where commands run, in the order in which they arrived, one tick per loop iteration.

Connections put what they parsed into the inbox. A tick drains it, runs every command and writes each connection's
replies at once. No command waits here: what takes longer becomes an effect, and only its own client waits for that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, get_args

from kvserver.commands.effect import Close, Effect, Recognize
from kvserver.commands.row import unknown_command, wrong_arity
from kvserver.commands.table import Runner, Runners
from kvserver.errors import CommandError, Refusal
from kvserver.outbox import Outbox
from kvserver.resp.reply import BULK_HEADERS, CACHED_BULK_HEADERS, CRLF, Error, Reply, Simple, encode
from kvserver.resp.request import Command
from kvserver.session import ServerState, Session

# What one connection may have before the others have their turn, whichever comes first.
COMMANDS_PER_TURN: Final = 1024
TURN_S: Final = 0.002  # looked at after each COMMANDS_PER_RUN
COMMANDS_PER_RUN: Final = 64
COMMANDS_PER_FOLD: Final = 1024  # after so many, their names are counted
LONG_REPLIES_PER_TURN_BYTES: Final = 1 << 18  # also so that a client takes some of it before more is gathered

_EFFECTS: Final = get_args(Effect)
_NULL: Final = {2: b"$-1\r\n", 3: b"_\r\n"}

_log = logging.getLogger("kvserver")


class Client(Protocol):
    """What the writer needs of a connection. The writer alone takes from `queue`."""

    session: Session
    queue: list[Command]  # what was parsed and has not run yet
    is_queued: bool  # in the inbox
    is_waiting: bool  # for an effect: nothing of it may run
    is_choked: bool  # does not read what was written to it: nothing of it may run
    has_ended: bool  # no more input will come: protocol error or end of file
    is_closed: bool  # by `close`: what is left of its commands is dropped

    def write(self, data: bytes) -> None:
        """Send bytes. May set `is_choked`."""

    def wait(self) -> None:
        """Set `is_waiting`: an effect is under way."""

    def go_on(self) -> None:
        """The effect is done."""

    def recognize(self) -> None:
        """The session's standing has changed."""

    def read_on(self) -> None:
        """Some of the queue has run: parse, or read from the client, what was held back because of it."""

    def finish(self) -> None:
        """Everything before the end of the input has run: say what is to be said, and close."""

    def close(self) -> None:
        """Close after what was written; nothing more will run."""

    def abort(self) -> None:
        """Close now, whatever is still to be written."""


class Actions(Protocol):
    """What carries effects out."""

    def act(self, effect: Effect, session: Session) -> Reply | Awaitable[Reply]:
        """Carry an effect out, or start to. CommandError, now or when awaited, is answered as an error."""


class Writer:
    """The inbox and the tick. `runners` is what commands are looked up in; swapping it refuses some of them.

    `record` is given each tick's write commands. `outbox`, if there is one, holds the replies back until they are synced.
    """

    def __init__(self, state: ServerState, actions: Actions, record: Callable[[list[Command]], None]) -> None:
        self.outbox: Outbox | None = None
        self._record = record
        self.runners: Runners = state.table.open
        self._state = state
        self._actions = actions
        self._counters = state.counters
        self._usages = state.table.usages
        self._executed = state.table.usages.executed
        self._inbox: list[Client] = []
        self._is_scheduled = False
        self._pauses = 0
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

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
                    self._take_turn(client)
                    client.read_on()
                except Exception:  # what hurts one client must not take the turn of those behind it
                    _log.exception("a client's turn failed: this is a defect of kvserver")
                    client.abort()
                    continue
                if client.queue and not (client.is_queued or client.is_waiting or client.is_choked):
                    self.enqueue(client)
            if client.has_ended and not (client.queue or client.is_waiting or client.is_choked):
                if self.outbox:
                    self.outbox.finish(client)
                else:
                    client.finish()
        keyspace = self._state.keyspace
        if keyspace.written:
            self._record(keyspace.take_written())
        if self.outbox:
            self.outbox.seal()

    def _take_turn(self, client: Client) -> None:
        """Run what is in a client's queue, or as much of it as one turn may take."""
        commands = client.queue
        if len(commands) <= COMMANDS_PER_RUN:
            client.queue = []
            self._run(client, commands)
            return
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

    def _run(self, client: Client, commands: list[Command]) -> None:
        """Run commands and write their replies; those that must wait go back to the queue."""
        session = client.session
        session.last_command = commands[-1][0]
        self._counters.commands_processed += len(commands)
        runners = self._runners_for(session)
        self._usages.batch = commands
        output: list[bytes] = []
        long_bytes = 0
        remaining = iter(commands)
        for args in remaining:
            try:
                handler, arities, name = runners.get(args[0]) or _find(runners, args)
                if len(args) not in arities:
                    raise wrong_arity(name, Refusal)
                reply = handler(session, args)
            except CommandError as error:
                self._usages.fail(args, error)
                reply = Error(str(error))
            except Exception:
                _log.exception("the command %r failed: this is a defect of kvserver", args[0][:64])
                reply = Error("ERR internal error, see the log")

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
                output.append(_NULL[session.protocol])
            elif kind is int:
                output.append(b":%d\r\n" % reply)  # type: ignore[str-format]
            elif kind in _EFFECTS:
                self._perform(reply, client, args, output)  # type: ignore[arg-type]
                if client.is_waiting or client.is_closed:
                    break
                runners = self._runners_for(session)
            else:
                if kind is Error:
                    self._usages.count_error(reply.text)  # type: ignore[union-attr]
                encoded = encode(reply, session.protocol)  # type: ignore[arg-type]
                output.append(encoded)
                long_bytes += len(encoded)
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                    break
        if output:
            if self.outbox:
                self.outbox.write(client, b"".join(output))
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

    def _runners_for(self, session: Session) -> Runners:
        return self.runners if session.authenticated else self._state.table.unauthenticated

    def _perform(self, effect: Effect, client: Client, args: Command, output: list[bytes]) -> None:
        """Carry out an effect, or start to. Its reply goes behind the output, or will be written later."""
        session = client.session
        if isinstance(effect, Close):
            if effect.warning:
                _log.warning("%s", effect.warning)
            output += [encode(reply, session.protocol) for reply in effect.replies]
            data = b"".join(output)
            output.clear()
            if self.outbox:
                client.wait()  # nothing of it may run before it is closed
                self.outbox.write(client, data)
                self.outbox.close(client)
            else:
                client.write(data)
                client.close()
            return
        if isinstance(effect, Recognize):
            client.recognize()
            output.append(encode(effect.reply, session.protocol))
            return
        try:
            reply = self._actions.act(effect, session)
        except CommandError as error:
            reply = self._failed(args, error)
        if isinstance(reply, Awaitable):
            client.wait()
            task = self._loop.create_task(self._answer_later(client, args, reply))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            output.append(encode(reply, session.protocol))

    async def _answer_later(self, client: Client, args: Command, awaitable: Awaitable[Reply]) -> None:
        started_ns = time.perf_counter_ns()
        try:
            reply = await awaitable
        except CommandError as error:
            reply = self._failed(args, error)
        except Exception:
            _log.exception("an effect failed: this is a defect of kvserver")
            reply = Error("ERR internal error, see the log")
        self._state.table.timing.took(client.session, args, time.perf_counter_ns() - started_ns)
        data = encode(reply, client.session.protocol)
        if self.outbox:
            self.outbox.write(client, data)
            self.outbox.seal()
        else:
            client.write(data)
        client.go_on()

    def _failed(self, args: Command, error: CommandError) -> Error:
        """The reply to an effect that failed."""
        self._usages.fail(args, error)
        self._usages.count_error(str(error))
        return Error(str(error))


def _find(runners: Runners, args: Command) -> Runner:
    runner = runners.get(args[0].lower())
    if runner is None:
        raise unknown_command(args)
    return runner
