"""The scripts that run: the interpreter is made here when the first one comes, and its calls go from here to the commands.

A script runs within the tick of its client, as any command does: all that it writes is one record of the journal. Its calls
run in a session of their own, whose database is that of the client at first. What they ask the engine to do for others
(messages, notifications, the lines of monitors) is done when the script has ended, in order.

A script that takes longer than `busy-reply-threshold` stands aside (`carrier`), again and again after a slice, until it ends.
Meanwhile other clients are answered BUSY, and can kill it; nothing of the data changes, and nothing of it is saved.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from kvserver.dispatch.command import Command, Handler
from kvserver.dispatch.effect import EFFECTS, Block, Effect, Fed, FreeShards, Notified, Prepare, Publish
from kvserver.dispatch.gate import shown_to_monitors
from kvserver.dispatch.inner import NOT_ALLOWED, InnerGate
from kvserver.dispatch.table import CommandTable
from kvserver.engine.client import Client
from kvserver.engine.functions import FunctionRunner
from kvserver.engine.results import INTERNAL_ERROR, Jobs
from kvserver.engine.writer import Writer
from kvserver.errors import CommandError
from kvserver.resp.reply import Error, Reply
from kvserver.resp.request import Request
from kvserver.scripting.randomness import Randomness
from kvserver.scripting.scripts import Script, Scripts
from kvserver.state.channels import Message, MonitorLine
from kvserver.state.scripts import FunctionFacts, Running, ScriptFacts
from kvserver.state.session import SCRIPT_ID, SERVER_VERSION, SOURCE_ID, ServerState, Session

if TYPE_CHECKING:
    from kvserver.engine.carrier import Carrier
    from kvserver.scripting.interpreter import Host, Interpreter

NO_INTERPRETER: Final = "ERR scripts need the package {}, which is not installed: pip install 'kvserver[lua]'"
NOT_BUSY: Final = "NOTBUSY No scripts in execution right now."
UNKILLABLE: Final = (
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script "
    "termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)
BUSY: Final = "BUSY Redis is busy running a script. You can only call {} KILL or SHUTDOWN NOSAVE."
# Redis 7.0 names SCRIPT KILL for functions, too.
KILLED: Final = b"ERR Script killed by user with SCRIPT KILL..."
# The names of inner calls are counted after so many.
CALLS_PER_FOLD: Final = 1024
# What calls have led to is handed over after so many messages, if it may be.
MESSAGES_PER_HAND_OVER: Final = 1024
# A script that has stood aside runs so long until it does again. The others have their turns in between.
SLICE_S: Final = 0.002
NEVER_S: Final = float("inf")
# A script that nobody can end, and that has run for so long, does not end by itself.
LIMIT_S: Final = 60.0
TOO_LONG: Final = b"ERR the script has run for a minute"

_LEVELS: Final = (logging.DEBUG, logging.DEBUG, logging.INFO, logging.WARNING)

_log = logging.getLogger("kvserver")


class ScriptRunner:
    """The host of a server's scripts, and of its interpreter."""

    def __init__(self, state: ServerState, table: CommandTable, jobs: Jobs, writer: Writer) -> None:
        # The error for others while a script stands aside.
        self.busy_error = ""
        # The server leaves: what takes long and has not written ends.
        self.is_leaving = False
        self.by_sha: Mapping[bytes, Script] = {}
        self._state = state
        self._jobs = jobs
        self._writer = writer
        self._results = writer.results
        self._usages = state.usages
        self._executed = state.usages.executed
        self._records = state.databases.records
        self._awaited = state.databases.awaited
        self._timing = table.timing
        self._table = table
        self._carrier: Carrier | None = None
        self._interpreter: Interpreter | None = None
        self._randomness = Randomness()
        self._scripts: Scripts | None = None
        self._gate = InnerGate(state, table)
        self._admit = self._gate.admit
        self.functions = FunctionRunner(state, self, self._make_interpreter)
        self._session = Session(state, SCRIPT_ID, "lua", "", is_local=True)
        # The messages that show the script to monitors, unless they have been sent.
        self.announced: list[tuple[Session, Message]] = []
        # The messages that the script's calls have led to, and the number of them at which they are handed over.
        self._deliveries: list[tuple[Session, Message]] = []
        self._hand_over_at = MESSAGES_PER_HAND_OVER
        # Nobody is to be shown the calls, or told of what they do.
        self._is_unheard = True
        # The script has replied an error, which may be one among other replies.
        self._has_failed = False
        # The script that runs, its client's session and request; the position of the records when what it is part of began.
        self._running: tuple[Script, Session, Request] | None = None
        # The time at which the script first looked at the clock, by the performance counter.
        self._began_at_s = 0.0
        self._began_at = 0
        # The time by which the script is to stand aside, by the performance counter; None until it is first asked.
        self._ends_at_s: float | None = None
        # The text of the error by which the script is to end.
        self._verdict: bytes | None = None
        # What was raised where a script stood aside, since the server leaves.
        self._leaving: BaseException | None = None
        # It is set while no script stands aside.
        self._whole = asyncio.Event()
        self._whole.set()

    # Scripts

    def must_prepare(self) -> bool:
        """True if a script could not stand aside now, but could in the next tick."""
        try:
            carrier = self._carrier or self._make_carrier()
        # To load a script tells what is missing.
        except ImportError:
            return False
        return not carrier.is_inside

    def _make_carrier(self) -> Carrier:
        from kvserver.engine.carrier import Carrier

        carrier = self._carrier = Carrier()
        self._writer.carry(carrier)
        return carrier

    async def wait(self) -> None:
        """Wait until no script stands aside."""
        await self._whole.wait()

    def load(self, body: bytes, *, stays: bool = False) -> Script:
        """The script with this body, compiled. CommandError if it is none. One that `stays` is never dropped to make room."""
        if self._scripts is None:
            self._begin()
        assert self._scripts is not None
        return self._scripts.load(body) if stays else self._scripts.of(body)

    def flush(self) -> None:
        """Forget all scripts, and what they have left in the interpreter."""
        self._interpreter = self._scripts = None
        self.by_sha = {}

    def kill(self, kind: str = "") -> None:
        """Let the script that stands aside end. CommandError if there is none, if it has written, or is of another kind."""
        if not self.busy_error or self._running is None:
            raise CommandError(NOT_BUSY)
        if self._gate.has_written:
            raise CommandError(UNKILLABLE)
        if kind not in ("", self._running[0].kind):
            raise CommandError(self.busy_error)
        self._verdict = KILLED

    @property
    def facts(self) -> ScriptFacts:
        """The figures of INFO."""
        if self._interpreter is None or self._scripts is None:
            return ScriptFacts()
        return ScriptFacts(self._interpreter.used_bytes, self._scripts.size_bytes, len(self._scripts))

    @property
    def function_facts(self) -> FunctionFacts:
        """The figures of functions."""
        return self.functions.facts

    def running(self) -> Running | None:
        """The script that stands aside, or None."""
        if not self.busy_error or self._running is None:
            return None
        script, _, request = self._running
        return Running(script.name, script.kind, request, int((time.perf_counter() - self._began_at_s) * 1000))

    def interpreter(self) -> Interpreter:
        """The interpreter, made if there is none. CommandError if it can't be."""
        return self._interpreter or self._begin()

    def _begin(self) -> Interpreter:
        interpreter = self._interpreter = self._make_interpreter(self)
        self._scripts = Scripts(interpreter.compile, self._state.config.lua_memory_limit)
        self.by_sha = self._scripts.by_sha
        return interpreter

    def _make_interpreter(self, host: Host) -> Interpreter:
        try:
            from kvserver.scripting.interpreter import Interpreter

            if self._carrier is None:
                self._make_carrier()
        except ImportError as error:
            raise CommandError(NO_INTERPRETER.format(error.name)) from None
        return Interpreter(host, self._state.config.lua_memory_limit, SERVER_VERSION, self._randomness)

    def limit_memory(self) -> None:
        """Let the limit of memory that is configured now hold."""
        if self._interpreter and self._scripts:
            self._scripts.limit_bytes = self._state.config.lua_memory_limit
            self._interpreter.limit_memory(self._state.config.lua_memory_limit)
        self.functions.limit_memory()

    def close(self) -> None:
        """End a script that stands aside, without a trace: the server leaves."""
        if self.busy_error and self._carrier:
            self._carrier.end()

    # Running

    def run(self, session: Session, request: Request, script: Script, keys: int, is_read_only: bool) -> Reply | Effect:
        """Run a script for a client that has sent this request. CommandError if it fails."""
        state, carrier, inner = self._state, self._carrier, self._session
        if (carrier is None or not carrier.is_inside) and not session.is_executing and self.must_prepare():
            return Prepare()
        self._gate.begin(session, script.flags, is_read_only=is_read_only)
        inner.keyspace, inner.protocol, inner.user = session.keyspace, 2, session.user
        self._is_unheard = not (state.monitors or state.notifications.is_on)
        self._running = script, session, request
        self._ends_at_s = self._verdict = None
        self._admit = self._gate.admit if session.tracker is None else self._admit_tracked
        self._hand_over_at = MESSAGES_PER_HAND_OVER
        self._began_at = self._results.executing_from if session.is_executing else self._records.position
        result: Reply | CommandError
        try:
            if script.kind == "FUNCTION":
                interpreter = self.functions.interpreter()
                result = interpreter.run(script.function, script.name, request[3:], keys, session.protocol, of_library=True)
            else:
                interpreter = self._interpreter or self._begin()
                result = interpreter.run(script.function, script.name, request[3:], keys, session.protocol)
        except CommandError as error:
            result = error
        except Exception:
            _log.exception("the script %s failed: this is a defect of kvserver", _shown(script.name))
            result = CommandError(INTERNAL_ERROR)
        finally:
            has_stood_aside = bool(self.busy_error)
            try:
                if has_stood_aside:
                    self._step_back()
            finally:
                self._running = None
        if len(self._executed) > CALLS_PER_FOLD:
            self._usages.fold()
        if self._has_failed:
            self._has_failed = False
            self._usages.fail(request, CommandError(""))
        if self._deliveries:
            deliveries, self._deliveries = self._deliveries, []
            return Notified(result, deliveries)
        # What fails has done what it did before. An effect lets the writer see that it has been paused meanwhile, too.
        if not session.is_executing and (has_stood_aside or self._awaited.touched):
            return Fed(result)
        if isinstance(result, CommandError):
            raise result
        return result

    # Standing aside

    def look(self) -> bytes | None:
        """Look at the clock, and let the loop go on where the script has taken its time. The text by which it is to end."""
        now_s = time.perf_counter()
        if self._ends_at_s is None:
            threshold_ms = self._state.config.busy_reply_threshold
            self._ends_at_s = now_s + threshold_ms / 1000 if threshold_ms else NEVER_S
            self._began_at_s = now_s
        # It can't stand aside.
        if self._running and self._running[1].id == SOURCE_ID:
            return TOO_LONG if now_s > self._began_at_s + LIMIT_S else None
        if now_s < self._ends_at_s:
            return self._verdict
        if self.is_leaving and not self._gate.has_written:
            return KILLED
        if self._carrier is None or not self._carrier.is_inside:
            return None
        if not self.busy_error:
            try:
                self._step_aside()
            # The server would be busy until the script ends, with nobody who looks at the clock.
            except Exception:
                _log.exception("a script could not stand aside: this is a defect of kvserver")
                return INTERNAL_ERROR.encode()
        if self._deliveries:
            self._hand_over()
        try:
            self._carrier.stand_aside()
        # Nothing of Python's may pass through Lua: `_step_back` raises it again behind that.
        except BaseException as leaving:
            self._leaving = leaving
            return b"ERR the server leaves"
        self._ends_at_s = time.perf_counter() + SLICE_S
        return self._verdict

    def _step_aside(self) -> None:
        assert self._running
        script, client = self._running[0], self._client()
        _log.warning(
            "slow script %s: it still runs after %d ms, and %s KILL would end it",
            _shown(script.name), self._state.config.busy_reply_threshold, script.kind,
        )  # fmt: skip
        self.busy_error = BUSY.format(script.kind)
        self._whole.clear()
        if client:
            client.wait()
        # What stands before the script has its replies, and they are not sent yet.
        self._mark_late(True)
        self._writer.step_aside(self._began_at)

    def _hand_over(self) -> None:
        """Send what the calls have led to so far, so that it does not grow with the time that the script takes.

        What tells of a script that has written waits for its end, as its records do. So do messages for its own client, since
        the replies before them have not been sent.
        """
        assert self._running
        # To send them now would let go the replies of this tick to what the journal does not have yet.
        if not self._records.has_any:
            client, has_written = self._running[1], self._gate.has_written
            sent: list[tuple[Session, Message]] = []
            for messages in (self.announced, self._deliveries):
                kept: list[tuple[Session, Message]] = []
                for each in messages:
                    must_wait = each[0] is client or (has_written and type(each[1]) is not MonitorLine)
                    (kept if must_wait else sent).append(each)
                messages[:] = kept
            self._results.deliver(sent)
        self._hand_over_at = 2 * len(self._deliveries) + MESSAGES_PER_HAND_OVER

    def _step_back(self) -> None:
        """Let the tick go on alone. GreenletExit if the server leaves."""
        self.busy_error = ""
        self._whole.set()
        # The writer still keeps what the script has written, so that half of it is nowhere.
        if self._leaving:
            raise self._leaving
        self._writer.step_back()
        self._mark_late(False)
        client = self._client()
        if client:
            client.go_on()

    def _mark_late(self, is_late: bool) -> None:
        assert self._running
        if tracker := self._running[1].tracker:
            tracker.is_late = is_late

    def _client(self) -> Client | None:
        assert self._running
        return self._results.clients.get(self._running[1].id)

    # What the interpreter asks (`scripting.interpreter.Host`)

    def set_protocol(self, protocol: int) -> None:
        """Let replies to the script be those of this protocol."""
        self._session.protocol = protocol

    def call(self, request: Request) -> Reply:
        """Run a call of the script."""
        session = self._session
        try:
            handler, command = self._admit(request)
        except CommandError as error:
            self._usages.fail(request, error)
            self._executed.append(request[0])
            self._usages.count_error(str(error))
            return Error(str(error))
        self._executed.append(request[0])
        if not self._is_unheard and self._state.notifications.is_on:
            self._state.notifications.begin(command, request)
        try:
            result = handler(session, request)
            kind = type(result)
            # Measured: most replies are of these kinds.
            if (kind is bytes or kind is int or result is None) and self._is_unheard:
                return result  # type: ignore[return-value]
            if kind in EFFECTS:
                result = self._carry_out(result, request)  # type: ignore[arg-type]
        except CommandError as error:
            self._usages.fail(request, error)
            result = Error(str(error))
        if type(result) is Error:
            self._usages.count_error(result.text)
        if not self._is_unheard:
            self._show(command, request)
        return result  # type: ignore[return-value]

    def _admit_tracked(self, request: Request) -> tuple[Handler, Command]:
        """Admit a call of the script of a client that tracks keys: with one that reads, all keys that it declared are read."""
        handler, command = self._gate.admit(request)
        if "readonly" not in command.flags:
            return handler, command
        assert self._running
        _, client, script = self._running

        def run(session: Session, request: Request) -> Reply | Effect:
            try:
                return handler(session, request)
            finally:
                self._state.tracking.remember(client, self._state.commands[script[0].lower()], script)

        return run, command

    def _show(self, command: Command, request: Request) -> None:
        """Have those told, when the script has ended, who want to know of a call or of what it has done."""
        if self._state.notifications.is_on:
            self._deliveries += self._state.notifications.take()
        if self._state.monitors and "admin" not in command.flags:
            self._deliveries += shown_to_monitors(self._session, request)
        if len(self._deliveries) > self._hand_over_at:
            self._hand_over()

    def _carry_out(self, effect: Effect, request: Request) -> Reply:
        """Carry out an effect of a call. CommandError if a script may not lead to such a one."""
        begun = self._timing.take_begun()
        match effect:
            case Publish(deliveries, reply):
                self._deliveries += deliveries
                if len(self._deliveries) > self._hand_over_at:
                    self._hand_over()
            case FreeShards(name, keys, shards, _):
                # A flush would have half of what the script writes.
                reply = self._jobs.act(FreeShards(name, keys, shards, flushes=False), self._session)  # type: ignore[assignment]
            case Block():
                reply = effect.otherwise
            case _:
                raise CommandError(NOT_ALLOWED)
        if begun:
            self._timing.took(self._session, request, begun)
        return reply

    def log(self, level: int, text: bytes) -> None:
        """Log a line of the script."""
        _log.log(_LEVELS[int(level)], "%s", _shown(text))

    def may_call(self, request: Request) -> bool | None:
        """True if the client's user may make this call. None if there is no such command."""
        command = self._table.commands.get(request[0].lower())
        meant = None if command is None else command.meant_by(request)
        if meant is None:
            return None
        return self._session.user.denial(meant, request, self._state.users.catalogue) is None

    def note_error(self, text: bytes, is_counted: bool) -> None:
        """Note an error that the script replies, and count it unless a command has replied it."""
        self._has_failed = True
        if not is_counted:
            self._usages.count_error(text.decode("utf-8", "surrogateescape"))


def _shown(text: bytes) -> str:
    """A script's text, as the log shows it."""
    return text.decode("utf-8", "backslashreplace")
