"""Replies and messages that may leave only when every write that they could have seen is as safe as the journal makes it.

Owns one queue for all clients, in the order of the ticks: the end of a connection goes through it, too. It never looks at
what a reply says, and never waits: the journal has `release` called when more is safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, Final, Protocol

from kvserver.persistence.recorder import Recording

# While more is held than this, a client whose reply is held runs nothing more until that has left.
HELD_BYTES: Final = 1 << 24


class Receiver(Protocol):
    """The part of a client (`client.Client`) that an outbox needs."""

    is_waiting: bool

    def write(self, data: bytes) -> None: ...
    def wait(self) -> None: ...
    def go_on(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


# The receiver, and the bytes for it or the function that is to be called with it; or some receivers, and the bytes for each.
Step = tuple[Any, bytes | list[bytes] | Callable[[Any], None]]
_FINISH, _CLOSE, _GO_ON = methodcaller("finish"), methodcaller("close"), methodcaller("go_on")


class Outbox:
    """Holds back what is sent until the records that `recording` has by then are safe."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        # The steps of the present tick.
        self._unsealed: list[Step] = []
        # The steps of each earlier tick, and the number of the record that must be safe before.
        self._held: deque[tuple[int, list[Step]]] = deque()
        self._held_bytes = 0
        # Where steps leave to: to their receivers, unless somebody has put something in between.
        self.let_go: Callable[[list[Step]], None] = self.send

    @property
    def is_empty(self) -> bool:
        """True if nothing is held back."""
        return not (self._held or self._unsealed)

    def write(self, client: Receiver, data: bytes) -> None:
        """Send bytes to a client later. While too much is held, the client runs nothing until they have left."""
        self._unsealed.append((client, data))
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES and not client.is_waiting:
            client.wait()
            self._unsealed.append((client, _GO_ON))

    def write_all(self, clients: Sequence[Receiver], replies: list[bytes]) -> None:
        """Send each of these clients its reply later, as `write` does."""
        self._held_bytes += sum(map(len, replies))
        self._unsealed.append((clients, replies))
        if self._held_bytes > HELD_BYTES:
            for client in clients:
                if not client.is_waiting:
                    client.wait()
                    self._unsealed.append((client, _GO_ON))

    def finish(self, client: Receiver) -> None:
        """Finish a client behind what is held for it."""
        self._unsealed.append((client, _FINISH))

    def close(self, client: Receiver) -> None:
        """Close a client behind what is held for it."""
        self._unsealed.append((client, _CLOSE))

    def seal(self) -> None:
        """Let what was given since the last call leave when all that is recorded by now is safe. The writer ends a tick so."""
        if self._unsealed:
            steps, self._unsealed = self._unsealed, []
            sequence = self._recording.cover()
            if self._held or sequence > self._recording.safe:
                self._held.append((sequence, steps))
                self.release()
            else:
                self.let_go(steps)

    def release(self) -> None:
        """Let all leave whose records are safe."""
        held, safe = self._held, self._recording.safe
        while held and held[0][0] <= safe:
            self.let_go(held.popleft()[1])

    def send(self, steps: list[Step]) -> None:
        """Take steps to their receivers."""
        for client, what in steps:
            if isinstance(what, bytes):
                self._held_bytes -= len(what)
                client.write(what)
            elif isinstance(what, list):
                self._held_bytes -= sum(map(len, what))
                for one, data in zip(client, what, strict=True):
                    one.write(data)
            else:
                what(client)

    def abort(self) -> None:
        """Close the connections of all clients whose replies are held: nobody knows what became of their writes.

        Clients of the present tick are among them, since one of its writes may be what failed.
        """
        steps = [step for _, steps in self._held for step in steps] + self._unsealed
        self._held.clear()
        self._unsealed = []
        for client, what in steps:
            if isinstance(what, list):
                self._held_bytes -= sum(map(len, what))
                for one in client:
                    one.abort()
                continue
            if isinstance(what, bytes):
                self._held_bytes -= len(what)
            client.abort()
