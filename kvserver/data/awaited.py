"""The keys that somebody waits for, and those of them that were stored or removed since: what feeds blocking commands. Pure.

Notes of this are taken at the lowest place, where a value is stored under a key, so that no command can forget to tell. A
keyspace takes them from the first time on that somebody waits in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvserver.data.notes import Place
from kvserver.data.shards import Access


class Awaited:
    """The awaited keys of all databases.

    - `keys` counts for each key how many wait for it, in whatever database.
    - `touched` has the keys that were stored or removed meanwhile, in the order of the first time, each with its database.
    """

    def __init__(self) -> None:
        self.keys: dict[bytes, int] = {}
        self.touched: dict[Place, None] = {}

    def add(self, key: bytes) -> None:
        """Let one more wait for a key."""
        self.keys[key] = self.keys.get(key, 0) + 1

    def remove(self, key: bytes) -> None:
        """Let one less wait for a key."""
        left = self.keys[key] - 1
        if left:
            self.keys[key] = left
        else:
            del self.keys[key]

    def take(self) -> list[Place]:
        """The keys that were touched since the last call."""
        touched = list(self.touched)
        self.touched.clear()
        return touched

    def touch_all(self, number: int) -> None:
        """Note all awaited keys, since all data of a database was replaced."""
        self.touched.update(((number, key), None) for key in self.keys)

    def wrap(self, plain: Access, number: Callable[[], int]) -> Access:
        """The access that notes what is stored and removed, in the database whose present number the function gives."""
        keys, touched, store, delete = self.keys, self.touched, plain.set, plain.delete

        def set_(key: bytes, entry: Any) -> None:
            store(key, entry)
            if key in keys:
                touched[number(), key] = None

        def delete_(key: bytes) -> bool:
            if key in keys:
                touched[number(), key] = None
            return delete(key)

        return plain._replace(set=set_, delete=delete_)
