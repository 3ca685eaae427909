"""The clients whose blocking commands wait for keys: who waits for which key, in the order in which they came. Pure.

Nothing here runs a command: what serves a waiter is in the effect (`dispatch.effect.Block`) that the engine keeps with it. A
key that somebody waits for is noted when it is stored or removed (`data.awaited`), so that waiters cost nothing meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from kvserver.data.databases import Databases
from kvserver.data.notes import Place

W = TypeVar("W", bound=Hashable)


class Waiters(Generic[W]):
    """The waiters of a server, each with its keys, and with the kind of what it waits for (`Block.kind`), which may be "".

    Whoever runs commands serves waiters while `awaited.touched` has keys.
    """

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self.awaited = databases.awaited
        # By key and by kind; the waiters are in the order in which they came. Measured: to look for the first key of a dict
        # takes the longer, the more were removed in front of it.
        self._at: dict[Place, dict[str, OrderedDict[W, None]]] = {}
        self._places: dict[W, tuple[str, list[Place]]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, waiter: W) -> bool:
        return waiter in self._places

    def add(self, waiter: W, kind: str, number: int, keys: list[bytes]) -> None:
        """Let one wait for keys of a database."""
        self._databases.await_keys()
        places = [(number, key) for key in dict.fromkeys(keys)]
        self._places[waiter] = (kind, places)
        for place in places:
            self.awaited.add(place[1])
            self._at.setdefault(place, {}).setdefault(kind, OrderedDict())[waiter] = None

    def remove(self, waiter: W) -> None:
        """Let one wait no more, if it waits."""
        kind, places = self._places.pop(waiter, ("", []))
        for place in places:
            self.awaited.remove(place[1])
            kinds = self._at[place]
            del kinds[kind][waiter]
            if not kinds[kind]:
                del kinds[kind]
                if not kinds:
                    del self._at[place]

    def take_fed(self) -> list[Place]:
        """The keys that were stored or removed since the last call, each with its database, in order."""
        return [place for place in self.awaited.take() if place in self._at]

    def kinds_at(self, place: Place) -> list[str]:
        """The kinds of what a key is waited for."""
        return list(self._at.get(place, ()))

    def first(self, place: Place, kind: str) -> W | None:
        """The one who has waited longest for a key by a kind, or None."""
        return next(iter(self._at.get(place, {}).get(kind, ())), None)

    def all(self, place: Place, kind: str) -> list[W]:
        """All who wait for a key by a kind, in the order in which they came."""
        return list(self._at.get(place, {}).get(kind, ()))
