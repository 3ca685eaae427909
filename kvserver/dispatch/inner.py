"""The gate of the calls that a script makes: may it run this command now? In the order of Redis's scriptCall.

What `dispatch.gate` asks of a client's calls was asked of the script's own. Here it is the script that is asked: is it
read-only, and could the server take writes when it began? A script that has written once is let go on: nothing can take back
what it did. Pure; names no command.
"""

from __future__ import annotations

from typing import Final

from kvserver.acl.denials import Context
from kvserver.acl.selector import Reason
from kvserver.dispatch.command import Command, Handler
from kvserver.dispatch.gate import MASTERDOWN, MISCONF, OOM, READONLY, denied, is_cut_off, is_out_of_memory, write_error
from kvserver.dispatch.table import CommandTable
from kvserver.errors import CommandError, Refusal
from kvserver.resp.request import Request
from kvserver.state.session import ServerState, Session

UNKNOWN: Final = "ERR Unknown Redis command called from script"
WRONG_ARITY: Final = "ERR Wrong number of args calling Redis command from script"
NOT_ALLOWED: Final = "ERR This Redis command is not allowed from script"
READ_ONLY: Final = "ERR Write commands are not allowed from read-only scripts."
RO_COMMAND: Final = "ERR Can not execute a script with write flag using *_ro command."
SCRIPT_MISCONF: Final = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Writable scripts are "
    "blocked. Use 'no-writes' flag for read only scripts."
)
SCRIPT_MISCONF_JOURNAL: Final = (
    "MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist to disk. Writable scripts are "
    "blocked. Use 'no-writes' flag for read only scripts. AOF error: {}"
)
SCRIPT_READONLY: Final = "READONLY You can not run script with write flag on readonly replica."
SCRIPT_MASTERDOWN: Final = (
    "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and 'allow-stale' flag is not set on the "
    "script."
)
STALE: Final = "ERR Can not execute the command on a stale replica"
DENIED: Final = {
    Reason.COMMAND: "ERR The user executing the script can't run this command or subcommand",
    Reason.KEY: ("ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"),
    Reason.CHANNEL: "ERR The user executing the script can't publish to the channel mentioned in the command",
}
SCRIPT_OOM: Final = "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"


