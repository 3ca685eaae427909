"""The results of commands, carried to their ends: bytes for the client and for others, a pause, or work that goes on.

The writer comes here with every result that is more than a plain reply. This module owns what clients do to each other
(messages, the lines of monitors, kills, pauses), and runs transactions. It carries out nothing that needs the data as a
whole, the disk or the server: the Jobs do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import NamedTuple, Protocol

from kvserver.dispatch.effect import (
    EFFECTS,
    Ahead,
    Await,
    BeginPause,
    Block,
    ChangeRights,
    Close,
    Effect,
    EndPause,
    Execute,
    Fed,
    Fetch,
    Fetched,
    Kill,
    Migrate,
    Monitored,
    Notified,
    Postpone,
    Prepare,
    Publish,
    Quiet,
    Recognize,
    Released,
    Switch,
    Tracked,
    Unblock,
)
from kvserver.dispatch.gate import monitor_line
from kvserver.dispatch.table import CommandTable
from kvserver.dispatch.timing import Begun
from kvserver.engine.client import Client
from kvserver.engine.migrations import Migrations
from kvserver.engine.outbox import Outbox
from kvserver.engine.pauses import Pauses, hold_back, run_again
from kvserver.engine.switching import tell_of_switches
from kvserver.engine.waiting import Waiting
from kvserver.errors import CommandError
from kvserver.persistence.slices import Slices
from kvserver.resp.reply import OK, Error, Push, Replies, Reply, encode, encode_pieces, join_short
from kvserver.resp.request import Request
from kvserver.state.channels import Message
from kvserver.state.session import Muted, ServerState, Session

# The result of a command.
Result = Reply | Effect | CommandError
EXEC = b"EXEC"
INTERNAL_ERROR = "ERR internal error, see the log"

_log = logging.getLogger("kvserver")


class Jobs(Protocol):
    """The side that carries out effects which need the data as a whole, the disk or the server (`jobs.Jobs`)."""

    def act(self, effect: Effect, session: Session) -> Reply | Awaitable[Reply | ChangeRights]:
        """Carry an effect out, or begin to. CommandError, raised now or when awaited, is answered as an error."""

    def fetch(self, effect: Fetch, session: Session) -> Awaitable[Fetched]:
        """Fetch what a command needs before it runs. CommandError, as for `act`."""


class Unfinished(NamedTuple):
    """The reply to a command that has run, while it waits for an effect.

    `place` is its place among the replies of its transaction. A muted reply is not sent.
    """

    place: int
    request: Request
    awaitable: Awaitable[Reply | ChangeRights]
    is_muted: bool
    begun: Begun | None


class Results:
    """Carries results to their ends.

    `clients` has all that are connected, by the ids of their sessions. `outbox`, if there is one, holds back what is sent
    until all writes that it could have seen are safe.
    """

    def __init__(self, state: ServerState, table: CommandTable, jobs: Jobs) -> None:
        self.outbox: Outbox | None = None
        self.clients: dict[int, Client] = {}
        self._state = state
        self._jobs = jobs
        self._usages = state.usages
        # Has a tick run soon. The writer sets it.
        self.wake: Callable[[], None] = lambda: None
        self._timing = table.timing
        self._call = table.call
        self.waiting = Waiting(state, self._answer, self._seal)
        state.replication.on_progress = self.waiting.look_at_nodes
        tell_of_switches(state, self.deliver)
        self._tracking = state.tracking
        self._tracking.wake = self._tell_soon
        # Those who track keys will be told of these.
        self._is_telling = False
        self._keys = state.databases.awaited
        self._loop = asyncio.get_running_loop()
        # What is under way. A server that crashes ends it.
        self.tasks: set[asyncio.Task[None]] = set()
        # The position of the records at which the transaction that runs has begun.
        self.executing_from = 0
        # The client whose transaction runs will be closed behind it.
        self._is_closing = False
        # The replies of the transaction that runs which wait for an effect.
        self._unfinished: list[Unfinished] = []
        self.pauses = Pauses(state)
        self._migrations = Migrations(state, self.waiting, self.pauses.run_all_again, lambda: self.wake())

    def send(self, client: Client, data: bytes) -> None:
        """Send bytes to a client. There is no other way for them, but the writer's own for its hot path."""
        if self.outbox:
            self.outbox.write(client, data)
        else:
            client.write(data)

    def send_long(self, client: Client, output: list[bytes]) -> None:
        """Send output that holds long pieces, which are not copied."""
        for data in join_short(output):
            self.send(client, data)

    def carry_out(self, result: Result, client: Client, request: Request, output: list[bytes]) -> int:
        """Append a result to the output, or carry it out, or begin to; then serve those whom it fed.

        Return the bytes that the output has grown by. The output may have been sent meanwhile. The client may have been closed
        or made to wait: then nothing more of it may run.
        """
        before = len(output)
        self._carry(result, client, request, output)
        if self._keys.touched:
            self.waiting.serve()
        return sum(map(len, output[before:]))

    def carry(self, result: Result, client: Client, request: Request, output: list[bytes]) -> None:
        """`carry_out` for one of several commands that are one: nobody is served before the last."""
        self._carry(result, client, request, output)

    def disconnect_blocked(self, error: str) -> None:
        """End all waits by an error, and close the clients who waited: they may have waited for what they can't have now."""
        blocked = [client for client in self.clients.values() if client.session.is_blocked]
        for client in blocked:
            # As in Redis, nothing ends a MIGRATE amid its transfer.
            if not self._migrations.is_under_way(client.session):
                self.waiting.unblock(client.session, error)
                self._close((), client, [])
        self._seal()

    def _carry(self, result: Result, client: Client, request: Request, output: list[bytes]) -> None:
        if type(result) in EFFECTS:
            self._perform(result, client, request, output)  # type: ignore[arg-type]
        elif isinstance(result, CommandError):
            self._reply(self._failed(request, result), client.session, output)
        else:
            self._reply(result, client.session, output)  # type: ignore[arg-type]

    def _reply(self, reply: Reply, session: Session, output: list[bytes]) -> None:
        kind = type(reply)
        if kind is Error:
            self._usages.count_error(reply.text)  # type: ignore[union-attr]
        if session.muted is Muted.NONE:
            output += encode_pieces(reply, session.protocol)
        # CLIENT REPLY does not hold pushes back.
        elif kind is Replies:
            output += [encode(each, session.protocol) for each in reply if type(each) is Push]  # type: ignore[union-attr]

    def _perform(self, effect: Effect, client: Client, request: Request, output: list[bytes]) -> None:
        session = client.session
        # The effect in one of these is carried out by a call of its own, which takes the time.
        is_outer = isinstance(effect, (Fed, Notified, Monitored, Quiet, Tracked, Released)) and type(effect.result) in EFFECTS
        begun = None if is_outer else self._timing.take_begun()
        # Measured: the frequent ones come first, since the cases are tried one after the other.
        match effect:
            case Fed(result):
                self._carry(result, client, request, output)
            case Block() if session.is_executing:
                self._reply(effect.otherwise, session, output)
            case Await() if session.is_executing:
                self._reply(effect.otherwise(), session, output)
            case Block() | Await():
                self.waiting.begin(effect, client, request)
                if client.has_hung_up:
                    self._hang_up(client, output)
            case Switch(reply):
                # This is the error of an EXEC that runs nothing.
                if isinstance(reply, Error):
                    self._usages.fail(request, CommandError(reply.text))
                self._reply(reply, session, output)
            case Recognize(reply):
                client.recognize()
                self._reply(reply, session, output)
            case Execute(requests):
                if self._execute(requests, client, output, begun):
                    return
            case Publish(deliveries, reply):
                self._pass_all(deliveries, client, output)
                self._reply(reply, session, output)
            case Notified(result, deliveries):
                self._pass_all(deliveries, client, output)
                self._carry(result, client, request, output)
            case Monitored(result):
                self._carry(result, client, request, output)
                line = monitor_line(session, request)
                for monitor in self._state.monitors.values():
                    if monitor.muted is Muted.NONE:
                        self._pass(line, monitor, client, output)
            case Quiet(result):
                self._carry(result, client, request, output)
                if session.muted is Muted.PRESENT:
                    session.muted = Muted.NONE
            case Tracked(result):
                self._carry_tracked(result, client, request, output)
            case Close(replies, warning):
                if warning:
                    _log.warning("%s", warning)
                self._close(replies, client, output)
            case Kill(sessions, reply):
                self._kill(sessions, reply, client, output)
            case ChangeRights(sessions, reply):
                self._change_rights(effect)
                self._kill(sessions, reply, client, output)
            case Migrate():
                self._migrations.begin(effect, client, request)
            case Unblock(waiting, error, reply):
                # As in Redis, where nobody else runs meanwhile, this can't end a MIGRATE.
                if self._migrations.is_under_way(waiting):
                    reply = 0
                else:
                    self.waiting.unblock(waiting, error)
                self._reply(reply, session, output)
            # The time of a command that runs anew is taken then.
            case Prepare():
                begun = None
                self.pauses.run_again_soon(client)
            case Ahead(steps, keys):
                begun = None
                if keys and not self._state.has_reserved(session) and not self.pauses.may_go_first(client):
                    # Else those who wait for keys, or for all that are reserved, would wait for as long as others come.
                    self.pauses.postpone(client)
                    return
                hold_back(client)
                self._state.reserve(session, keys)
                if session.tracker:
                    # The reply may have what is read now.
                    session.tracker.is_late = True
                self._go_on_with(self._work_ahead(client, request, steps))
            case Fetch():
                begun = None
                hold_back(client)
                self._go_on_with(self._fetch(client, request, effect))
            case Released(result):
                self._carry(result, client, request, output)
                if not session.is_postponed:
                    session.ready = None
                    self._release(session)
            case Postpone():
                begun = None
                self.pauses.postpone(client)
            case BeginPause(pause, until_ms):
                # The commands behind it in a transaction run as ever.
                self.pauses.begin(pause, until_ms, holds_keys=not session.is_executing)
                self._reply(OK, session, output)
            case EndPause():
                self.pauses.end()
                self._reply(OK, session, output)
            case _:
                if self._act(effect, client, request, output, begun):
                    return
        if begun:
            self._timing.took(session, request, begun)

    def _carry_tracked(self, result: Result, client: Client, request: Request, output: list[bytes]) -> None:
        """Carry on with the result for a client that tracks keys, and tell it of these before the reply and behind it."""
        session, tracker = client.session, client.session.tracker
        self._pass_all(self._tracking.take(), client, output)
        self._carry(result, client, request, output)
        if tracker and not session.is_postponed and not client.is_waiting:
            tracker.is_late = False
        # What CLIENT CACHING has said is still to come for a command that has yet to run.
        if not session.is_postponed:
            self._tracking.end(session, request, in_transaction=session.transaction is not None)
        # Where an effect goes on, the reply has yet to come.
        if not client.is_waiting or session.is_blocked or session.is_postponed:
            self._pass_all(self._tracking.take_own(session, tracker), client, output)

    def _begin_late(self, client: Client) -> None:
        """Let a client wait for its reply, and what it is told of keys wait as well: the reply may have their values."""
        client.wait()
        if client.session.tracker:
            client.session.tracker.is_late = True

    def _end_late(self, client: Client) -> None:
        """Tell a client that tracks keys what it is to be told, since it has its late reply."""
        tracker = client.session.tracker
        if tracker is None:
            return
        tracker.is_late = False
        for receiver, message in self._tracking.take_own(client.session, tracker):
            if other := self.clients.get(receiver.id):
                self.send(other, message.wire(receiver.protocol))

    def _tell_soon(self) -> None:
        """Have those who track keys told when what runs now has ended."""
        if not self._is_telling:
            self._is_telling = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._is_telling = False
        self.deliver(self._tracking.take_all())

    def _pass_all(self, deliveries: list[tuple[Session, Message]], client: Client, output: list[bytes]) -> None:
        """Send messages that a command of one client leads to."""
        for receiver, message in deliveries:
            self._pass(message.wire(receiver.protocol), receiver, client, output)

    def _pass(self, data: bytes, receiver: Session, client: Client, output: list[bytes]) -> None:
        """Send bytes that a command of one client means for the receiver, who may be that client itself."""
        if receiver is client.session:
            output.append(data)
        elif other := self.clients.get(receiver.id):
            self.send(other, data)

    def _seal(self) -> None:
        """Let go, outside of the writer's ticks, what was sent, or hold it until it is safe."""
        if self.outbox:
            self.outbox.seal()

    def _answer(self, client: Client, request: Request, result: Result, is_muted: bool) -> None:
        """Send the result of a blocking command that has waited."""
        session = client.session
        muted = session.muted
        if is_muted:
            session.muted = Muted.ALL
        output: list[bytes] = []
        if session.tracker:
            self._pass_all(self._tracking.take(), client, output)
        self._carry(result, client, request, output)
        session.muted = muted
        self.send_long(client, output)

    def deliver(self, deliveries: list[tuple[Session, Message]]) -> None:
        """Send messages that no command of a client leads to."""
        for receiver, message in deliveries:
            if client := self.clients.get(receiver.id):
                self.send(client, message.wire(receiver.protocol))
        self._seal()

    def _act(self, effect: Effect, client: Client, request: Request, output: list[bytes], begun: Begun | None) -> bool:
        """Have the Jobs carry an effect out. Return True if that goes on, so that the reply comes later."""
        session = client.session
        try:
            reply = self._jobs.act(effect, session)
        except CommandError as error:
            reply = self._failed(request, error)
        if not isinstance(reply, Awaitable):
            self._reply(reply, session, output)
            return False
        unfinished = Unfinished(len(output), request, reply, session.muted is not Muted.NONE, begun)
        if session.is_executing:
            self._unfinished.append(unfinished)
            output.append(b"")
        else:
            self._begin_late(client)
            self._go_on_with(self._reply_later(client, unfinished))
        return True

    def defect(self, session: Session, request: Request) -> Error:
        """Log the exception of a command, which has no other reply, and end what it had begun."""
        _log.exception("the command %r failed: this is a defect of kvserver", request[0][:64])
        session.ready = None
        self._release(session)
        return Error(INTERNAL_ERROR)

    def _release(self, session: Session) -> None:
        """Let others write what a session had reserved, if it had."""
        if self._state.has_reserved(session):
            self._state.release(session)
            self.pauses.run_all_again()

    def _go_on_with(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _work_ahead(self, client: Client, request: Request, steps: Generator[None, None, object]) -> None:
        """Take the steps that a command needs before it runs, then let it run."""
        pace = Slices(self._state.counters, self._state.persistence)
        try:
            while not client.is_closed:
                next(steps)
                if pace.is_over:
                    await pace.next()
        except StopIteration as stop:
            client.session.ready = request, stop.value
        except Exception:
            _log.exception("what is ahead of a command failed: this is a defect of kvserver")
            client.abort()
        finally:
            run_again(client)

    async def _fetch(self, client: Client, request: Request, effect: Fetch) -> None:
        """Fetch what a command needs before it runs, then let it run."""
        try:
            fetched = await self._jobs.fetch(effect, client.session)
            if not client.is_closed:
                client.session.ready = request, fetched
        except CommandError as error:
            client.session.ready = request, error
        except Exception:
            _log.exception("what is ahead of a command failed: this is a defect of kvserver")
            client.abort()
        finally:
            run_again(client)

    async def _reply_later(self, client: Client, unfinished: Unfinished) -> None:
        reply, is_closing = self._settle(await self._awaited(client, unfinished), client)
        if is_closing:
            self._close(() if unfinished.is_muted else (reply,), client, [])
            self._seal()
            return
        if not unfinished.is_muted:
            self.send(client, encode(reply, client.session.protocol))
        self._end_late(client)
        self._seal()
        client.go_on()

    def _settle(self, result: Reply | ChangeRights, client: Client) -> tuple[Reply, bool]:
        """Carry out what an effect ended with. Return the reply for the client, and True if the client is to be closed."""
        if not isinstance(result, ChangeRights):
            return result, False
        self._change_rights(result)
        self._kill_others(result.sessions, client)
        return result.reply, client.session in result.sessions

    async def _awaited(self, client: Client, unfinished: Unfinished) -> Reply | ChangeRights:
        """The reply that an effect gives in the end, which may be an error."""
        _, request, awaitable, _, begun = unfinished
        try:
            reply: Reply | ChangeRights = await awaitable
        except CommandError as error:
            reply = self._failed(request, error)
            self._usages.count_error(str(error))
        except Exception:
            _log.exception("an effect failed: this is a defect of kvserver")
            reply = Error(INTERNAL_ERROR)
        if begun:
            self._timing.took(client.session, request, begun)
        if self._keys.touched:
            self.wake()
        return reply

    def _failed(self, request: Request, error: CommandError) -> Error:
        """Count a command that failed, and return the reply to it."""
        self._usages.fail(request, error)
        return Error(str(error))

    def _execute(self, requests: list[Request], client: Client, output: list[bytes], begun: Begun | None) -> bool:
        """Run a transaction. Return True if an effect of it goes on, so that the reply comes later."""
        session = client.session
        # The output leaves at once if one of the replies waits, so the replies are kept apart from it.
        replies: list[bytes] = []
        if session.muted is Muted.NONE:
            replies.append(b"*%d\r\n" % len(requests))
        session.is_executing = True
        session.executing_count = len(requests)
        self.executing_from = self._state.databases.records.position
        for request in requests:
            result: Result
            try:
                result = self._call(session, request)
            except CommandError as failure:
                result = failure
            except Exception:
                result = self.defect(session, request)
            self._usages.executed.append(request[0])
            self._carry(result, client, request, replies)
        session.is_executing = False
        self.pauses.hold_keys()
        unfinished, self._unfinished = self._unfinished, []
        is_closing, self._is_closing = self._is_closing, False
        if unfinished:
            self._begin_late(client)
            self._go_on_with(self._finish(unfinished, client, replies, begun, is_closing=is_closing))
            return True
        output += replies
        # The client may have begun to track keys in its transaction.
        if session.tracker:
            self._pass_all(self._tracking.take_own(session, session.tracker), client, output)
        if is_closing:
            self._close((), client, output)
        return False

    async def _finish(
        self, unfinished: list[Unfinished], client: Client, replies: list[bytes], begun: Begun | None, *, is_closing: bool
    ) -> None:
        """Reply to a transaction when all of its effects have ended. All that it wrote was written in one go before."""
        for each in unfinished:
            reply, closes = self._settle(await self._awaited(client, each), client)
            is_closing = is_closing or closes
            if not each.is_muted:
                replies[each.place] = encode(reply, client.session.protocol)
        if begun:
            self._timing.took(client.session, [EXEC], begun)
        if is_closing:
            self._close((), client, replies)
        else:
            self.send_long(client, replies)
            self._end_late(client)
        self._seal()
        if not is_closing:
            client.go_on()

    # Ends of connections

    def hang_up(self, client: Client) -> None:
        """Close a client whose input has ended while its blocking command waits: as in Redis, it is not served any more."""
        self._hang_up(client, [])
        self._seal()

    def _hang_up(self, client: Client, output: list[bytes]) -> None:
        self.waiting.forget(client.session)
        self._close((), client, output)

    def forget(self, client: Client) -> None:
        """Drop a client that is gone, or as good as gone, and all that the server does for its session."""
        session = client.session
        session.leave()
        self.waiting.forget(session)
        self._migrations.forget(session)
        self.clients.pop(session.id, None)
        self._state.sessions.pop(session.id, None)
        self.pauses.forget(client)
        self._release(session)

    def _close(self, replies: tuple[Reply, ...], client: Client, output: list[bytes]) -> None:
        for reply in replies:
            self._reply(reply, client.session, output)
        if client.session.is_executing:
            self._is_closing = True
            return
        if self.outbox:
            # Nothing of the client may run before it is closed.
            client.wait()
            self.send_long(client, output)
            self.outbox.close(client)
        else:
            self.send_long(client, output)
            client.close()
        output.clear()

    def _change_rights(self, effect: ChangeRights) -> None:
        if effect.concerns_all:
            for client in self.clients.values():
                client.recognize()

    def _kill(self, sessions: list[Session], reply: Reply, client: Client, output: list[bytes]) -> None:
        self._kill_others(sessions, client)
        if client.session in sessions:
            self._close((reply,), client, output)
        else:
            self._reply(reply, client.session, output)

    def _kill_others(self, sessions: list[Session], client: Client) -> None:
        for session in sessions:
            other = self.clients.get(session.id)
            if other and other is not client:
                other.queue = []
                other.abort()
                self.forget(other)
