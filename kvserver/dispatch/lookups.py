"""What a session looks its commands up in, by what it is in: unauthenticated, monitoring, subscribed, in MULTI, muted.

Each such table is made from the one that all ordinary sessions use (`table`), when it is first needed, by putting other
handlers before or instead of those in it (`contexts`). So an ordinary command is never asked about any of this.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvserver.dispatch.command import Command, Handler
from kvserver.dispatch.contexts import (
    authenticated_only,
    for_subscriber,
    muted,
    noting_refusals,
    postponed,
    queued,
    shown_to_monitors,
    with_pong,
    without_keys,
)
from kvserver.dispatch.effect import Effect
from kvserver.dispatch.runner import ANY_ARITY, Runner, Runners, present_refusal
from kvserver.resp.reply import Reply
from kvserver.state.session import MONITORING, MUTED, QUEUEING, SUBSCRIBED, UNAUTHENTICATED, Pause, Session


class Lookups(dict[int, Runners]):
    """The tables by `Session.standing`; 0 is the ordinary one. `rows` by name; `plain` is the table that refuses nothing."""

    def __init__(self, rows: Mapping[bytes, Command], plain: Runners) -> None:
        self._rows = rows
        self._plain = plain
        self._base = plain
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

    def refusal(self, session: Session, request: list[bytes]) -> str | None:
        """The error by which a request that was queued in MULTI is refused by now; None if it may run."""
        name = request[0].lower()
        return present_refusal(self._base[name][0], self._rows[name].resolve(request), session)

    def call(self, session: Session, request: list[bytes]) -> Reply | Effect:
        """Run a request of a transaction, which nothing refuses (`refusal`). CommandError where it fails."""
        name = request[0].lower()
        row, handler = self._rows[name], self._plain[name][0]
        if row.name == "ping":
            handler = with_pong(handler)
        return self._shown(handler, row)(session, request)

    def _shown(self, handler: Handler, row: Command) -> Handler:
        return shown_to_monitors(handler, row) if self._is_monitored else handler

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
                handler = authenticated_only(handler, row)
            if standing & SUBSCRIBED:
                handler = for_subscriber(handler, row)
            if standing & MONITORING:
                handler = without_keys(handler, row)
            refusing, handler = handler, self._shown(handler, row)
            if pause is not Pause.NONE:
                handler = postponed(handler, refusing, row, pause)
            if standing & QUEUEING and not row.is_never_queued:
                handler = queued(refusing, row, pause)
        if standing & QUEUEING:
            handler, arities = noting_refusals(handler, arities, name), ANY_ARITY
        if standing & MUTED:
            handler, arities = muted(handler, arities, name), ANY_ARITY
        return handler, arities, name
