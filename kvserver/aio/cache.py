"""aio.Cache: the Cache of an asyncio program, and memoize for coroutine functions."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast, overload

from kvserver.aio.core import CoreCache, CoreStore
from kvserver.aio.keeper import Keeper
from kvserver.aio.memoized import Memoized, memoizing
from kvserver.aio.store import KVStore
from kvserver.library.cache import Cache as LibraryCache
from kvserver.library.cache import Stats
from kvserver.library.codec import Codec
from kvserver.library.journal import Fsync
from kvserver.library.limited import limits
from kvserver.library.own_cache import own_cache

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Cache(KVStore, Generic[T]):
    """A KVStore of aio that takes no more than `size_limit` bytes. Its options are those of `kvserver.Cache`.

    >>> import asyncio
    >>> from kvserver import aio
    >>> async def main():
    ...     async with aio.Cache(size_limit=1 << 20) as cache:
    ...         @cache.memoize(ttl=60)
    ...         async def square(number):
    ...             print("computed")
    ...             return number * number
    ...         print(await square(3), await square(number=3), cache.stats().hits)
    >>> asyncio.run(main())
    computed
    9 9 1

    Calls cost what they cost there. A folder's keys are counted in slices. Where a large value needs the room of many
    keys, these go in slices, while others have their turn, before the value is stored in one step.
    """

    @overload
    def __init__(
        self: Cache[Any],
        path: str | os.PathLike[str] | None = None,
        *,
        size_limit: int = 1 << 30,
        policy: str = "allkeys-lru",
        ttl: float | None = None,
        codec: None = None,
        journal: bool = False,
        fsync: Fsync = "everysec",
    ) -> None: ...

    @overload
    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        size_limit: int = 1 << 30,
        policy: str = "allkeys-lru",
        ttl: float | None = None,
        codec: Codec[T] | None = None,
        journal: bool = False,
        fsync: Fsync = "everysec",
    ) -> None: ...

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        size_limit: int = 1 << 30,
        policy: str = "allkeys-lru",
        ttl: float | None = None,
        codec: Codec[T] | None = None,
        journal: bool = False,
        fsync: Fsync = "everysec",
    ) -> None:
        super().__init__(path, journal=journal, fsync=fsync)
        self._options = {"size_limit": size_limit, "policy": policy, "ttl": ttl, "codec": codec}
        # What makes no sense is told now, not when the cache is opened.
        limits(size_limit, policy, ttl)

    def _make_core(self, keeper: Keeper) -> CoreStore:
        return CoreCache(keeper, **self._options)

    @property
    def _cache(self) -> CoreCache[T]:
        return cast(CoreCache[T], self._core)

    async def set(self, key: str, value: T, ttl: float | None = None) -> None:
        """Store a value as it is now, as `set` of `kvserver.Cache` does."""
        self._ready()
        name, entry = self._cache.encode(key, value)
        await self._write_after([(name, entry)], self._cache.put, name, entry, ttl)

    async def add(self, key: str, value: T, ttl: float | None = None) -> bool:
        """`set` if the key is missing. Return True if it was."""
        self._ready()
        name, entry = self._cache.encode(key, value)
        wanted = [] if key in self._cache else [(name, entry)]
        return await self._write_after(wanted, self._cache.put_new, name, entry, ttl) is None

    async def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, which is `default` from now on if the key is missing."""
        self._ready()
        name, entry = self._cache.encode(key, default)
        wanted = [] if key in self._cache else [(name, entry)]
        present = await self._write_after(wanted, self._cache.put_new, name, entry, None)
        return self._cache.decode(key, entry if present is None else present)

    async def update(self, other: Any = (), /, **values: Any) -> None:
        """`set` many values. Errors are those of `update` of `kvserver.Cache`."""
        self._ready()
        for group in self._cache.groups(self._cache.encode_all(other, values)):
            await self._write_after(group, self._cache.put_all, group)

    async def _write_after(self, entries: list[tuple[bytes, bytes]], call: Callable[..., R], *arguments: Any) -> R:
        """`_write`, after room was made for entries: where that is long, others have their turn meanwhile."""
        keeper, core = self._ready(), self._cache
        if not keeper.begins_write():
            await keeper.until_writable()
        if core.may_need_turns(entries):
            with core.claimed(entries) as steps:
                pace = keeper.pace()
                for _ in steps:
                    if pace.is_over:
                        core.settle()
                        await pace.next()
                        await keeper.until_writable()
        # Nobody else has had a turn since there was room.
        result = call(*arguments)
        if safe := keeper.settle():
            await safe
        return result

    async def peek(self, key: str, default: Any = None) -> Any:
        """`get` that is no use of the key, and neither hit nor miss."""
        return await self._read(self._cache.peek, key, default)

    async def decr(self, key: str, by: float = 1) -> int | float:
        """`incr` by the negative number."""
        return await self._write(self._cache.decr, key, by)

    async def touch(self, key: str, ttl: float | None = None) -> bool:
        """Let a key be gone after `ttl` seconds (None: the cache's own; math.inf: never). Return True if it is there."""
        return await self._write(self._cache.touch, key, ttl)

    def volume(self) -> int:
        """The bytes that keys and values take, by the estimate that `size_limit` is for. StoreReplaced amid a `restore`."""
        self._refuse_if_replacing()
        return self._cache.volume()

    def stats(self, *, reset: bool = False) -> Stats:
        """The hits and misses of `get`, and the keys that went for want of room. `reset`: they are counted from 0 again."""
        self._ready()
        return self._cache.stats(reset=reset)

    @overload
    def memoize(self, function: Callable[P, Awaitable[R]], /) -> Memoized[P, R]: ...

    @overload
    def memoize(
        self, /, *, ttl: float | None = None, key: Callable[..., Any] | None = None, name: str | None = None
    ) -> Callable[[Callable[P, Awaitable[R]]], Memoized[P, R]]: ...

    def memoize(
        self,
        function: Any = None,
        /,
        *,
        ttl: float | None = None,
        key: Callable[..., Any] | None = None,
        name: str | None = None,
    ) -> Any:
        """Keep the results of a coroutine function: a decorator, as that of `kvserver.Cache`.

        Of tasks that ask at the same time one computes.
        """
        return memoizing(function, lambda: self, ttl, key, name=name)


