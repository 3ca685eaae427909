"""The table of all commands: names to handlers, ready for the writer's hot path.

A name leads to what runs it in four variants of the table, so that the path of a command asks nothing but the table: a
write that must be refused, a client that must authenticate first, a server that is loading each see handlers that say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kvserver.commands import (
    client,
    configuration,
    connection,
    information,
    introspection,
    json,
    keys,
    persistence,
    strings,
)
from kvserver.commands.row import ANY_NUMBER, Command, Handler
from kvserver.errors import CommandError

FAMILIES = (strings, keys, connection, client, json, persistence, configuration, introspection, information)

MISCONF = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may "
    "modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting "
    "fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error."
)
MISCONF_JOURNAL = "MISCONF Errors writing to the AOF file: "
LOADING = "LOADING Redis is loading the dataset in memory"
NOAUTH = "NOAUTH Authentication required."


class Runner(NamedTuple):
    """What the hot path needs of a command."""

    handler: Handler
    arities: range
    name: str


Runners = dict[bytes, Runner]


class CommandTable:
    """All commands. `rows` by lower-case name; the others are what the writer looks names up in, as they are spelled."""

    def __init__(self) -> None:
        commands = sorted((row for family in FAMILIES for row in family.COMMANDS), key=lambda row: row.name)
        self.rows: dict[bytes, Command] = {row.name.encode(): row for row in commands}
        self.open = self._runners(lambda row: None)
        self.read_only = self.refuse_writes(MISCONF)
        self.loading = self._runners(lambda row: None if "loading" in row.flags else LOADING)
        self.unauthenticated = self._runners(lambda row: None if "no_auth" in row.flags else NOAUTH)

    def refuse_writes(self, text: str) -> Runners:
        """What the writer looks names up in while writes are answered by this error. RESTORE may run: it is a way back."""
        return self._runners(lambda row: text if "write" in row.flags and row.name != "restore" else None)

    def _runners(self, refusal: Callable[[Command], str | None]) -> Runners:
        runners: Runners = {}
        for name, row in self.rows.items():
            text = refusal(row)
            runner = Runner(row.handler if text is None else _refuse(text), row.arities, row.name)
            runners[name] = runners[name.upper()] = runner
        for word in (b"post", b"host:"):
            runners[word] = Runner(connection.refuse_http, range(1, ANY_NUMBER), word.decode())
        return runners


def _refuse(text: str) -> Handler:
    def refuse(session: object, args: object) -> None:
        raise CommandError(text)

    return refuse
