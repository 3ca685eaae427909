"""The server that this one follows: who it is, how the link to it does, and how far the stream of its commands has come.

`following` keeps this up to date; INFO, ROLE and the gate read it. Pure: the time comes from a clock that callers pass.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class LinkState(Enum):
    """The states of a link, as ROLE tells them: to be made, being made, greeting, taking all data, following."""

    CONNECT = "connect"
    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    SYNC = "sync"
    CONNECTED = "connected"


class SourceFacts:
    """The figures of a source and the link to it. `clock` gives seconds that only go on.

    - `run` is the source's name for the history of its data (40 hex digits), and `offset` the place in it (bytes) up to which
      its commands have run here; `read_offset` that up to which they have come. An empty `run`: the data is of no history.
    - `error` says why the link was lost, or could not be made, if it has not been made since; else it is empty.
      `has_given_up`: nobody tries again.
    - `heard_at_s` is the time at which anything last came, and `down_since_s` that at which a link was lost; None: there was
      none yet, or there is one.
    - `sync_bytes` are those of all data, so far as the source has told (else 0); of them, `synced_bytes` have come.
    """

    def __init__(self, host: str, port: int, clock: Callable[[], float]) -> None:
        self.host = host
        self.port = port
        self.state = LinkState.CONNECT
        self.run = ""
        self.offset = 0
        self.read_offset = 0
        self.error = ""
        self.has_given_up = False
        self.heard_at_s = clock()
        self.down_since_s: float | None = None
        self.sync_bytes = 0
        self.synced_bytes = 0
        self._clock = clock

    def heard(self) -> None:
        """Note that something has come."""
        self.heard_at_s = self._clock()

    @property
    def silence_s(self) -> float:
        """The seconds since anything last came."""
        return self._clock() - self.heard_at_s

    @property
    def down_s(self) -> float | None:
        """The seconds since a link was lost, or None."""
        return None if self.down_since_s is None else self._clock() - self.down_since_s

    def connected(self) -> None:
        """Note that the stream of commands is followed."""
        self.state = LinkState.CONNECTED
        self.error = ""
        self.down_since_s = None

    def lost(self, error: str) -> None:
        """Note that there is no link any more, and why."""
        if self.state is LinkState.CONNECTED:
            self.down_since_s = self._clock()
        self.state = LinkState.CONNECT
        self.error = error
        self.sync_bytes = self.synced_bytes = 0

    def forget_history(self) -> None:
        """Have the next link bring all data anew."""
        self.run = ""
        self.offset = self.read_offset = 0
