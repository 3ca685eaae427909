"""The table of all commands: names to handlers, ready for the writer's hot path.

A name leads to what runs it in five variants of the table, so that the path of a command asks nothing but the table: a
write that must be refused, a client that must authenticate first, a server that is loading each see handlers that say so,
and where memory has a limit, those of commands that may need more look at it first.
In all of them handlers are wrapped where their time is to be taken, which changes while the server runs (commands/timing).
"""

from __future__ import annotations

from collections.abc import Callable

from kvserver.commands import (
    acl,
    bitfields,
    bits,
    client,
    configuration,
    connection,
    counters,
    debug,
    dump,
    expiry,
    identity,
    information,
    introspection,
    json,
    keys,
    latency,
    lcs,
    memory,
    objects,
    persistence,
    ranges,
    scan,
    slowlog,
    strings,
)
from kvserver.commands.effect import Effect
from kvserver.commands.row import ANY_NUMBER, Command, Handler
from kvserver.commands.timing import Timing
from kvserver.commands.usage import Usages
from kvserver.errors import Refusal
from kvserver.resp.reply import Reply
from kvserver.session import Session

FAMILIES = (
    strings,
    counters,
    ranges,
    bits,
    bitfields,
    lcs,
    keys,
    expiry,
    scan,
    dump,
    objects,
    connection,
    client,
    json,
    persistence,
    configuration,
    introspection,
    information,
    acl,
    debug,
    identity,
    latency,
    slowlog,
    memory,
)

MISCONF = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may "
    "modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting "
    "fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error."
)
MISCONF_JOURNAL = "MISCONF Errors writing to the AOF file: "
LOADING = "LOADING Redis is loading the dataset in memory"
NOAUTH = "NOAUTH Authentication required."
OOM = "OOM command not allowed when used memory > 'maxmemory'."


# What the hot path needs of a command. No NamedTuple: unpacking one takes 50 ns longer.
Runner = tuple[Handler, range, str]  # handler, arities, name
Runners = dict[bytes, Runner]


class CommandTable:
    """All commands. `rows` by lower-case name; the others are what the writer looks names up in, as they are spelled."""

    def __init__(self, clock_ns: Callable[[], int] = lambda: 0) -> None:
        commands = sorted((row for family in FAMILIES for row in family.COMMANDS), key=lambda row: row.name)
        self.rows: dict[bytes, Command] = {row.name.encode(): row for row in commands}
        self.usages = Usages(each.name for row in commands for each in (row, *row.subcommands))
        self.timing = Timing(clock_ns, self.usages)
        self.timing.on_change = self._wrap
        self.timing.on_slow = slowlog.note_slow
        self._handlers = {name: self.timing.wrap(row) for name, row in self.rows.items()}
        # Each variant, with what it has while the usual commands run unwrapped and while everything is wrapped.
        self._variants: dict[str, tuple[Runners, Runners, Runners]] = {}
        self.replay = self._runners(lambda row: None, lambda row: row.handler)
        self.open = self._variant("open", lambda row: None)
        self.limited = self._variant("limited", lambda row: None, around=_within_limit)
        self.read_only = self.refuse_writes(MISCONF)
        self.loading = self._variant("loading", lambda row: None if "loading" in row.flags else LOADING)
        self.unauthenticated = self._variant("unauthenticated", lambda row: None if "no_auth" in row.flags else NOAUTH)

    def refuse_writes(self, text: str) -> Runners:
        """What the writer looks names up in while writes are answered by this error.

        RESTORE without arguments may run: it is a way back.
        """
        return self._variant("read only", lambda row: text if "write" in row.flags else None, way_back=b"restore")

    def _variant(
        self,
        kind: str,
        refusal: Callable[[Command], str | None],
        *,
        way_back: bytes = b"",
        around: Callable[[Command, Handler], Handler] = lambda row, handler: handler,
    ) -> Runners:
        usual = self._runners(refusal, lambda row: around(row, self._handlers[row.name.encode()][0]), way_back)
        wrapped = self._runners(refusal, lambda row: around(row, self._handlers[row.name.encode()][1]), way_back)
        runners = dict(wrapped if self.timing.is_sampling else usual)
        self._variants[kind] = runners, usual, wrapped
        return runners

    def _wrap(self) -> None:
        for runners, usual, wrapped in self._variants.values():
            runners.update(wrapped if self.timing.is_sampling else usual)

    def _runners(
        self, refusal: Callable[[Command], str | None], handler_of: Callable[[Command], Handler], way_back: bytes = b""
    ) -> Runners:
        runners: Runners = {}
        for name, row in self.rows.items():
            handler, text = handler_of(row), refusal(row)
            if row.subcommands:
                handler = _refuse_some(handler, row, refusal)
            elif text is not None:
                handler = _refuse(text, handler if name == way_back else None)
            runner = (handler, row.arities, row.name)
            runners[name] = runners[name.upper()] = runner
        for word in (b"post", b"host:"):
            runners[word] = (connection.refuse_http, range(1, ANY_NUMBER), word.decode())
        return runners


def _refuse(text: str, alone: Handler | None) -> Handler:
    """The handler of a command that may not run, or, with `alone`, only without arguments."""

    def refuse(session: Session, args: list[bytes]) -> Reply | Effect:
        if alone is not None and len(args) == 1:
            return alone(session, args)
        raise Refusal(text)

    return refuse


def _refuse_some(handler: Handler, container: Command, refusal: Callable[[Command], str | None]) -> Handler:
    """A container whose subcommands may be refused, each by its own flags, once they are known to be right."""
    rows = {row.name.partition("|")[2].encode(): row for row in container.subcommands}
    refused = {word: (row.arities, text) for word, row in rows.items() if (text := refusal(row)) is not None}
    text_alone = refusal(container)
    if not refused:
        return handler

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        if len(args) == 1 and text_alone is not None:
            raise Refusal(text_alone)
        arities, text = refused.get(args[1].lower(), ((), "")) if len(args) > 1 else ((), "")
        if len(args) in arities:
            raise Refusal(text)
        return handler(session, args)

    return run


def _within_limit(row: Command, handler: Handler) -> Handler:
    if "denyoom" not in row.flags:
        return handler

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        memory = session.server.memory
        # RESTORE without arguments, which loads, is a way back.
        if memory.is_over and not memory.make_room() and len(args) > 1:
            raise Refusal(OOM)
        return handler(session, args)

    return run
