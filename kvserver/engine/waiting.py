"""Blocking commands: clients wait until somebody feeds them, until their time is up, or until another client unblocks them.

Owns who is served when: behind each command (transaction, script) that stored or removed a key that somebody waits for, the
keys in the order in which they were touched, and the clients in the order in which they came; and again, while what one of
them was given feeds others. All of that lies within the tick of the command that fed them, so that one record of the journal
has it. How a command is served is its own business (`dispatch.effect.Block`). Some wait for other nodes instead of keys
(`Await`): they are served outside of ticks.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable
from itertools import count
from typing import Any, Final, Protocol

from kvserver.data.notes import Place
from kvserver.dispatch.effect import Await, Block, Effect, Notified
from kvserver.errors import CommandError
from kvserver.resp.reply import Reply
from kvserver.resp.request import Request
from kvserver.state.session import Muted, ServerState, Session
from kvserver.state.waiters import Waiters

# Some thirty years: a longer timer overflows the event loop's clock.
LONGEST_TIMER_S: Final = 1e9
# So many ends of waits that are over may lie in the heap, before they are thrown out.
MOST_PAST: Final = 1_000
# While a script stands aside, nobody's time is up. It is looked at again after this.
LATER_S: Final = 0.01

# The result of a command.
Result = Reply | Effect | CommandError

_log = logging.getLogger("kvserver")


class Client(Protocol):
    """The part of a client (`client.Client`) that waiting needs."""

    @property
    def session(self) -> Session:
        """The client's session."""

    def wait(self, *, reads_on: bool = False) -> None: ...
    def go_on(self) -> None: ...


class Wait:
    """One blocking command that waits: the client, the call, and what is to become of it."""

    __slots__ = ("block", "client", "is_muted", "is_over", "request")

    def __init__(self, client: Client, request: Request, block: Block | Await) -> None:
        self.client = client
        self.request = request
        self.block = block
        # CLIENT REPLY holds the reply back.
        self.is_muted = client.session.muted is not Muted.NONE
        self.is_over = False

    def otherwise(self) -> Reply:
        """The reply when its time is up."""
        return self.block.otherwise() if isinstance(self.block, Await) else self.block.otherwise


