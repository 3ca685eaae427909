"""Which keys clients watch (WATCH), and whether one of them was written since. Pure.

A write pays nothing for this: what the keyspace has recorded is looked through at the end of a tick, and before a
transaction runs, and only while somebody watches. Never changes a key.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvserver.data.keyspace import Keyspace
from kvserver.state.description import Description


class Watch:
    """What one client watches."""

    __slots__ = ("expires_at_ms", "is_touched", "keys")

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.is_touched = False
        self.expires_at_ms: int | None = None  # when the first of the keys will be gone, unless it is written before


class Watches:
    """All watches of a server. `commands`, by lower-case name, tell where in a write its keys are."""

    def __init__(self, keyspace: Keyspace, commands: Mapping[bytes, Description]) -> None:
        self._keyspace = keyspace
        self._commands = {spelled: command for name, command in commands.items() for spelled in (name, name.upper())}
        self._watchers: dict[bytes, dict[Watch, None]] = {}
        self._looked = 0  # how many of the keyspace's changes were looked through

    def add(self, watch: Watch, key: bytes) -> None:
        """Watch a key from now on. Of a watch that was touched nothing more can be learnt."""
        # An expired key that is looked at goes, which must not count as a write to it.
        self._keyspace.live(key)
        self.look()
        if watch.is_touched or key in watch.keys:
            return
        watch.keys.add(key)
        expires_at_ms = self._keyspace.expires_at_ms(key)
        if expires_at_ms is not None:
            watch.expires_at_ms = min(expires_at_ms, watch.expires_at_ms or expires_at_ms)
        if not self._watchers:
            self._keyspace.observer = self
            self._looked = self._keyspace.changes
        self._watchers.setdefault(key, {})[watch] = None

    def remove(self, watch: Watch) -> None:
        """Stop looking out for it."""
        for key in watch.keys:
            watchers = self._watchers.get(key)
            if watchers and watch in watchers:
                del watchers[watch]
                if not watchers:
                    del self._watchers[key]
        if not self._watchers:
            self._keyspace.observer = None

    def is_touched(self, watch: Watch) -> bool:
        """Whether a key was written since the watch began."""
        self.look()
        return watch.is_touched

    def is_broken(self, watch: Watch) -> bool:
        """Whether a key was written since the watch began, or has expired."""
        if self.is_touched(watch):
            return True
        return watch.expires_at_ms is not None and watch.expires_at_ms <= self._keyspace.now_ms()

    def look(self) -> None:
        """Touch the watches of what was written since the last look."""
        if not self._watchers:
            return
        for args in self._keyspace.written_since(self._looked):
            command = self._commands.get(args[0]) or self._commands.get(args[0].lower())
            for key in command.written_keys(args) if command else ():
                self._touch(key)
        self._looked = self._keyspace.changes

    # What the keyspace calls while somebody watches

    def before_taking(self) -> None:
        """What was written is about to be handed out."""
        self.look()

    def before_replacing(self) -> None:
        """All data is about to be replaced by other: all keys that are there are as good as written."""
        self.look()
        self._touch_those_there()

    def after_replacing(self) -> None:
        self._touch_those_there()

    def _touch_those_there(self) -> None:
        for key in [key for key in self._watchers if self._keyspace.get(key) is not None]:
            self._touch(key)

    def _touch(self, key: bytes) -> None:
        for watch in list(self._watchers.get(key, ())):
            watch.is_touched = True
            self.remove(watch)