class InnerGate:
    """The rules for the calls of the script that runs."""

    def __init__(self, state: ServerState, table: CommandTable) -> None:
        # The script has called a command that writes.
        self.has_written = False
        self._state = state
        self._runners = table.open
        whole = [(each, *each.subcommands.values()) for each in table.commands.values()]
        commands = [each for parts in whole for each in parts]
        self._containers = frozenset(each for each in table.commands.values() if each.is_container)
        # What runs in any script, at any time; of these, what runs in the present one.
        self._harmless = self._all_harmless = frozenset(
            each for each in commands if not each.is_container and _is_harmless(each)
        )
        self._writes = frozenset(
            each for each in commands if not each.is_container and "write" in each.flags and "noscript" not in each.flags
        )
        # The session of the script's client, if its user may not do everything.
        self._restricted: Session | None = None
        self._is_stale = False
        # Nothing is in the way of a write.
        self._takes_writes = False
        self._is_read_only = False
        self._write_error = ""
        self._is_out_of_memory = False

    def begin(self, session: Session, flags: frozenset[bytes] | None, *, is_read_only: bool) -> None:
        """Begin a script with the flags that its head sets, or None. CommandError if it may not run."""
        server = self._state
        facts = server.persistence
        self.has_written = False
        # Measured: to ask for what is hardly ever the case takes a tenth of a short script.
        if not (flags is not None or is_read_only or server.memory.limit_bytes or server.journal.error) and (
            facts.last_save_ok and not facts.medium_poisoned and server.replication.is_primary
        ):
            self._is_read_only = self._is_out_of_memory = self._is_stale = False
            self._harmless = self._all_harmless
            self._write_error, self._takes_writes = "", True
            self._restricted = None
            if not session.is_unrestricted:
                self._restrict(session)
            return
        # What a source has run, or the journal, was accepted once.
        self._write_error = "" if session.is_replay else write_error(server)
        self._is_out_of_memory = bool(server.memory.limit_bytes) and is_out_of_memory(server)
        # What is there is stale, and may not be served.
        self._is_stale = is_cut_off(server)
        self._harmless = frozenset() if self._is_stale else self._all_harmless
        if self._is_stale:
            self._check_stale(session, flags)
        if flags is not None:
            self._check_flags(session, flags, is_read_only=is_read_only)
            is_read_only = is_read_only or b"no-writes" in flags
            if b"allow-oom" in flags or is_read_only:
                self._is_out_of_memory = False
        self._is_read_only = is_read_only
        self._takes_writes = not (is_read_only or self._write_error or self._is_out_of_memory)
        self._restricted = None
        if not session.is_unrestricted:
            self._restrict(session)

    def _restrict(self, session: Session) -> None:
        """Have each call asked about the rights of the client's user."""
        self._restricted = session
        self._harmless = frozenset()
        self._takes_writes = False

    def _check_stale(self, session: Session, flags: frozenset[bytes] | None) -> None:
        """Refuse a script whose head does not say that it may see what is stale."""
        if flags is None:
            raise CommandError(MASTERDOWN)
        if b"allow-stale" in flags:
            return
        if session.is_executing:
            raise CommandError(SCRIPT_MASTERDOWN)
        # Where the call itself is refused, that it may write comes first.
        raise Refusal(MASTERDOWN if b"no-writes" in flags else READONLY)

    def _check_flags(self, session: Session, flags: frozenset[bytes], *, is_read_only: bool) -> None:
        """Refuse a script whose head tells that it may do what can't be done now. One in a transaction is told so itself."""
        if b"no-writes" in flags:
            return
        in_transaction = session.is_executing
        if self._write_error:
            if not in_transaction:
                raise Refusal(self._write_error)
            if self._write_error == READONLY:
                raise CommandError(SCRIPT_READONLY)
            if self._write_error == MISCONF:
                raise CommandError(SCRIPT_MISCONF)
            raise CommandError(SCRIPT_MISCONF_JOURNAL.format(self._state.journal.error))
        if is_read_only:
            raise CommandError(RO_COMMAND)
        if self._is_out_of_memory and b"allow-oom" not in flags:
            raise CommandError(SCRIPT_OOM) if in_transaction else Refusal(OOM)

    def admit(self, request: Request) -> tuple[Handler, Command]:
        """What runs a call of the script, and the command that the call means. Refusal if it may not run."""
        runner = self._runners.get(request[0]) or self._runners.get(request[0].lower())
        if runner is None:
            raise Refusal(UNKNOWN)
        handler, arities, command, _ = runner
        if command in self._containers:
            meant = command.meant_by(request)
            if meant is None:
                raise Refusal(UNKNOWN)
            command, arities = meant, meant.arities
        if len(request) not in arities:
            raise Refusal(WRONG_ARITY)
        if command not in self._harmless:
            if self._takes_writes and command in self._writes:
                self.has_written = True
            else:
                self._check(command, request)
        return handler, command

    def _check(self, command: Command, request: Request) -> None:
        """Refuse a command that the script may not run now, or note that it writes."""
        if "noscript" in command.flags:
            raise Refusal(NOT_ALLOWED)
        if self._is_stale and "stale" not in command.flags:
            raise Refusal(STALE)
        if self._restricted and (denial := denied(self._restricted, command, request, Context.SCRIPT)):
            raise Refusal(DENIED[denial.reason])
        writes = "write" in command.flags
        if self._is_read_only and (writes or command.may_replicate):
            raise Refusal(READ_ONLY)
        if not self.has_written:
            if writes and self._write_error:
                raise Refusal(self._write_error)
            if self._is_out_of_memory and "denyoom" in command.flags:
                raise Refusal(OOM)
        if writes:
            self.has_written = True


def _is_harmless(command: Command) -> bool:
    return not ({"noscript", "write", "denyoom"} & set(command.flags) or command.may_replicate)
