"""The keys that clients watch (WATCH), and those of them that were written since. Pure.

A write pays nothing for this: the commands that the keyspace has recorded are looked through at the end of a tick, and
before a transaction runs, and only while somebody watches. Nothing here changes a value; a key that has expired may go.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvserver.data.keyspace import Keyspace
from kvserver.data.recording import EXPIRED
from kvserver.state.description import Description


class Watch:
    """The keys that one client watches.

    `is_touched`: one of the keys was written. `expires_at_ms`: the time (Unix milliseconds) when the first of the keys will
    be gone, unless it is written before; None if none has an expiry.
    """

    __slots__ = ("expires_at_ms", "is_touched", "keys")

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.is_touched = False
        self.expires_at_ms: int | None = None


class Watches:
    """All watches of a server. `commands`, by lower-case name, tell which keys a recorded command writes."""

    def __init__(self, keyspace: Keyspace, commands: Mapping[bytes, Description]) -> None:
        self._keyspace = keyspace
        self._commands = {spelled: command for name, command in commands.items() for spelled in (name, name.upper())}
        self._watchers: dict[bytes, dict[Watch, None]] = {}
        # The keyspace's position up to which was looked through.
        self._looked = 0

    def add(self, watch: Watch, key: bytes) -> None:
        """Watch a key from now on. A watch that was touched stays as it is: its transaction fails anyway."""
        is_there = self._keyspace.live(key) is not None
        self.look()
        if watch.is_touched or key in watch.keys:
            return
        watch.keys.add(key)
        # A key whose time had come before counts as missing, though it may still be in the way.
        expires_at_ms = self._keyspace.expires_at_ms(key) if is_there else None
        if expires_at_ms is not None:
            watch.expires_at_ms = min(expires_at_ms, watch.expires_at_ms or expires_at_ms)
        if not self._watchers:
            self._keyspace.observer = self
            self._looked = self._keyspace.position
        self._watchers.setdefault(key, {})[watch] = None

    def remove(self, watch: Watch) -> None:
        """Drop a watch."""
        for key in watch.keys:
            watchers = self._watchers.get(key)
            if watchers and watch in watchers:
                del watchers[watch]
                if not watchers:
                    del self._watchers[key]
        if not self._watchers:
            self._keyspace.observer = None

    def is_touched(self, watch: Watch) -> bool:
        """True if a key was written since the watch began."""
        self.look()
        return watch.is_touched

    def is_broken(self, watch: Watch) -> bool:
        """True if a key was written since the watch began, or has expired."""
        if self.is_touched(watch):
            return True
        return watch.expires_at_ms is not None and watch.expires_at_ms <= self._keyspace.now_ms()

    def look(self) -> None:
        """Touch the watches of the keys that were written since the last look. `is_broken` sees those that have expired."""
        if not self._watchers:
            return
        for request in self._keyspace.written_since(self._looked):
            if request[0] == EXPIRED:
                continue
            command = self._commands.get(request[0]) or self._commands.get(request[0].lower())
            for key in command.written_keys(request) if command else ():
                self._touch(key)
        self._looked = self._keyspace.position

    # The keyspace calls these while somebody watches (`data.recording.Observer`)

    def before_taking(self) -> None:
        """Look at what was written, since it is about to be handed out."""
        self.look()

    def before_replacing(self) -> None:
        """Touch the watches of all keys that are there, since all data is about to be replaced."""
        self.look()
        self._touch_those_there()

    def after_replacing(self) -> None:
        """Touch the watches of all keys that are there now that all data was replaced."""
        self._touch_those_there()

    def _touch_those_there(self) -> None:
        for key in [key for key in self._watchers if self._keyspace.get(key) is not None]:
            self._touch(key)

    def _touch(self, key: bytes) -> None:
        for watch in list(self._watchers.get(key, ())):
            watch.is_touched = True
            self.remove(watch)
