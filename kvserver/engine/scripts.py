"""The scripts that run: the interpreter is made here when the first one comes, and its calls go from here to the commands.

A script runs within the tick of its client, as any command does: all that it writes is one record of the journal. Its calls
run in a session of their own, whose database is that of the client at first. What they ask the engine to do for others
(messages, notifications, the lines of monitors) is done when the script has ended, in order.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from kvserver.dispatch.effect import EFFECTS, Effect, FreeShards, Notified, Publish
from kvserver.dispatch.gate import shown_to_monitors
from kvserver.dispatch.inner import NOT_ALLOWED, InnerGate
from kvserver.dispatch.table import CommandTable
from kvserver.engine.results import Jobs
from kvserver.errors import CommandError
from kvserver.resp.reply import Error, Reply
from kvserver.resp.request import Request
from kvserver.scripting.scripts import Script, Scripts
from kvserver.state.channels import Message
from kvserver.state.scripts import ScriptFacts
from kvserver.state.session import SCRIPT_ID, SERVER_VERSION, ServerState, Session

if TYPE_CHECKING:
    from kvserver.scripting.interpreter import Interpreter

NO_INTERPRETER: Final = "ERR scripts need the package {}, which is not installed: pip install 'kvserver[lua]'"
NOT_BUSY: Final = "NOTBUSY No scripts in execution right now."
# The names of inner calls are counted after so many.
CALLS_PER_FOLD: Final = 1024

_LEVELS: Final = (logging.DEBUG, logging.DEBUG, logging.INFO, logging.WARNING)

_log = logging.getLogger("kvserver")


class ScriptRunner:
    """The host of a server's scripts, and of its interpreter."""

    def __init__(self, state: ServerState, table: CommandTable, jobs: Jobs) -> None:
        self._state = state
        self._jobs = jobs
        self._usages = state.usages
        self._executed = state.usages.executed
        self._timing = table.timing
        self._table = table
        self._interpreter: Interpreter | None = None
        self._scripts: Scripts | None = None
        self._gate: InnerGate | None = None
        self._session = Session(state, SCRIPT_ID, "lua", "", is_local=True)
        # The messages that the script's calls have led to.
        self._deliveries: list[tuple[Session, Message]] = []
        # Nobody is to be shown the calls, or told of what they do.
        self._is_unheard = True
        # The script has replied an error, which may be one among other replies.
        self._has_failed = False

    # Scripts

    @property
    def by_sha(self) -> Mapping[bytes, Script]:
        """The scripts by their SHA1."""
        return {} if self._scripts is None else self._scripts.by_sha

    def load(self, body: bytes) -> Script:
        """The script with this body, compiled. CommandError if it is none."""
        return self._begun().of(body)

    def flush(self) -> None:
        """Forget all scripts, and what they have left in the interpreter."""
        self._interpreter = self._scripts = None

    def kill(self) -> None:
        """Let the script that runs end. CommandError if there is none."""
        raise CommandError(NOT_BUSY)

    @property
    def facts(self) -> ScriptFacts:
        """The figures of INFO."""
        if self._interpreter is None or self._scripts is None:
            return ScriptFacts()
        return ScriptFacts(self._interpreter.used_bytes, self._scripts.size_bytes, len(self._scripts))

    def interpreter(self) -> Interpreter:
        """The interpreter, made if there is none. CommandError if it can't be."""
        if self._interpreter is None:
            try:
                from kvserver.scripting.interpreter import Interpreter
            except ImportError as error:
                raise CommandError(NO_INTERPRETER.format(error.name)) from None
            self._gate = InnerGate(self._state, self._table)
            self._interpreter = Interpreter(self, 256 << 20, SERVER_VERSION)
            self._scripts = Scripts(self._interpreter.compile)
        return self._interpreter

    def _begun(self) -> Scripts:
        self.interpreter()
        assert self._scripts is not None
        return self._scripts

    def run(
        self, session: Session, request: Request, script: Script, keys: Request, arguments: Request, *, is_read_only: bool
    ) -> Reply | Effect:
        """Run a script for a client that has sent this request. CommandError if it fails."""
        state, gate, inner = self._state, self._gate, self._session
        assert gate
        gate.begin(session, script.flags, is_read_only=is_read_only)
        inner.keyspace, inner.protocol = session.keyspace, 2
        self._is_unheard = not (state.monitors or state.notifications.is_on)
        self._has_failed = False
        try:
            result: Reply = self.interpreter().run(script.function, script.name, keys, arguments, session.protocol)
        except CommandError as error:
            if not self._deliveries:
                raise
            return Notified(error, self._take_deliveries())
        if len(self._executed) > CALLS_PER_FOLD:
            self._usages.fold()
        if self._has_failed:
            self._usages.fail(request, CommandError(""))
        return Notified(result, self._take_deliveries()) if self._deliveries else result

    def _take_deliveries(self) -> list[tuple[Session, Message]]:
        deliveries, self._deliveries = self._deliveries, []
        return deliveries

    # What the interpreter asks (`scripting.interpreter.Host`)

    def call(self, request: Request, protocol: int) -> Reply:
        """Run a call of the script."""
        session, gate = self._session, self._gate
        assert gate
        try:
            (handler, _, _), command = gate.admit(request)
        except CommandError as error:
            self._usages.fail(request, error)
            self._executed.append(request[0])
            self._usages.count_error(str(error))
            return Error(str(error))
        self._executed.append(request[0])
        session.protocol = protocol
        notifications = self._state.notifications
        if not self._is_unheard and notifications.is_on:
            notifications.begin(command, request)
        try:
            result = handler(session, request)
            if type(result) in EFFECTS:
                result = self._carry_out(result, request)  # type: ignore[arg-type]
        except CommandError as error:
            self._usages.fail(request, error)
            result = Error(str(error))
        if type(result) is Error:
            self._usages.count_error(result.text)
        if not self._is_unheard:
            if notifications.is_on:
                self._deliveries += notifications.take()
            if self._state.monitors and "admin" not in command.flags:
                self._deliveries += shown_to_monitors(session, request)
        return result  # type: ignore[return-value]

    def _carry_out(self, effect: Effect, request: Request) -> Reply:
        """Carry out an effect of a call. CommandError if a script may not lead to such a one."""
        begun = self._timing.take_begun()
        match effect:
            case Publish(deliveries, reply):
                self._deliveries += deliveries
            case FreeShards(name, keys, shards, _):
                # A flush would have half of what the script writes.
                reply = self._jobs.act(FreeShards(name, keys, shards, flushes=False), self._session)  # type: ignore[assignment]
            case _:
                raise CommandError(NOT_ALLOWED)
        if begun:
            self._timing.took(self._session, request, begun)
        return reply

    def look(self) -> bytes | None:
        """Look at the clock."""
        return None

    def log(self, level: int, text: bytes) -> None:
        """Log a line of the script."""
        _log.log(_LEVELS[int(level)], "%s", text.decode("utf-8", "backslashreplace"))

    def may_call(self, request: Request) -> bool | None:
        """True: the one user there is may do everything. None if there is no such command."""
        command = self._table.commands.get(request[0].lower())
        return None if command is None or command.meant_by(request) is None else True

    def note_error(self, text: bytes, is_counted: bool) -> None:
        """Note an error that the script replies, and count it unless a command has replied it."""
        self._has_failed = True
        if not is_counted:
            self._usages.count_error(text.decode("utf-8", "surrogateescape"))
