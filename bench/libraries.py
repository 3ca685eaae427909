"""The libraries that are compared with kvserver's, each a row: how its store is opened, and how its calls are spelled.

Owns these rows. Each is used as its own documentation does it, with its default settings but for those that its name tells.
Must never measure, nor make a call cheaper than a user gets it.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

# sqlitedict without autocommit: a commit each so many writes.
COMMIT_EACH = 1000
FILL_BATCH = 1000


class Store(Protocol):
    """The calls of a library that are measured. Keys are str."""

    def fill(self, pairs: Iterator[tuple[str, Any]]) -> None: ...
    def get(self, key: str) -> Any: ...
    def set(self, key: str, value: Any) -> None: ...
    def incr(self, key: str) -> Any: ...
    def memoized(self, function: Callable[[int], Any]) -> Callable[[int], Any]: ...
    def __iter__(self) -> Iterator[str]: ...
    def close(self) -> None: ...


class _KVServer:
    def __init__(self, folder: str | None, **options: Any) -> None:
        import kvserver

        # The limit is so high that nothing is evicted: what is measured is the same data in all stores.
        self._cache = kvserver.Cache(folder, size_limit=1 << 33, **options)
        self.get, self.set, self.incr = self._cache.get, self._cache.set, self._cache.incr
        self.close = self._cache.close

    def fill(self, pairs: Iterator[tuple[str, Any]]) -> None:
        # Each batch is one record of the journal.
        for batch in iter(lambda: list(itertools.islice(pairs, FILL_BATCH)), []):
            self._cache.update(batch)

    def memoized(self, function: Callable[[int], Any]) -> Callable[[int], Any]:
        found: Callable[[int], Any] = self._cache.memoize()(function)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._cache)


class _DiskCache:
    def __init__(self, folder: str, **settings: Any) -> None:
        import diskcache

        self._cache = diskcache.Cache(folder, size_limit=1 << 33, **settings)
        self.get, self.set, self.incr = self._cache.get, self._cache.set, self._cache.incr
        self.close = self._cache.close

    def fill(self, pairs: Iterator[tuple[str, Any]]) -> None:
        with self._cache.transact():
            for key, value in pairs:
                self._cache.set(key, value)

    def memoized(self, function: Callable[[int], Any]) -> Callable[[int], Any]:
        found: Callable[[int], Any] = self._cache.memoize()(function)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._cache)


class _SqliteDict:
    def __init__(self, folder: str, *, autocommit: bool) -> None:
        import sqlitedict

        self._dict = sqlitedict.SqliteDict(f"{folder}/store.sqlite", autocommit=autocommit)
        self.get, self.close = self._dict.get, self._dict.close
        self._commits = not autocommit
        self._writes = 0

    def fill(self, pairs: Iterator[tuple[str, Any]]) -> None:
        self._dict.update(pairs)
        self._dict.commit()

    def set(self, key: str, value: Any) -> None:
        self._dict[key] = value
        if self._commits:
            self._writes += 1
            if not self._writes % COMMIT_EACH:
                self._dict.commit()

    def incr(self, key: str) -> Any:
        self.set(key, self._dict.get(key, 0) + 1)

    def memoized(self, function: Callable[[int], Any]) -> Callable[[int], Any]:
        raise NotImplementedError("sqlitedict has no memoize")

    def __iter__(self) -> Iterator[str]:
        return iter(self._dict)


@dataclass(frozen=True)
class Library:
    """A row: `what` it is, and how its store is opened in a folder. `module` is what has to be installed."""

    name: str
    what: str
    module: str
    open: Callable[[str], Store]
    memoizes: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None


IN_MEMORY = Library("kvserver, in memory", "nothing outlives the process", "kvserver", lambda folder: _KVServer(None))
EVERYSEC = Library(
    "kvserver",
    "a write outlives the process, and power loss after a second",
    "kvserver",
    lambda folder: _KVServer(folder, journal=True),
)
ALWAYS = Library(
    "kvserver, always",
    "a write outlives power loss",
    "kvserver",
    lambda folder: _KVServer(folder, journal=True, fsync="always"),
)
DISKCACHE = Library(
    "diskcache", "a write outlives the process, power loss in time", "diskcache", lambda folder: _DiskCache(folder)
)
DISKCACHE_FULL = Library(
    "diskcache, synchronous 2",
    "a write outlives power loss",
    "diskcache",
    lambda folder: _DiskCache(folder, sqlite_synchronous=2),
)
SQLITEDICT = Library(
    "sqlitedict",
    f"a commit each {COMMIT_EACH} writes, which outlive the process then",
    "sqlitedict",
    lambda folder: _SqliteDict(folder, autocommit=False),
    memoizes=False,
)
SQLITEDICT_AUTOCOMMIT = Library(
    "sqlitedict, autocommit",
    "a write outlives the process soon after the call",
    "sqlitedict",
    lambda folder: _SqliteDict(folder, autocommit=True),
    memoizes=False,
)

LIBRARIES = (IN_MEMORY, EVERYSEC, ALWAYS, DISKCACHE, DISKCACHE_FULL, SQLITEDICT, SQLITEDICT_AUTOCOMMIT)
