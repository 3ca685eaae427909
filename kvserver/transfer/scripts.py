"""The scripts of an append-only file: EVAL and FCALL that older servers have kept, run where there is no server.

What they call runs as the engine would run it for them (`engine.scripts`). Nobody waits meanwhile, and nobody is told.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from kvserver.data.shards import drain
from kvserver.dispatch.effect import EFFECTS, Effect, FreeShards, Publish
from kvserver.dispatch.inner import NOT_ALLOWED, InnerGate
from kvserver.dispatch.table import CommandTable
from kvserver.engine.functions import FunctionRunner
from kvserver.engine.scripts import LIMIT_S, NO_INTERPRETER, TOO_LONG
from kvserver.errors import CommandError
from kvserver.resp.reply import OK, Error, Reply
from kvserver.resp.request import Request
from kvserver.scripting.scripts import Script, Scripts
from kvserver.state.scripts import NoScripts
from kvserver.state.session import SCRIPT_ID, SERVER_VERSION, ServerState, Session
from kvserver.transfer.expiring import says_until, stopped
from kvserver.transfer.held_signals import HeldSignals

if TYPE_CHECKING:
    from kvserver.scripting.interpreter import Host, Interpreter

# By these words an error tells that there is no interpreter.
NEEDS_PACKAGE: Final = "scripts need the package"


class ImportedScripts(NoScripts[Session]):
    """The host of scripts, and of their interpreter. No script is ever dropped: an EVALSHA may come much later."""

    def __init__(self, state: ServerState, table: CommandTable) -> None:
        super().__init__()
        self._state = state
        self._gate = InnerGate(state, table)
        self._session = Session(state, SCRIPT_ID, "lua", "", is_local=True)
        self._functions = FunctionRunner(state, self, self._make)
        self._interpreter: Interpreter | None = None
        self._scripts: Scripts | None = None
        self._ends_at_s = 0.0
        # What the script that runs has replied by an error.
        self._error = b""
        self._signals = HeldSignals()

    # What commands ask (`state.scripts.ScriptHost`)

    @property
    def functions(self) -> FunctionRunner:
        """The functions of the libraries that have come in so far. CommandError if there is no interpreter for them."""
        self._functions.interpreter()
        return self._functions

    def load(self, body: bytes, *, stays: bool = False) -> Script:
        """The script with this body, compiled. CommandError if it is none, or there is no interpreter."""
        if self._scripts is None:
            self._interpreter = self._make(self)
            self._scripts = Scripts(self._interpreter.compile, self._state.config.lua_memory_limit)
            self.by_sha: Mapping[bytes, Script] = self._scripts.by_sha
        return self._scripts.load(body)

    def flush(self) -> None:
        """Forget all scripts."""
        self._interpreter = self._scripts = None
        self.by_sha = {}

    def run(self, session: Session, request: Request, script: Any, keys: int, is_read_only: bool) -> Reply:
        """Run a script. CommandError if it fails."""
        self._gate.begin(session, script.flags, is_read_only=is_read_only)
        self._session.keyspace, self._session.protocol = session.keyspace, 2
        self._ends_at_s = time.perf_counter() + LIMIT_S
        of_library = script.kind == "FUNCTION"
        interpreter = self._functions.interpreter() if of_library else self._interpreter
        assert interpreter
        self._error = b""
        with self._signals.held():
            result = interpreter.run(script.function, script.name, request[3:], keys, 2, of_library=of_library)
        if self._error:
            raise CommandError(self._error.decode("utf-8", "surrogateescape"))
        return result

    def _make(self, host: Host) -> Interpreter:
        try:
            from kvserver.scripting.interpreter import Interpreter
        except ImportError as error:
            raise CommandError(NO_INTERPRETER.format(error.name)) from None
        return Interpreter(host, self._state.config.lua_memory_limit, SERVER_VERSION)

    # What the interpreter asks (`scripting.interpreter.Host`)

    def call(self, request: Request) -> Reply:
        """Run a call of the script. An error is a reply, too."""
        try:
            handler, command = self._gate.admit(request)
            if says_until(command, request):
                with stopped(self._session.keyspace):
                    result = handler(self._session, request)
            else:
                result = handler(self._session, request)
            return self._carry_out(result) if type(result) in EFFECTS else result  # type: ignore[arg-type, return-value]
        except CommandError as error:
            return Error(str(error))

    def _carry_out(self, effect: Effect) -> Reply:
        match effect:
            case Publish(_, reply):
                return reply
            case FreeShards(_, _, shards, _):
                for _ in drain(shards):
                    pass
                return OK
        raise CommandError(NOT_ALLOWED)

    def set_protocol(self, protocol: int) -> None:
        """Let replies to the script be those of this protocol."""
        self._session.protocol = protocol

    def look(self) -> bytes | None:
        """Look at the clock. The text of an error if the script has to end."""
        return TOO_LONG if self._signals.have_come or time.perf_counter() > self._ends_at_s else None

    def log(self, level: int, text: bytes) -> None:
        """The script has told this once, to a log of then."""

    def may_call(self, request: Request) -> bool | None:
        """True if the script may call this; None if there is no such command."""
        return True if request[0].lower() in self._state.commands else None

    def note_error(self, text: bytes, is_counted: bool) -> None:
        """Take notice of an error that the script replies."""
        self._error = text
