"""The table of all commands: names to handlers, ready for the writer's hot path.

A name leads to what runs it in four variants of the table, so that the path of a command asks nothing but the table: while
writes must be refused, or data is loaded, there are handlers that say so, and where memory has a limit, those of commands
that may need more look at it first. What a session is in makes more variants (`lookups`).
In all of them handlers are wrapped where their time is to be taken, which changes while the server runs (dispatch/timing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kvserver.dispatch.command import Command, Handler, Many, unknown_command
from kvserver.dispatch.gate import refuse_http
from kvserver.dispatch.lookups import Lookups
from kvserver.dispatch.runner import ANY_ARITY, UNKNOWN, Limited, Runners, refuse
from kvserver.dispatch.timing import Timing, note_slow
from kvserver.resp.reply import Reply
from kvserver.state.session import Session
from kvserver.state.usage import Usages

MISCONF = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may "
    "modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting "
    "fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error."
)
MISCONF_JOURNAL = "MISCONF Errors writing to the AOF file: "
LOADING = "LOADING Redis is loading the dataset in memory"

ALIKE_FROM: Final = 4  # commands: of fewer, to see whether they are alike takes what it gives


class CommandTable:
    """What names are looked up in, as they are spelled. `rows` by lower-case name; times are noted in the `usages`."""

    def __init__(self, rows: Mapping[bytes, Command], usages: Usages, clock_ns: Callable[[], int] = lambda: 0) -> None:
        self.rows = rows
        # By handler, not by name: a lookup that puts another one before it (in MULTI, while timed) finds nothing here.
        self.many: dict[Handler, Many] = {row.handler: row.many for row in rows.values() if row.many}
        self.timing = Timing(clock_ns, usages)
        self.timing.on_change = self._wrap
        self.timing.on_slow = note_slow
        self._handlers = {name: self.timing.wrap(row) for name, row in self.rows.items()}
        # Each variant, with what it has while the usual commands run unwrapped and while everything is wrapped.
        self._variants: dict[str, tuple[Runners, Runners, Runners]] = {}
        self._on_wrap: list[Callable[[], None]] = []
        self.replay = self._runners(None, lambda row: row.entrance)
        self.open = self._variant("open", None)
        self.limited = self._variant("limited", None, around=_within_limit)
        self.read_only = self.refuse_writes(MISCONF)
        self.loading = self._variant("loading", lambda row: None if "loading" in row.flags else LOADING)

    def lookups(self) -> Lookups:
        """What the sessions of a server look their commands up in, at first in `open`."""
        lookups = Lookups(self.rows, self.open)
        self._on_wrap.append(lookups.note_wrapping)
        return lookups

    def refuse_writes(self, text: str) -> Runners:
        """What the writer looks names up in while writes are answered by this error."""
        return self._variant("read only", lambda row: text if "write" in row.flags else None)

    def run_alike(self, session: Session, commands: list[list[bytes]], runners: Runners, output: list[bytes]) -> int:
        """Run commands that differ in nothing but their arguments, as in many pipelines: how many of the first ones have run.

        Not where anything stands before the handler of the command (`lookups`, `timing`): such a handler has no `many`.
        """
        if len(commands) < ALIKE_FROM:
            return 0
        name, width = commands[0][0], len(commands[0])
        runner = runners.get(name)
        many = self.many.get(runner[0]) if runner else None
        if many is None or many.width != width or set(map(len, commands)) != {width}:
            return 0
        if [args[0] for args in commands].count(name) != len(commands):
            return 0
        return many.run(session, commands, output)

    def _variant(
        self,
        kind: str,
        refusal: Callable[[Command], str | None] | None,
        around: Callable[[Command, Handler], Handler] = lambda row, handler: handler,
    ) -> Runners:
        usual = self._runners(refusal, lambda row: around(row, self._handlers[row.name.encode()][0]))
        wrapped = self._runners(refusal, lambda row: around(row, self._handlers[row.name.encode()][1]))
        runners = dict(wrapped if self.timing.is_sampling else usual)
        self._variants[kind] = runners, usual, wrapped
        return runners

    def _wrap(self) -> None:
        for runners, usual, wrapped in self._variants.values():
            runners.update(wrapped if self.timing.is_sampling else usual)
        for note in self._on_wrap:
            note()

    def _runners(self, refusal: Callable[[Command], str | None] | None, handler_of: Callable[[Command], Handler]) -> Runners:
        runners: Runners = {}
        for name, row in self.rows.items():
            handler = handler_of(row)
            if refusal:
                handler = refuse(handler, row, refusal)
            # EXEC itself tells what it makes of too many words: it ends the transaction.
            arities = ANY_ARITY if row.name == "exec" else row.arities_of_all
            runners[name] = runners[name.upper()] = (handler, arities, row.name)
        for word in (b"post", b"host:"):
            runners[word] = (refuse_http, ANY_ARITY, word.decode())
        runners[UNKNOWN] = (_tell_unknown, ANY_ARITY, "")
        return runners


def _within_limit(row: Command, handler: Handler) -> Handler:
    return Limited(handler) if "denyoom" in row.flags else handler


def _tell_unknown(session: object, args: list[bytes]) -> Reply:
    raise unknown_command(args)
