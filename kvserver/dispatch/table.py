"""The table of all commands: names to handlers, ready for the writer's hot path. Pure.

The handlers of a plain session (`gate.is_plain`) stand in a mapping that refuses nothing, so that the path of a call asks
nothing else. While memory has a limit, they stand in a second mapping, in which commands that may need more memory look at the
limit first; and while somebody waits for keys, in one in which those that write look if they have fed anybody. On a standby
they stand in one without the commands that write. For all other sessions the mapping is empty, so that every call goes through
the gate (`call`). Handlers are wrapped where their time is to be taken, which changes while the server runs (`timing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

from kvserver._speedups.choice import IS_COMPILED
from kvserver._speedups.requests import count_alike
from kvserver._speedups.runs import CALLS, READS
from kvserver.dispatch.command import Command, Handler, Many
from kvserver.dispatch.effect import Effect
from kvserver.dispatch.gate import (
    Runner,
    Runners,
    call,
    feeding,
    guarded,
    is_guarded,
    is_plain,
    is_plain_reader,
    within_limit,
)
from kvserver.dispatch.timing import Timing, note_slow
from kvserver.resp.reply import NULL, Reply
from kvserver.resp.request import Request
from kvserver.state.session import Session
from kvserver.state.usage import Usages

# With fewer calls, looking if they are alike takes as long as it saves.
ALIKE_FROM: Final = 4
# So many shorter runs are taken in one go: in C they pay, too.
SHORT_RUNS: Final = 64 if IS_COMPILED else 0
# The runners of a session whose calls all go through the gate.
ALL_GATED: Final[Runners] = {}
_NO_CODES: Final[dict[bytes, int]] = {}


class CommandTable:
    """The commands of a server by their lower-case names (`commands`), and what runs them now, by names as clients spell them.

    Times are noted in the `usages`, in nanoseconds of `clock_ns`.
    """

    def __init__(self, commands: Mapping[bytes, Command], usages: Usages, clock_ns: Callable[[], int] = lambda: 0) -> None:
        self.commands = commands
        self.timing = Timing(clock_ns, usages)
        self.timing.on_change = self._wrap
        self.timing.on_slow = note_slow
        handlers = {command: self.timing.wrap(command) for command in commands.values()}
        # By the handler that runs usually, not by name: one that is wrapped, to be timed, is not found here.
        self._many: dict[Handler, Many] = {
            handlers[command][0]: command.many
            for command in commands.values()
            if command.many and command.many.width < command.bounded_below
        }
        # The runners of the journal's commands, whose time is not taken.
        self.replayed = self._runners({command: command.entrance for command in commands.values()})
        # The codes of usual calls (`runs`) by the names of their commands, and those of reads alone.
        self._codes = {
            name: CALLS.index(command.call)
            for lower, command in commands.items()
            if command.call
            for name in (lower, lower.upper())
        }
        self._read_codes = {name: code for name, code in self._codes.items() if code < READS}
        # The runners usually, and those for while everything is measured.
        self._runners_of_all = tuple(self._runners({row: pair[place] for row, pair in handlers.items()}) for place in (0, 1))
        # The mappings that there are, each with its own two of these.
        self._mappings: list[tuple[dict[bytes, Runner], tuple[Runners, ...]]] = []
        self.open = self._mapping(lambda runners: runners)

    @cached_property
    def limited(self) -> dict[bytes, Runner]:
        """The runners for while memory has a limit. As most servers need no others than `open`, they are made at first use."""
        return self._mapping(_limited)

    @cached_property
    def reading(self) -> dict[bytes, Runner]:
        """The runners of a standby: those that write are not among them, so that the gate refuses their calls."""
        return self._mapping(_reading)

    @cached_property
    def feeding(self) -> dict[bytes, Runner]:
        """The runners for while somebody waits for keys."""
        return self._mapping(_feeding)

    @cached_property
    def feeding_limited(self) -> dict[bytes, Runner]:
        """The runners for while memory has a limit and somebody waits for keys."""
        return self._mapping(lambda runners: _feeding(_limited(runners)))

    @cached_property
    def guarded(self) -> tuple[dict[bytes, Runner], ...]:
        """Those for sessions whose user may not do everything: usually, with a limit, while somebody waits, and with both."""
        return (
            self._mapping(_guarded),
            self._mapping(lambda runners: _guarded(_limited(runners))),
            self._mapping(lambda runners: _guarded(_feeding(runners))),
            self._mapping(lambda runners: _guarded(_feeding(_limited(runners)))),
        )

    def plain(self, session: Session) -> Runners:
        """The runners of a session's commands now; none if its calls must go through the gate (`call`).

        The caller asks again behind each effect: a command that has none changes nothing of this.
        """
        server = session.server
        if not is_plain(session):
            if is_guarded(session):
                return self.guarded[bool(server.memory.limit_bytes) + 2 * bool(server.databases.awaited.keys)]
            return self.reading if is_plain_reader(session) else ALL_GATED
        if server.databases.awaited.keys:
            return self.feeding_limited if server.memory.limit_bytes else self.feeding
        return self.limited if server.memory.limit_bytes else self.open

    def call(self, session: Session, request: Request) -> Reply | Effect:
        """Take a request through the gate. Refusal if it may not run; CommandError if it fails."""
        return call(self.replayed if session.is_journal else self.open, session, request)

    def run_alike(self, session: Session, requests: list[Request], runners: Runners, output: list[bytes]) -> int:
        """Run calls from the first one on, up to one that is none for a run. Return the number of calls that have run.

        Usual calls (`runs`) run whatever their order. Others run where they differ in nothing but their arguments, by the
        `Many` of their command; a pipeline may be several runs of such calls. No call runs past a wrapper that stands before
        its handler (timing, a limit, clients that wait for keys).
        """
        count, done, short = len(requests), 0, 0
        codes = self._usual(session, runners)
        while done < count >= ALIKE_FROM:
            if requests[done][0] in codes:
                server, null = session.server, NULL[session.protocol]
                replies, ran = session.keyspace.run_usual(requests, done, codes, server.config, null)
                if ran:
                    output.append(replies)
                    done += ran
                    if done == count:
                        break
                else:
                    # Calls on large collections are often among their like.
                    codes = _NO_CODES
            name, width = requests[done][0], len(requests[done])
            runner = runners.get(name)
            many = runner[3] if runner else None
            if runner is None or many is None or many.width not in (width, 0) or width not in runner[1]:
                break
            alike = count_alike(requests, done, name, width)
            if alike < ALIKE_FROM:
                short += 1
                if short > SHORT_RUNS:
                    break
            ran = many.run(session, requests if alike == count else requests[done : done + alike], output)
            done += ran
            if ran < alike:
                break
        return done

    def _usual(self, session: Session, runners: Runners) -> dict[bytes, int]:
        """The codes of the usual calls that run by these runners as if nothing stood before their handlers."""
        is_replayed = runners is self.replayed
        if not (is_replayed or (runners and session.is_unrestricted and not self.timing.is_sampling)):
            return _NO_CODES
        # Nobody waits for what is read.
        if runners is self.open or (is_replayed and not session.server.databases.awaited.keys):
            return self._codes
        return self._read_codes

    def _mapping(self, change: Callable[[Runners], Runners]) -> dict[bytes, Runner]:
        """A new mapping of changed runners."""
        usual, measured = map(change, self._runners_of_all)
        mapping: dict[bytes, Runner] = {}
        self._mappings.append((mapping, (usual, measured)))
        self._wrap()
        return mapping

    def _wrap(self) -> None:
        """Let the mappings for plain sessions hold what is wrapped now. They are changed in place, since others hold them."""
        for mapping, runners in self._mappings:
            mapping.update(runners[self.timing.is_sampling])

    def _runners(self, handlers: Mapping[Command, Handler]) -> dict[bytes, Runner]:
        runners: dict[bytes, Runner] = {}
        for name, command in self.commands.items():
            handler = handlers[command]
            runners[name] = runners[name.upper()] = (handler, command.arities_of_all, command, self._many.get(handler))
        return runners


def _limited(runners: Runners) -> Runners:
    return _wrapped(runners, "denyoom", within_limit)


def _reading(runners: Runners) -> Runners:
    return {name: runner for name, runner in runners.items() if "write" not in runner[2].flags_of_all}


def _feeding(runners: Runners) -> Runners:
    return _wrapped(runners, "write", feeding)


def _guarded(runners: Runners) -> Runners:
    found: dict[bytes, Runner] = {}
    for handler, arities, command, _ in runners.values():
        name = command.name_bytes
        if name not in found:
            found[name] = found[name.upper()] = (guarded(handler, command), arities, command, None)
    return found


def _wrapped(runners: Runners, flag: str, wrap: Callable[[Handler, Command], Handler]) -> dict[bytes, Runner]:
    """Runners of which those of commands with a flag are wrapped."""
    wrapped: dict[bytes, Runner] = dict(runners)
    for handler, arities, command, _ in runners.values():
        if flag in command.flags_of_all:
            name = command.name.encode()
            wrapped[name] = wrapped[name.upper()] = (wrap(handler, command), arities, command, None)
    return wrapped
