"""The commands of a source, run here in order: journaled, told of, and served to who waits, as a client's commands are.

They run beside the ticks of the writer, one part a step, in a session of their own that may do everything. Their replies go
nowhere. As on Redis's replicas, nothing is due for them: what the source has let expire it removes itself. Never reads a
socket.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from kvserver.dispatch.effect import EFFECTS, Block, Fed, Monitored, Notified
from kvserver.dispatch.table import CommandTable
from kvserver.engine.client import Client
from kvserver.engine.execution import COMMANDS_PER_FOLD
from kvserver.engine.results import Result
from kvserver.engine.scripts import NO_INTERPRETER, TOO_LONG
from kvserver.engine.writer import Writer
from kvserver.errors import CommandError, Refusal, SourceUnusable
from kvserver.following.handshake import shown
from kvserver.following.stream import Commands, Transaction
from kvserver.following.translation import translate
from kvserver.resp.reply import Encoded, Error
from kvserver.resp.request import Request
from kvserver.state.session import SOURCE_ID, ServerState, Session

# What a script does with the time is its own business, so that the clock goes for it. Redis sends scripts up to version 4.
_SCRIPTS: Final = frozenset((b"eval", b"evalsha", b"fcall"))
# What a source sends beside writes, reads and what spreads without being either. Old versions send the scripts they are given.
_SENT: Final = frozenset(("select", "script|load", "script|flush"))
# It sends what has become of this one, which would send keys from here to elsewhere.
_NEVER_SENT: Final = "migrate"
# The errors of scripts that have not run, or not to their ends.
_NOT_RUN: Final = (NO_INTERPRETER.partition("{")[0], "NOSCRIPT", TOO_LONG.decode())

_log = logging.getLogger("kvserver")


class _Nobody(Client):
    """The client of these commands, whom nothing is sent to."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def write(self, data: bytes) -> None:
        """Send nothing."""

    def wait(self, *, reads_on: bool = False) -> None:
        """Do not wait: what goes on in the background has no reply that anybody would wait for."""

    def go_on(self) -> None:
        """Nothing was held up."""

    def recognize(self) -> None:
        """The session may do everything."""

    def read_on(self) -> None:
        """Nothing was held back."""

    def finish(self) -> None:
        """There is nothing to say at the end."""

    def close(self) -> None:
        """There is no connection."""

    def abort(self) -> None:
        """There is no connection."""


class Applying:
    """Runs the parts of a stream. The database that the stream has selected stays selected over links."""

    def __init__(self, state: ServerState, table: CommandTable, writer: Writer) -> None:
        self._state = state
        self._table = table
        self._writer = writer
        self._results = writer.results
        self._databases = state.databases
        self._session = session = Session(state, SOURCE_ID, "source", "source", is_local=True)
        # Whatever the rules of this server's users are.
        session.authenticated = session.is_unrestricted = True
        self._client = _Nobody(session)

    def begin(self) -> None:
        """Begin a stream behind all data: database 0 is selected."""
        self._session.keyspace = self._databases[0]

    async def run(self, part: Commands | Transaction) -> None:
        """Run a part, in one step. SourceUnusable for a command that can't be run here, with what is before it done."""
        await self._writer.until_free()
        if part.requests:
            self._writer.run_beside(partial(self._run, part))

    def _run(self, part: Commands | Transaction) -> None:
        now_ms = self._state.now_ms()
        requests = translate(part.requests, now_ms)
        self._databases.stop_clock()
        try:
            # Where somebody is told of what the commands do, the gate sees to that.
            if type(part) is Transaction or self._state.monitors or self._state.notifications.is_on:
                self._run_each(requests)
            else:
                self._run_alike(requests)
        finally:
            self._databases.start_clock()

    def _run_alike(self, requests: list[Request]) -> None:
        """Run requests, those at once that are of the usual kind."""
        session, usages = self._session, self._state.usages
        session.keyspace.fetch_ahead(requests)
        done = self._table.run_alike(session, requests, self._table.replayed, [])
        self._state.counters.commands_processed += done
        usages.executed += [request[0] for request in requests[:done]]
        self._run_each(requests[done:] if done else requests)

    def _run_each(self, requests: list[Request]) -> None:
        output: list[bytes] = []
        executed = self._state.usages.executed
        for request in requests:
            if not self._may_come(request):
                raise SourceUnusable(f"the source sends what no source sends: {_shown(request)}")
            is_script = request[0].lower() in _SCRIPTS
            result = self._run_script(request) if is_script else self._call(request)
            self._state.counters.commands_processed += 1
            executed.append(request[0])
            # Nobody wants a plain reply.
            if type(result) in EFFECTS or isinstance(result, CommandError):
                self._results.carry(result, self._client, request, output)
                output.clear()
            failure = failure_of(result)
            # A script fails there as well as here, with what it has done before.
            if failure and not is_script:
                raise SourceUnusable(f"the source sends what can't be run here: {_shown(request)}: {failure}")
        if len(executed) > COMMANDS_PER_FOLD:
            self._state.usages.fold()

    def _may_come(self, request: Request) -> bool:
        """False for a command that is about the server and not about its data: a source is no administrator here."""
        command = self._table.commands.get(request[0].lower())
        meant = command and command.meant_by(request)
        # What is unknown says so itself.
        if not meant or meant.name in _SENT:
            return True
        if meant.is_alone or "no_multi" in meant.flags or meant.name == _NEVER_SENT:
            return False
        return "write" in meant.flags or "readonly" in meant.flags or meant.may_replicate

    def _call(self, request: Request) -> Result:
        try:
            return self._table.call(self._session, request)
        except CommandError as error:
            return error

    def _run_script(self, request: Request) -> Result:
        """Run a script at once: where it can't stand aside, it is not made to."""
        session = self._session
        session.is_executing, self._results.executing_from = True, self._databases.records.position
        self._databases.start_clock()
        try:
            result = self._call(request)
        finally:
            self._databases.stop_clock()
            session.is_executing = False
        if isinstance(result, Refusal) or (isinstance(result, CommandError) and str(result).startswith(_NOT_RUN)):
            raise SourceUnusable(f"the source sends what can't be run here: {_shown(request)}: {result}")
        if failure := failure_of(result):
            _log.warning("a script of the source fails: %s", failure)
        return result


def failure_of(result: Result) -> str:
    """The error that a command has ended with, or an empty text."""
    inner: object = result
    while isinstance(inner, Fed | Notified | Monitored):
        inner = inner.result
    if isinstance(inner, CommandError):
        return str(inner)
    if isinstance(inner, Error):
        return inner.text
    if isinstance(inner, Encoded) and inner[:1] == b"-":
        return inner[1:].strip().decode("utf-8", "backslashreplace")
    # Nobody feeds who waits here: the source sends what has become of it.
    return "it would wait" if isinstance(inner, Block) else ""


def _shown(request: Request) -> str:
    words = [shown(word[:40]) for word in request[:2]]
    return f"{' '.join(words)}{' …' if len(request) > 2 else ''}"