class _AtOnce:
    """A cache of the library in memory, as memoize of aio needs it: no call of it waits, whatever the loop is."""

    def __init__(self, cache: LibraryCache[Any]) -> None:
        self._cache = cache

    async def get(self, key: str, default: Any = None) -> Any:
        return self._cache.get(key, default)

    async def peek(self, key: str, default: Any = None) -> Any:
        return self._cache.peek(key, default)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        self._cache.set(key, value, ttl)

    async def delete(self, key: str) -> bool:
        return self._cache.delete(key)


_numbers: Final = count(1)


@overload
def memoize(function: Callable[P, Awaitable[R]], /) -> Memoized[P, R]: ...


@overload
def memoize(
    *, ttl: float | None = None, key: Callable[..., Any] | None = None
) -> Callable[[Callable[P, Awaitable[R]]], Memoized[P, R]]: ...


def memoize(function: Any = None, /, *, ttl: float | None = None, key: Callable[..., Any] | None = None) -> Any:
    """`Cache.memoize` in the cache in memory that `kvserver.memoize` has, too. Any event loop may call the function.

    >>> import asyncio
    >>> from kvserver import aio
    >>> @aio.memoize(ttl=60)
    ... async def greet(name, greeting="Hello"):
    ...     return f"{greeting}, {name}!"
    >>> asyncio.run(greet("Ada"))
    'Hello, Ada!'
    """
    return memoizing(function, lambda: _AtOnce(own_cache()), ttl, key, f"#aio{next(_numbers)}")
