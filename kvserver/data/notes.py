"""Notes of what happens to keys and no record tells: a key was looked for in vain, or was made where none was. Pure.

Notifications (`state.notifications`) ask for them. A keyspace takes notes only while there is somebody who wants any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvserver.data.entries import Expiring
from kvserver.data.shards import Access

# The number of a database, and a key.
Place = tuple[int, bytes]


class Notes:
    """The notes of all databases. They are taken while `is_open`.

    - `missed` has the keys that commands read and did not find, each with the position of the records then.
    - `made` has the keys that were stored where none was, or would have been, had their time not passed; True for those that
      replaced one whose time had come.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.missed: list[tuple[int, Place]] = []
        self.made: dict[Place, bool] = {}

    def open(self) -> None:
        """Take notes from now on, and forget those that were taken."""
        self.is_open = True
        self.missed.clear()
        self.made.clear()

    def close(self) -> None:
        """Take no more notes, and forget those that were taken."""
        self.open()
        self.is_open = False

    def miss(self, position: int, place: Place) -> None:
        """Note that a key was looked for in vain, when there were so many records."""
        if self.is_open:
            self.missed.append((position, place))

    def wrap(self, plain: Access, here_and_now: Callable[[], tuple[int, int]]) -> Access:
        """The access that notes what is made, to a database whose present number, and Unix time in ms, the function gives."""
        store, delete, peek = plain.set, plain.delete, plain.peek

        def set_(key: bytes, entry: Any) -> None:
            if self.is_open:
                present, (number, now_ms) = peek(key), here_and_now()
                if present is None:
                    self.made.setdefault((number, key), False)
                elif type(present) is Expiring and present.is_due(now_ms):
                    self.made[number, key] = True
            store(key, entry)

        def delete_(key: bytes) -> bool:
            was_there = delete(key)
            # A key is removed that is not there where its time has passed before it was stored (`Recording.remove`).
            if self.is_open and not was_there:
                self.made.setdefault((here_and_now()[0], key), False)
            return was_there

        return plain._replace(set=set_, delete=delete_)
