"""Things by their names, each of which is forked when it is first changed, not when all of them are. Pure.

Consumer groups are such things, and their consumers: there may be a hundred thousand of them, and a fork must not copy each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, Generic, Protocol, Self, TypeVar

from kvserver.containers.table import Table

# The estimate of the memory looks at so many things.
_SEEN: Final = 8


class Thing(Protocol):
    """A thing that has a name. `owner` is a token of the one that may change it, or None: only a fork of it may be changed."""

    owner: object

    def fork(self) -> Self:
        """An equal thing, independent of this one."""

    def size_bytes(self) -> int:
        """The memory that the thing takes: an estimate in constant time."""


T = TypeVar("T", bound=Thing)


class Named(Generic[T]):
    """Things by name, each name once. They are changed by whoever got them from `own`, and by nobody else."""

    __slots__ = ("_table", "_token")

    def __init__(self) -> None:
        # Nothing, until there is a thing: most streams have no groups.
        self._table: Table | None = None
        self._token = object()

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)

    def __iter__(self) -> Iterator[bytes]:
        """The names, in no order."""
        return iter(()) if self._table is None else iter(self._table)

    def get(self, name: bytes) -> T | None:
        """The thing of this name, to be read, or None."""
        thing: T | None = None if self._table is None else self._table.get(name)
        return thing

    def own(self, name: bytes) -> T | None:
        """The thing of this name, to be changed, or None."""
        # Measured: `get` spelled out here.
        thing: T | None = None if self._table is None else self._table.get(name)
        if thing is not None and thing.owner is not self._token:
            thing = self.add(name, thing.fork())
        return thing

    def add(self, name: bytes, thing: T) -> T:
        """Put a thing that nobody else has under a name, and return it."""
        if self._table is None:
            self._table = Table()
        thing.owner = self._token
        self._table.set(name, thing)
        return thing

    def discard(self, name: bytes) -> bool:
        """Remove the thing of this name. Return True if there was one."""
        return self._table is not None and self._table.delete(name)

    def in_order(self) -> list[tuple[bytes, T]]:
        """The names and the things, to be read, in the order of the names' bytes, as Redis has them."""
        return [] if self._table is None else sorted(self._table.items(), key=_name_of)

    def chunks(self) -> Iterator[Iterable[bytes]]:
        """The names, some hundred at a time."""
        return iter(()) if self._table is None else self._table.chunks()

    def fork(self) -> Self:
        """Equal things, independent of these."""
        other = type(self).__new__(type(self))
        other._table, other._token, self._token = None if self._table is None else self._table.fork(), object(), object()
        return other

    def size_bytes(self) -> int:
        """The memory that the things take, with their names: an estimate in constant time."""
        if self._table is None:
            return 0
        sizes = [thing.size_bytes() for _, thing in islice(self._table.items(), _SEEN)]
        return self._table.size_bytes() + (sum(sizes) * len(self) // len(sizes) if sizes else 0)


def _name_of(item: tuple[bytes, object]) -> bytes:
    return item[0]
