"""The run of an append-only file's commands, in a staging: what they store is there behind it.

Nothing expires meanwhile, since the file has a DEL for each key that had expired (`expiring`).
"""

from __future__ import annotations

from typing import Final

from kvserver.commands.catalogue import COMMANDS
from kvserver.data.shards import drain
from kvserver.dispatch.effect import EFFECTS, Block, Fed, FreeShards, Publish, Switch
from kvserver.dispatch.table import CommandTable
from kvserver.engine.scripts import TOO_LONG
from kvserver.errors import CommandError, SourceInvalid
from kvserver.formats.aof import Batch
from kvserver.options.config import Config
from kvserver.options.table import MOST_DATABASES
from kvserver.resp.request import Request
from kvserver.state.session import REPLAY_ID, ServerState, Session
from kvserver.system import now_ms, now_us, random_below
from kvserver.transfer.expiring import says_until, stopped
from kvserver.transfer.scripts import NEEDS_PACKAGE, ImportedScripts
from kvserver.transfer.staging import Staging, shown

_BEGIN: Final = b"multi"
_END: Final = b"exec"
# What a command may lead to that needs no server.
_HARMLESS: Final = {Block, Publish, Switch}

# A command's place in a batch.
_Where = tuple[Batch, int]


class AOFRun:
    """Runs commands. SourceInvalid, with the offset, for one that is not known here, or fails.

    A script that fails has failed where the file was written, too, and what it had written before is in the data: it is noted.
    """

    def __init__(self, staging: Staging) -> None:
        config = Config()
        config.databases = MOST_DATABASES
        self._databases = staging.databases
        self._notes = staging.notes
        state = ServerState(config, self._databases, COMMANDS, now_ms, random_below=random_below, now_us=now_us)
        self._table = CommandTable(COMMANDS, state.usages)
        state.scripts = ImportedScripts(state, self._table)
        self._session = Session(state, REPLAY_ID, "import", "import", is_local=True)
        # The calls of a transaction whose end has not come, and its beginning; None outside of one.
        self._queue: list[tuple[Request, _Where]] | None = None
        self._begun: _Where | None = None
        self._failed_scripts = 0

    @property
    def open_since(self) -> int | None:
        """The offset at which a transaction begins whose end has not come, or None."""
        return None if self._begun is None else _offset(self._begun)

    def begin_file(self) -> None:
        """Run another file from now on: it selects its databases itself."""
        self._session.keyspace = self._databases[0]

    def run(self, batch: Batch) -> None:
        """Run some commands."""
        commands, session = batch.commands, self._session
        self._databases.keep_due(now_ms())
        done = 0
        if self._queue is None:
            session.keyspace.fetch_ahead(commands)
            done = self._table.run_alike(session, commands, self._table.replayed, [])
        for place, request in enumerate(commands[done:] if done else commands, done):
            where = batch, place
            name = request[0].lower()
            if name == _BEGIN:
                if self._queue is not None:
                    raise _invalid(where, request, "a transaction begins within another one")
                self._queue, self._begun = [], where
            elif name == _END:
                if self._queue is None:
                    raise _invalid(where, request, "there is no transaction to end")
                queue, self._queue, self._begun = self._queue, None, None
                for queued, its_place in queue:
                    self._run_one(queued, its_place)
            elif self._queue is not None:
                self._queue.append((request, where))
            else:
                self._run_one(request, where)
        # Nobody keeps records of what is only being brought in.
        self._databases.records.take()

    def end(self) -> None:
        """Let the clock go on. What a transaction without an end has is left out."""
        self._databases.start_clock()
        if self._failed_scripts:
            self._notes.append(f"failed, as they may have done before: {self._failed_scripts} scripts")

    def _run_one(self, request: Request, where: _Where) -> None:
        command = COMMANDS.get(request[0].lower())
        try:
            if command and says_until(command.meant_by(request) or command, request):
                with stopped(self._session.keyspace):
                    self._call(request)
            else:
                self._call(request)
        except CommandError as error:
            if command is None:
                reason = "there is no such command here: it may be one of a newer Redis, or of a module"
            else:
                reason = str(error).removeprefix("ERR ")
            is_script = command is not None and command.may_replicate
            # One that has not come to its end has done so where the file was written.
            if not is_script or NEEDS_PACKAGE in reason or TOO_LONG.decode().removeprefix("ERR ") in reason:
                raise _invalid(where, request, reason) from None
            self._failed_scripts += 1

    def _call(self, request: Request) -> None:
        result = self._table.call(self._session, request)
        effect = result.result if type(result) is Fed else result
        if isinstance(effect, CommandError):
            raise effect
        if type(effect) is FreeShards:
            for _ in drain(effect.shards):
                pass
        elif type(effect) in EFFECTS and type(effect) not in _HARMLESS:
            raise CommandError("ERR only a server can run it")


def _offset(where: _Where) -> int:
    batch, place = where
    return batch.offset_of(place)


def _invalid(where: _Where, request: Request, reason: str) -> SourceInvalid:
    return SourceInvalid(f"the command {shown(request[0])} at offset {_offset(where)}: {reason}")
