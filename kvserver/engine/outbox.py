"""Replies and messages that may leave only when every write that they could have seen is as safe as the journal makes it.

One queue for all clients, in the order of the ticks: what ends a connection goes through it, too. Never looks at what a
reply says, and never waits: who knows what is safe calls `release`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from operator import methodcaller
from typing import Any, Final, Protocol

HELD_BYTES: Final = 1 << 24  # beyond which a client whose reply is held runs nothing more until that has left


class Receiver(Protocol):
    """What is needed of a client. The writer's Client is one."""

    is_waiting: bool

    def write(self, data: bytes) -> None: ...
    def wait(self) -> None: ...
    def go_on(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Recording(Protocol):
    """What is needed of the journal: numbers that grow, of what was recorded last and of what is safe."""

    sequence: int

    @property
    def safe(self) -> int: ...


_Step = tuple[Any, bytes | Callable[[Any], None]]  # the receiver, and what it is to be given or what is to be done to it
_FINISH, _CLOSE, _GO_ON = methodcaller("finish"), methodcaller("close"), methodcaller("go_on")


class Outbox:
    """What is held back until what `recording` has of it is safe."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._unsealed: list[_Step] = []  # of the present tick
        self._held: deque[tuple[int, list[_Step]]] = deque()
        self._held_bytes = 0

    @property
    def is_empty(self) -> bool:
        return not (self._held or self._unsealed)

    def write(self, client: Receiver, data: bytes) -> None:
        self._unsealed.append((client, data))
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES and not client.is_waiting:
            client.wait()
            self._unsealed.append((client, _GO_ON))

    def finish(self, client: Receiver) -> None:
        self._unsealed.append((client, _FINISH))

    def close(self, client: Receiver) -> None:
        self._unsealed.append((client, _CLOSE))

    def seal(self) -> None:
        """What was given since the last call may leave when all that is recorded by now is safe."""
        if self._unsealed:
            steps, self._unsealed = self._unsealed, []
            sequence = self._recording.sequence
            if self._held or sequence > self._recording.safe:
                self._held.append((sequence, steps))
                self.release()
            else:
                self._let_go(steps)

    def release(self) -> None:
        """Let go of what is safe."""
        held, safe = self._held, self._recording.safe
        while held and held[0][0] <= safe:
            self._let_go(held.popleft()[1])

    def _let_go(self, steps: list[_Step]) -> None:
        for client, what in steps:
            if isinstance(what, bytes):
                self._held_bytes -= len(what)
                client.write(what)
            else:
                what(client)

    def abort(self) -> None:
        """Close the connections of all whose replies are here: what became of their writes is not known.

        Also of the present tick's: a write of it may be what failed.
        """
        steps = [step for _, steps in self._held for step in steps] + self._unsealed
        self._held.clear()
        self._unsealed = []
        for client, what in steps:
            if isinstance(what, bytes):
                self._held_bytes -= len(what)
            client.abort()
