"""The keys of a database that are written while somebody works on something that takes long. Pure.

As with watches, a write pays nothing for this: the commands that were recorded are looked through at the end of a tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvserver.data.databases import Databases
from kvserver.data.recording import EMPTIED, EXPIRED
from kvserver.patterns import Matcher
from kvserver.state.description import Description

# No more keys are gathered, also for one who never asks for them.
MOST_KEYS: Final = 100_000


class Written:
    """The keys of the database of a number that match, and that are written from now on until `end`.

    A key that has expired was not written. `commands`, by lower-case name, tell which keys a recorded command writes.
    `has_too_many`: there are more than MOST_KEYS, which are not known then.
    """

    def __init__(self, databases: Databases, number: int, matches: Matcher, commands: Mapping[bytes, Description]) -> None:
        self._number = number
        self._matches = matches
        self._commands = commands
        self._records = databases.records
        self._keys: set[bytes] = set()
        self.has_too_many = False
        # All data of the database was replaced.
        self._is_lost = False
        # The position of the records up to which was looked through.
        self._looked = self._records.position
        self._records.attend(self)

    def end(self) -> set[bytes] | None:
        """Gather no more. Return the keys, or None if they are not known: also where the database has other data now."""
        if self in self._records.observers:
            self.before_taking()
            self._records.leave(self)
        return None if self._is_lost or self.has_too_many else self._keys

    # The records and the keyspaces call these (`data.records.Observer`)

    def before_taking(self) -> None:
        """Look at what was written, since it is about to be handed out."""
        for number, request in self._records.since(self._looked):
            if number == self._number and request[0] not in (EXPIRED, EMPTIED):
                command = self._commands.get(request[0]) or self._commands.get(request[0].lower())
                for key in command.written_keys(request) if command else ():
                    self._add(key)
        self._looked = self._records.position

    def before_replacing(self, number: int) -> None:
        """Take notice that all data of a database is about to be replaced."""
        if number == self._number:
            self._is_lost = True
            self._give_up()

    def after_replacing(self, number: int) -> None:
        """Do nothing more."""

    def wrote_beside(self, number: int, key: bytes) -> None:
        """Take a key that was written by a command of another database."""
        if number == self._number:
            self._add(key)

    def _add(self, key: bytes) -> None:
        if self._matches(key):
            self._keys.add(key)
            if len(self._keys) > MOST_KEYS:
                self.has_too_many = True
                self._give_up()

    def _give_up(self) -> None:
        self._keys.clear()
        self._records.leave(self)
