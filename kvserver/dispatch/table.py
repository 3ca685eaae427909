"""The table of all commands: names to handlers, ready for the writer's hot path.

A plain session looks its commands up in one table that refuses nothing, so the path of a command asks nothing but the table;
where memory has a limit, in a second one, in which those that may need more look at that first. All others go through the
gate (`call`). Handlers are wrapped where their time is to be taken, which changes while the server runs (dispatch/timing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kvserver.dispatch.command import Command, Handler, Many
from kvserver.dispatch.effect import Effect
from kvserver.dispatch.gate import Runner, Runners, call, is_plain, within_limit
from kvserver.dispatch.timing import Timing, note_slow
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import REPLAY_ID, Session
from kvserver.state.usage import Usages

ALIKE_FROM: Final = 4  # commands: of fewer, to see whether they are alike takes what it gives
NOTHING: Final[Runners] = {}  # where every command goes through the gate


class CommandTable:
    """What names are looked up in, as they are spelled. `rows` by lower-case name; times are noted in the `usages`."""

    def __init__(self, rows: Mapping[bytes, Command], usages: Usages, clock_ns: Callable[[], int] = lambda: 0) -> None:
        self.rows = rows
        # By handler, not by name: where another one stands before it (while timed, or for a limit), nothing is found here.
        self.many: dict[Handler, Many] = {row.handler: row.many for row in rows.values() if row.many}
        self.timing = Timing(clock_ns, usages)
        self.timing.on_change = self._wrap
        self.timing.on_slow = note_slow
        # What the journal's commands run by: their time is not taken.
        self.replayed = self._runners({row: row.entrance for row in rows.values()})
        handlers = {row: self.timing.wrap(row) for row in rows.values()}
        # What commands run by usually, and while everything is measured.
        self._usual, self._measured = (self._runners({row: pair[place] for row, pair in handlers.items()}) for place in (0, 1))
        self._usual_limited, self._measured_limited = _limited(self._usual), _limited(self._measured)
        self.open: dict[bytes, Runner] = {}
        self.limited: dict[bytes, Runner] = {}  # while memory has a limit
        self._wrap()

    def plain(self, session: Session) -> Runners:
        """The table for the names of a session's commands; empty where they must go through the gate (`call`).

        To be asked again behind each effect: a command that has none changes nothing of this.
        """
        if not is_plain(session):
            return NOTHING
        return self.limited if session.server.memory.limit_bytes else self.open

    def call(self, session: Session, request: Request) -> Reply | Effect:
        """Run a request as the gate lets it. Refusal if it may not run; CommandError if it fails."""
        return call(self.replayed if session.id == REPLAY_ID else self.open, session, request)

    def run_alike(self, session: Session, commands: list[Request], runners: Runners, output: list[bytes]) -> int:
        """Run commands that differ in nothing but their arguments, as in many pipelines: how many of the first ones have run.

        Not where anything stands before the handler of the command (timing, a limit): such a handler has no `many`.
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

    def _wrap(self) -> None:
        """Have the tables of clients hold what is wrapped now. In place: others hold them, too."""
        is_sampling = self.timing.is_sampling
        self.open.update(self._measured if is_sampling else self._usual)
        self.limited.update(self._measured_limited if is_sampling else self._usual_limited)

    def _runners(self, handlers: Mapping[Command, Handler]) -> dict[bytes, Runner]:
        runners: dict[bytes, Runner] = {}
        for name, row in self.rows.items():
            runners[name] = runners[name.upper()] = (handlers[row], row.arities_of_all, row)
        return runners


def _limited(runners: Runners) -> dict[bytes, Runner]:
    limited: dict[bytes, Runner] = dict(runners)
    for handler, arities, row in runners.values():
        if "denyoom" in row.flags:
            name = row.name.encode()
            limited[name] = limited[name.upper()] = (within_limit(handler), arities, row)
    return limited
