"""Replies and messages that may leave only when every write that they could have seen is synced (appendfsync always).

One queue for all clients, in the order of the ticks: what ends a connection goes through it, too. Never looks at what a
reply says, and never waits: who knows what is synced calls `release`.
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
    """What is needed of the journal: numbers that grow, of what was recorded last and of what is synced."""

    sequence: int
    synced: int


_Step = tuple[Any, bytes | Callable[[Any], None]]  # the receiver, and what it is to be given or what is to be done to it
_FINISH, _CLOSE, _GO_ON = methodcaller("finish"), methodcaller("close"), methodcaller("go_on")


class Outbox:
    """What is held back until `recording` has synced it."""

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
        """What was given since the last call may leave when all that is recorded by now is synced."""
        if self._unsealed:
            self._held.append((self._recording.sequence, self._unsealed))
            self._unsealed = []
            self.release()

    def release(self) -> None:
        """Let go of what is synced."""
        held, synced = self._held, self._recording.synced
        while held and held[0][0] <= synced:
            for client, what in held.popleft()[1]:
                if isinstance(what, bytes):
                    self._held_bytes -= len(what)
                    client.write(what)
                else:
                    what(client)

    def abort(self) -> None:
        """Close the connections of all whose replies are held: what became of their writes is not known."""
        held, self._held = self._held, deque()
        for _, steps in held:
            for client, what in steps:
                if isinstance(what, bytes):
                    self._held_bytes -= len(what)
                client.abort()
