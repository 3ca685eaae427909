"""What a session looks its commands up in, by what it is in: unauthenticated, monitoring, subscribed, in MULTI, muted.

Each such table is made from the one that all ordinary sessions use (`table`), when it is first needed, by putting other
handlers before or instead of those in it. So an ordinary command is never asked about any of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvserver.commands.effect import Effect, Monitored, Postpone, Quiet
from kvserver.commands.monitor import monitor_line
from kvserver.commands.row import Command, Handler, resolve, wrong_arity
from kvserver.commands.runner import (
    ANY_ARITY,
    OOM,
    Runner,
    Runners,
    is_out_of_memory,
    present_refusal,
    refusal_of,
    refuse,
    unrefused,
)
from kvserver.commands.transactions import check_queueable, queue
from kvserver.errors import CommandError, Refusal
from kvserver.resp.reply import Reply
from kvserver.session import MONITORING, MUTED, QUEUEING, SUBSCRIBED, UNAUTHENTICATED, Muted, Pause, Session

NOAUTH: Final = "NOAUTH Authentication required."
NO_KEYSPACE: Final = "ERR Replica can't interact with the keyspace"  # what Redis takes a monitor for

# What the context of a RESP2 subscriber allows.
_FOR_SUBSCRIBERS: Final = frozenset((
    "ping", "quit", "reset", "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe",
))  # fmt: skip
# What runs at once in MULTI.
_NEVER_QUEUED: Final = frozenset(("multi", "exec", "discard", "watch", "quit", "reset"))
# Not writes, but what replicas would get: with a pause of writes they wait, too.
_MAY_REPLICATE: Final = frozenset(("publish", "spublish"))


class Lookups(dict[int, Runners]):
    """The tables by `Session.standing`; 0 is the ordinary one. `rows` by name."""

    def __init__(self, rows: Mapping[bytes, Command], runners: Runners) -> None:
        self._rows = rows
        self._base = runners
        self._is_monitored = False
        self._pause = Pause.NONE
        self._renew()

    def use(self, runners: Runners) -> None:
        """Make all tables from this one."""
        self._base = runners
        self._renew()

    def note_monitors(self, is_monitored: bool) -> None:
        """Whether somebody monitors."""
        if is_monitored is not self._is_monitored:
            self._is_monitored = is_monitored
            self._renew()

    def note_wrapping(self) -> None:
        """Other commands are timed than before, which has changed the first table: of the others only the one for monitors
        runs most of its commands."""
        if self._is_monitored:
            self._renew()

    def pause(self, pause: Pause) -> None:
        """Which commands are to wait."""
        self._pause = pause
        self._renew()

    def runner(self, session: Session, args: list[bytes]) -> tuple[Handler, str | None]:
        """What runs a command that was queued in MULTI, and by which error it is refused by now."""
        row = self._rows[args[0].lower()]
        handler = self._base[row.name.encode()][0]
        refusal = present_refusal(handler, resolve(row, args), session)
        handler = unrefused(handler)
        if row.name == "ping":
            handler = _with_pong(handler)
        return self._shown(handler, row), refusal

    def _shown(self, handler: Handler, row: Command) -> Handler:
        return _show_to_monitors(handler, row) if self._is_monitored else handler

    def _renew(self) -> None:
        self.clear()
        self.__missing__(0)  # the writer looks there all the time

    def __missing__(self, standing: int) -> Runners:
        if standing or self._is_monitored or self._pause is not Pause.NONE:
            made: dict[int, Runner] = {}  # the spellings of a name share theirs
            for runner in self._base.values():
                if id(runner) not in made:
                    made[id(runner)] = self._make(standing, runner, self._rows.get(runner[2].encode()))
            self[standing] = {name: made[id(runner)] for name, runner in self._base.items()}
        else:
            self[standing] = self._base
        return self[standing]

    def _make(self, standing: int, runner: Runner, row: Command | None) -> Runner:
        """`row` is None for what is no command."""
        handler, arities, name = runner
        pause = Pause.NONE if standing & MONITORING else self._pause
        if row:
            if standing & UNAUTHENTICATED:
                handler = _authenticated_only(handler, row)
            if standing & SUBSCRIBED:
                handler = _for_subscriber(handler, row)
            if standing & MONITORING:
                handler = _without_keys(handler, row)
            refusing, handler = handler, self._shown(handler, row)
            if pause is not Pause.NONE:
                handler = _postponed(handler, refusing, row, pause)
            if standing & QUEUEING and name not in _NEVER_QUEUED:
                handler = _queued(refusing, row, pause)
        if standing & QUEUEING:
            handler, arities = _noting_refusals(handler, arities, name), ANY_ARITY
        if standing & MUTED:
            handler, arities = _muted(handler, arities, name), ANY_ARITY
        return handler, arities, name


# Each gives a handler in front of another one.


def _authenticated_only(handler: Handler, row: Command) -> Handler:
    return refuse(handler, row, lambda each: None if "no_auth" in each.flags else NOAUTH)


# Monitors


def _show_to_monitors(handler: Handler, row: Command) -> Handler:
    if "admin" in row.flags:
        return handler

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        result: Reply | Effect | CommandError
        try:
            result = handler(session, args)
        except Refusal:
            raise
        except CommandError as error:
            result = error
        if "admin" in resolve(row, args).flags:
            if isinstance(result, CommandError):
                raise result
            return result
        return Monitored(result, monitor_line(session, args))

    return run


def _without_keys(handler: Handler, row: Command) -> Handler:
    def refusal(each: Command) -> str | None:
        uses_keys = _waits(each, Pause.WRITES) or "readonly" in each.flags
        return NO_KEYSPACE if uses_keys and refusal_of(handler, each) is None else None

    return refuse(handler, row, refusal)


# Subscribers


def _for_subscriber(handler: Handler, row: Command) -> Handler:
    if row.name == "ping":
        return _with_pong(handler)
    if row.name in _FOR_SUBSCRIBERS:
        return handler

    def refusal(each: Command) -> str | None:
        if refusal_of(handler, each) is not None:
            return None
        return (
            f"ERR Can't execute '{each.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
            "this context"
        )

    return refuse(handler, row, refusal)


def _with_pong(handler: Handler) -> Handler:
    """PING, whose reply looks like a message in the context of a subscriber."""

    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        result = handler(session, args)
        if not session.standing & SUBSCRIBED:
            return result
        return [b"pong", *(args[1:] or [b""])]

    return run


# Pauses


def _waits(row: Command, pause: Pause) -> bool:
    return pause is Pause.ALL or (pause is Pause.WRITES and ("write" in row.flags or row.name in _MAY_REPLICATE))


def _postponed(handler: Handler, refusing: Handler, row: Command, pause: Pause) -> Handler:
    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        resolved = resolve(row, args)
        waits = _waits(resolved, pause)
        if row.name == "exec" and session.transaction:
            rows = session.server.table.rows
            waits |= any(_waits(rows[words[0].lower()], pause) for words in session.transaction.commands)
        return Postpone() if waits and present_refusal(refusing, resolved, session) is None else handler(session, args)

    return run


# MULTI


def _queued(refusing: Handler, row: Command, pause: Pause) -> Handler:
    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        resolved = resolve(row, args)
        text = refusal_of(refusing, resolved)
        # A queue takes memory, whatever is in it.
        if text is None and session.server.memory.limit_bytes and is_out_of_memory(session):
            text = OOM
        if text is not None:
            raise Refusal(text)
        check_queueable(resolved, args)
        return Postpone() if _waits(resolved, pause) else queue(session, args)

    return run


def _noting_refusals(handler: Handler, arities: range, name: str) -> Handler:
    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        try:
            if len(args) not in arities:
                raise wrong_arity(name, Refusal)
            return handler(session, args)
        except Refusal:
            assert session.transaction
            session.transaction.has_failed = True
            raise

    return run


# CLIENT REPLY


def _muted(handler: Handler, arities: range, name: str) -> Handler:
    def run(session: Session, args: list[bytes]) -> Reply | Effect:
        before = session.muted
        if before is Muted.NEXT:
            session.muted = Muted.PRESENT
        result: Reply | Effect | CommandError
        try:
            if len(args) not in arities:
                raise wrong_arity(name, Refusal)
            result = handler(session, args)
        except CommandError as error:
            result = error
        if isinstance(result, Postpone):
            session.muted = before
            return result
        return Quiet(result)

    return run
