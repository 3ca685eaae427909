"""Core: the KVStore or Cache within an aio store. It changes the data at once; what takes longer is left to the keeper.

So an aio store has no semantics of its own: a call is the same call of the library, and what it records goes to the server's
journal. There is one thread, so that the library's lock is always free.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from kvserver.aio.keeper import Keeper
from kvserver.data.databases import Databases
from kvserver.data.shards import Shard
from kvserver.library.cache import Cache
from kvserver.library.keeping import InMemory
from kvserver.library.store import KVStore

T = TypeVar("T")


class _Data(InMemory):
    """The keeper's databases, for a store that never asks its place for anything else."""

    def __init__(self, databases: Databases, *, read_only: bool) -> None:
        super().__init__()
        self.databases = databases
        self.read_only = read_only


class CoreStore(KVStore):
    """A KVStore over the data of a keeper, which is open."""

    def __init__(self, keeper: Keeper, **options: Any) -> None:
        self._keeper = keeper
        super().__init__(_Data(keeper.databases, read_only=keeper.read_only), **options)
        # A keeper takes what a journal takes, and the store asks it for nothing else.
        recorder: Any = keeper if keeper.records else None
        self._journal = recorder

    def adoption(self) -> Iterator[None]:
        """Take notice of the data, in steps, when it was replaced."""
        # A journal that was replayed may have swapped databases.
        self._keyspace = self.databases[0]
        yield from ()

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """The keys and values of a shard after the other, each shard as it is at one instant."""
        return self._pairs()

    def __len__(self) -> int:
        # To look for what is due would take as long as there are keys in shards that have any.
        return len(self._keyspace)

    @property
    def _is_changed(self) -> bool:
        return self._keeper.is_changed

    @_is_changed.setter
    def _is_changed(self, is_changed: bool) -> None:
        self._keeper.is_changed = is_changed

    def _sweep_step(self) -> bool:
        # The keeper's upkeep removes what is due, in slices.
        return False

    def _discard(self, shards: list[Shard]) -> None:
        self._keeper.drain(shards)


class CoreCache(CoreStore, Cache[T], Generic[T]):
    """A Cache over the data of a keeper."""

    def adoption(self) -> Iterator[None]:
        yield from super().adoption()
        yield from self._adoption()

    def _adopt(self) -> None:
        # It is done in slices, by `adoption`.
        pass

    def encode(self, key: str, value: Any) -> tuple[bytes, bytes]:
        """The name and the entry of a key and its value."""
        return self._to_write(key), self._encode(key, value)

    def decode(self, key: str, value: Any) -> Any:
        """The value of what `put_new` returned, or `encode`."""
        return self._decode(key, value)
