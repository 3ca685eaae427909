"""CLIENT PAUSE: the commands that it holds back wait here until the pause ends, by itself or by CLIENT UNPAUSE.

Owns the end of a pause, those who wait for it, or for keys that are reserved, and the order of their turns. What is held back
is for the gate to say.
"""

from __future__ import annotations

import asyncio
from itertools import chain, count

from kvserver.engine.waiting import LONGEST_TIMER_S, Client
from kvserver.state.session import Pause, ServerState


def hold_back(client: Client) -> None:
    """Let a client wait, and its command run anew when it goes on."""
    client.session.is_postponed = True
    client.wait()


def run_again(client: Client) -> None:
    """Let a client go on with the command that was held back."""
    client.session.is_postponed = False
    client.go_on()


class Pauses:
    """The pause of a server."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._loop = asyncio.get_running_loop()
        # Those who wait, each with the number of its turn.
        self._postponed: dict[Client, int] = {}
        # Those who may go on and have yet to run, each with all who go on together, and their turns.
        self._returning: dict[Client, dict[Client, int]] = {}
        self._turns = count()
        # Unix time in milliseconds.
        self._ends_at_ms = 0
        self._timer: asyncio.TimerHandle | None = None

    def may_go_first(self, client: Client) -> bool:
        """Return True, and end the client's turn, if nobody waits, or has yet to run, whose turn comes before."""
        own = self._turn_of(client)
        turns = chain(self._postponed.values(), (together[other] for other, together in self._returning.items()))
        if min(turns, default=own) < own:
            self._returning[client] = {client: own}
            return False
        return True

    def postpone(self, client: Client) -> None:
        """Let a client's command wait for the end of the pause, or for keys that are reserved."""
        hold_back(client)
        # Who has to wait again keeps its turn.
        self._postponed[client] = self._turn_of(client)

    def forget(self, client: Client) -> None:
        """Drop a client that is gone."""
        self._returning.pop(client, None)
        self._postponed.pop(client, None)

    def begin(self, pause: Pause, until_ms: int, *, holds_keys: bool) -> None:
        """Begin a pause until a Unix time in milliseconds. One that is under way becomes neither shorter nor weaker.

        With `holds_keys`, no key goes by itself from now on.
        """
        self._state.pause = Pause.ALL if self._state.pause is Pause.ALL else pause
        self._ends_at_ms = max(until_ms, self._ends_at_ms)
        if holds_keys:
            self.hold_keys()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        left_s = (self._ends_at_ms - self._state.now_ms()) / 1000
        self._timer = self._loop.call_later(min(left_s, LONGEST_TIMER_S), self.end)

    def look_at_clock(self) -> None:
        """Take notice that somebody has moved the clock: the pause may be over."""
        if self._state.pause is Pause.NONE:
            return
        if self._ends_at_ms <= self._state.now_ms():
            self.end()
        else:
            self._set_timer()

    def hold_keys(self) -> None:
        """Let keys neither expire nor be evicted during a pause: another server may be about to take over the data."""
        self._state.databases.hold(self._state.pause is not Pause.NONE)

    def end(self) -> None:
        """End the pause, if there is one."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._state.pause, self._ends_at_ms = Pause.NONE, 0
        self.hold_keys()
        self.run_all_again()

    def run_all_again(self) -> None:
        """Let all go on with what was held back; what has to wait still is postponed anew."""
        postponed, self._postponed = self._postponed, {}
        if postponed:
            self._return(postponed)

    def run_again_soon(self, client: Client) -> None:
        """Let a client go on with the command that it has just asked for when the tick is over, before who came behind it."""
        hold_back(client)
        alone = {client: self._turn_of(client)}
        self._returning[client] = alone
        self._loop.call_soon(self._return, alone)

    def _turn_of(self, client: Client) -> int:
        together = self._returning.pop(client, None)
        return together[client] if together else next(self._turns)

    def _return(self, clients: dict[Client, int]) -> None:
        self._returning |= dict.fromkeys(clients, clients)
        for client in sorted(clients, key=clients.__getitem__):
            run_again(client)
        # The writer's tick comes before that.
        self._loop.call_soon(self._have_returned, clients)

    def _have_returned(self, clients: dict[Client, int]) -> None:
        for client in clients:
            if self._returning.get(client) is clients:
                del self._returning[client]
        if not self._returning and self._state.pause is Pause.NONE and not self._state.reserved:
            # Nobody else would let those go on who came behind them.
            self.run_all_again()
