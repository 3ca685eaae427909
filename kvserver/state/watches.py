"""The keys that clients watch (WATCH), and those of them that were written since. Pure.

A write pays nothing for this: the commands that were recorded are looked through at the end of a tick, and before a
transaction runs, and only while somebody watches. Nothing here changes a value; a key that has expired may go.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvserver.data.databases import Databases
from kvserver.data.keyspace import Keyspace
from kvserver.data.recording import EMPTIED, EXPIRED
from kvserver.state.description import Description

# A key, with the number of its database.
Place = tuple[int, bytes]


class Watch:
    """The keys that one client watches.

    `is_touched`: one of the keys was written. `expires_at_ms`: the time (Unix milliseconds) when the first of the keys will
    be gone, unless it is written before; None if none has an expiry.
    """

    __slots__ = ("expires_at_ms", "is_touched", "keys")

    def __init__(self) -> None:
        self.keys: set[Place] = set()
        self.is_touched = False
        self.expires_at_ms: int | None = None


class Watches:
    """All watches of a server. `commands`, by lower-case name, tell which keys a recorded command writes."""

    def __init__(self, databases: Databases, commands: Mapping[bytes, Description]) -> None:
        self._databases = databases
        self._records = databases.records
        self._commands = commands
        self._watchers: dict[Place, dict[Watch, None]] = {}
        # The position of the records up to which was looked through.
        self._looked = 0

    def add(self, watch: Watch, keyspace: Keyspace, key: bytes) -> None:
        """Watch a key of a keyspace from now on. A watch that was touched stays as it is: its transaction fails anyway."""
        place, is_there = (keyspace.number, key), keyspace.live(key) is not None
        self.look()
        if watch.is_touched or place in watch.keys:
            return
        watch.keys.add(place)
        # A key whose time had come before counts as missing, though it may still be in the way.
        expires_at_ms = keyspace.expires_at_ms(key) if is_there else None
        if expires_at_ms is not None:
            watch.expires_at_ms = min(expires_at_ms, watch.expires_at_ms or expires_at_ms)
        if not self._watchers:
            self._records.attend(self)
            self._looked = self._records.position
        self._watchers.setdefault(place, {})[watch] = None

    def remove(self, watch: Watch) -> None:
        """Drop a watch."""
        for place in watch.keys:
            watchers = self._watchers.get(place)
            if watchers and watch in watchers:
                del watchers[watch]
                if not watchers:
                    del self._watchers[place]
        if not self._watchers:
            self._records.leave(self)

    def is_touched(self, watch: Watch) -> bool:
        """True if a key was written since the watch began."""
        self.look()
        return watch.is_touched

    def is_broken(self, watch: Watch) -> bool:
        """True if a key was written since the watch began, or has expired."""
        if self.is_touched(watch):
            return True
        return watch.expires_at_ms is not None and watch.expires_at_ms <= self._databases[0].now_ms()

    def look(self) -> None:
        """Touch the watches of the keys that were written since the last look. `is_broken` sees those that have expired."""
        if not self._watchers:
            return
        for number, request in self._records.since(self._looked):
            if request[0] in (EXPIRED, EMPTIED):
                continue
            command = self._commands.get(request[0]) or self._commands.get(request[0].lower())
            for key in command.watched_keys(request) if command else ():
                self._touch((number, key))
        self._looked = self._records.position

    # The records and the keyspaces call these while somebody watches (`data.records.Observer`)

    def before_taking(self) -> None:
        """Look at what was written, since it is about to be handed out."""
        self.look()

    def before_replacing(self, number: int) -> None:
        """Touch the watches of all keys that are there, since all data of a database is about to be replaced."""
        self.look()
        self._touch_those_there(number)

    def after_replacing(self, number: int) -> None:
        """Touch the watches of all keys that are there now that all data of a database was replaced."""
        self._touch_those_there(number)

    def wrote_beside(self, number: int, key: bytes) -> None:
        """Touch the watches of a key that was written by a command of another database."""
        self._touch((number, key))

    def _touch_those_there(self, number: int) -> None:
        keyspace = self._databases[number]
        for place in [place for place in self._watchers if place[0] == number and keyspace.peek(place[1]) is not None]:
            self._touch(place)

    def _touch(self, place: Place) -> None:
        for watch in list(self._watchers.get(place, ())):
            watch.is_touched = True
            self.remove(watch)