class Waiting:
    """The waits of all clients.

    `answer` sends a client the result of a call, or holds it back if the flag is True; `seal` lets go what was sent outside of
    the writer's ticks.
    """

    def __init__(
        self,
        state: ServerState,
        answer: Callable[[Any, Request, Result, bool], None],
        seal: Callable[[], None],
    ) -> None:
        self._state = state
        self._waiters: Waiters[Wait] = Waiters(state.databases)
        self._answer = answer
        self._seal = seal
        # By the ids of sessions.
        self._waits: dict[int, Wait] = {}
        # Those of these who wait for other nodes, in the order in which they came.
        self._for_nodes: dict[Wait, Await] = {}
        self._is_serving = False
        # The clients whose wait is over, and who have not been told to go on.
        self._ended: list[Client] = []
        self._loop = asyncio.get_running_loop()
        # The ends of waits by the event loop's clock, in seconds, with a number that tells equal ones apart.
        self._ends: list[tuple[float, int, Wait]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        # uvloop's handle of a time that is there does not tell it.
        self._timer_at_s = 0.0
        self._past = 0

    def begin(self, block: Block | Await, client: Client, request: Request, *, reads_on: bool = True) -> None:
        """Let a client wait. With `reads_on`, its end is noticed, and ends the wait."""
        session = client.session
        wait = self._waits[session.id] = Wait(client, request, block)
        session.is_blocked = True
        if isinstance(block, Await):
            self._for_nodes[wait] = block
        else:
            self._waiters.add(wait, block.kind, session.keyspace.number, block.keys)
        client.wait(reads_on=reads_on)
        if block.timeout_ms:
            ends_at = self._loop.time() + min(block.timeout_ms / 1000, LONGEST_TIMER_S)
            heapq.heappush(self._ends, (ends_at, next(self._numbers), wait))
            self._set_timer()

    def unblock(self, session: Session, error: str = "") -> None:
        """End a wait by an error or, if the text is empty, as if its time were up."""
        wait = self._waits[session.id]
        self._end(wait, CommandError(error) if error else wait.otherwise())

    @property
    def has_ended_any(self) -> bool:
        """True if there is somebody whom `release` would let go on."""
        return len(self._ended) > 0

    def release(self) -> None:
        """Let those go on whose wait is over."""
        ended, self._ended = self._ended, []
        for client in ended:
            client.go_on()

    def forget(self, session: Session) -> None:
        """Drop the wait of a session that is gone."""
        if session.is_blocked:
            self._drop(self._waits[session.id])

    def serve(self) -> None:
        """Serve those who were fed, until there is nothing more for anybody."""
        # What a script that stands aside has written is not all yet.
        if self._is_serving or self._state.scripts.busy_error:
            return
        self._is_serving = True
        # A client that tracks keys is told of what was written so far before its reply, and of what its own command does
        # behind it.
        self._state.tracking.look()
        try:
            while self._waiters.awaited.touched:
                for place in self._waiters.take_fed():
                    for kind in self._waiters.kinds_at(place):
                        self._serve_kind(place, kind)
        finally:
            self._is_serving = False

    def look_at_nodes(self) -> None:
        """Serve those who wait for other nodes, since one of these has told of itself, or an entry was acknowledged."""
        # While a script stands aside, nobody is served. The next word of a node is not long in coming.
        if not self._for_nodes or self._state.scripts.busy_error:
            return
        for wait, awaited in list(self._for_nodes.items()):
            reply = awaited.attempt()
            if reply is not None:
                self._end(wait, reply)
        if self._ended:
            self._seal()
            self.release()

    def _serve_kind(self, place: Place, kind: str) -> None:
        if not kind:
            for wait in self._waiters.all(place, kind):
                self._serve(wait, place)
            return
        while first := self._waiters.first(place, kind):
            if not self._serve(first, place):
                break

    def _serve(self, wait: Wait, place: Place) -> bool:
        """Serve one, if there is something for it. True if there was."""
        result = self._attempted(wait, place[1])
        if result is None:
            return False
        self._end(wait, result)
        return True

    def _attempted(self, wait: Wait, key: bytes) -> Result | None:
        block, notifications = wait.block, self._state.notifications
        assert isinstance(block, Block), "others wait for no keys"
        if notifications.is_on:
            notifications.begin(self._state.commands[wait.request[0].lower()], wait.request)
        result: Result | None
        try:
            result = block.attempt(key)
        except CommandError as error:
            result = error
        except Exception:
            _log.exception("a blocked %r failed: this is a defect of kvserver", wait.request[0][:64])
            result = CommandError("ERR internal error, see the log")
        if result is None or not notifications.is_on:
            return result
        return Notified(result, notifications.take())

    def _end(self, wait: Wait, result: Result) -> None:
        self._drop(wait)
        self._answer(wait.client, wait.request, result, wait.is_muted)
        self._ended.append(wait.client)

    def _drop(self, wait: Wait) -> None:
        wait.is_over = True
        session = wait.client.session
        session.is_blocked = False
        del self._waits[session.id]
        if not self._for_nodes.pop(wait, None):
            self._waiters.remove(wait)
        if wait.block.timeout_ms:
            self._past += 1
            if self._past > MOST_PAST and self._past > len(self._ends) // 2:
                self._ends = [end for end in self._ends if not end[2].is_over]
                heapq.heapify(self._ends)
                self._past = 0

    # Time

    def hasten(self, seconds: float) -> None:
        """Let all waits end sooner by so many seconds, since the clock has gone forward by them: some of them now."""
        if self._ends:
            # All move by the same time, so that it is a heap still.
            self._ends = [(ends_at_s - seconds, number, wait) for ends_at_s, number, wait in self._ends]
            if self._timer:
                self._timer.cancel()
            self._end_due()

    def _set_timer(self) -> None:
        """Have the timer be there for the first end."""
        first_at_s = self._ends[0][0]
        if self._timer:
            if self._timer_at_s <= first_at_s:
                return
            self._timer.cancel()
        self._timer_at_s = first_at_s
        self._timer = self._loop.call_at(first_at_s, self._end_due)

    def _end_due(self) -> None:
        self._timer = None
        if self._state.scripts.busy_error:
            self._timer = self._loop.call_later(LATER_S, self._end_due)
            return
        now_s = self._loop.time()
        while self._ends and (self._ends[0][2].is_over or self._ends[0][0] <= now_s):
            wait = heapq.heappop(self._ends)[2]
            if not wait.is_over:
                self._end(wait, wait.otherwise())
            self._past -= 1
        if self._ends:
            self._set_timer()
        self._seal()
        self.release()
