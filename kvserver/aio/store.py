"""aio.KVStore: the KVStore of an asyncio program. Its calls are coroutines of the program's own loop.

A call that reads or writes runs at once, and waits for the disk alone, if at all: no thread is asked, and nothing is polled.
This module checks where it is called and waits; the data is `core`'s, the files are the keeper's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Self, TypeVar, get_args

from kvserver.aio.core import CoreStore
from kvserver.aio.keeper import Keeper, to_end
from kvserver.errors import MediumError, StoreClosed, StoreReadOnly, StoreReplaced, WrongEventLoop
from kvserver.formats.codec import JSON
from kvserver.library.journal import Fsync
from kvserver.options.config import Config

R = TypeVar("R")

_MISSING: Final[Any] = object()
# An iteration looks at the clock after so many keys.
KEYS_A_LOOK: Final = 64
# As fast as `asyncio.get_running_loop`, and no exception where there is none.
_running_loop: Final = asyncio._get_running_loop


class KVStore:
    """Keys (str) and JSON values, as in `kvserver.KVStore`, for the tasks of one event loop.

    >>> import asyncio
    >>> from kvserver import aio
    >>> async def main():
    ...     async with aio.KVStore() as store:     # aio.KVStore("folder", journal=True) keeps it
    ...         await store.set("user:1", {"name": "Ada"}, ttl=60)
    ...         print(await store.get("user:1"), await store.incr("visits"), len(store))
    ...         print(sorted([key async for key in store]))
    >>> asyncio.run(main())
    {'name': 'Ada'} 1 2
    ['user:1', 'visits']

    `path` is a folder, which a server can open as well, when the store is closed; None: nothing outlives the store. With a
    `journal` each write is in the system's hands when its call returns, so that the end of the process loses nothing; with
    `fsync="always"` it is durable, and many tasks share a sync. Without one `shutdown` and `close` keep what was written.
    `read_only`: the folder is left as it is, and may be that of a running server; `restore` looks again at what is there.

    The loop never waits for the disk, and a call in a hundred or so lets it go round first. It does what a call is for: set
    and get take O(value), `update` O(values), `len` and `clear` O(1). Opening, `shutdown`, `restore` and iteration take
    O(all), in slices of one to three milliseconds. Python's garbage collector is the program's: with some 100,000 keys a full
    collection holds the loop for tenths of a second, most of all while data is loaded. `gc.disable()` during `open` and
    `restore`, or `gc.freeze()` behind them, ends that.

    Keys whose time has come are never returned. `len` counts them until they are removed, which is in slices, too: some tens
    of milliseconds later as a rule, and up to a second while nothing is called.

    A call that is cancelled has not begun or is done: a write that waits for the disk then is in memory, and gets there. A
    call by another loop or thread raises WrongEventLoop; before `async with`, and behind it, StoreClosed. A write raises
    MediumError if the journal can't be written. If that says that it is in memory alone, the journal has failed behind it; no
    write is taken then until `shutdown` succeeds, which the store tries by itself, too.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        journal: bool = False,
        fsync: Fsync = "everysec",
        read_only: bool = False,
    ) -> None:
        if fsync not in get_args(Fsync):
            raise ValueError(f"fsync is {' or '.join(map(repr, get_args(Fsync)))}, not {fsync!r}")
        if not (path is None or isinstance(path, str | os.PathLike)):
            raise TypeError(f"a store of aio takes the path of a folder, or nothing, not {type(path).__name__}")
        if journal and path is None:
            raise ValueError('only a folder has a journal: aio.KVStore("folder", journal=True)')
        if read_only and (journal or path is None):
            raise ValueError("read_only=True is for a folder, and without a journal: who only reads has nothing to record")
        self._path = path
        self._read_only = read_only
        self._config = Config()
        self._config.save = ()
        self._config.appendonly, self._config.appendfsync = journal, fsync
        self._keeper: Keeper | None = None
        self._is_opening = False
        # It is done when a `close` that is under way has ended.
        self._closing: asyncio.Future[None] | None = None
        self._core: CoreStore

    # Opening and closing

    async def open(self) -> Self:
        """Take the folder, and load what is there; `async with` does it. Return the store.

        MediumLocked if a server or somebody else has the folder, MediumError if it can't be read. RuntimeError if the store is
        open already, or is being opened or closed.
        """
        if self._keeper or self._is_opening:
            raise RuntimeError("the store is open already, or is being opened")
        if self._closing:
            raise RuntimeError("the store is being closed")
        self._is_opening = True
        try:
            self._keeper = await self._open()
        finally:
            self._is_opening = False
        return self

    async def _open(self) -> Keeper:
        if self._path is not None and os.path.isfile(self._path):
            raise MediumError(f"{os.fspath(self._path)} is a file, and a store of aio is kept in a folder")
        keeper = Keeper(self._path, self._config, read_only=self._read_only)
        await keeper.open()
        try:
            self._core = self._make_core(keeper)
            await keeper.adopt_for(self._core.adoption)
        except BaseException:
            await to_end(keeper.close())
            raise
        return keeper

    def _make_core(self, keeper: Keeper) -> CoreStore:
        return CoreStore(keeper)

    async def close(self) -> None:
        """Keep what was written, by a frame or, where there is a journal, a sync of that, and let go of the folder.

        MediumError if that fails; the folder is let go of all the same. May be called again: a
        second call waits for the end of the first.
        """
        if self._keeper:
            keeper, self._keeper = self._ready(), None
            closing = self._closing = keeper.loop.create_future()
            try:
                await keeper.close()
            finally:
                self._closing = None
                closing.set_result(None)
        elif self._closing:
            if _running_loop() is not self._closing.get_loop():
                raise WrongEventLoop("the store is being closed in another event loop, or thread")
            await asyncio.wait([self._closing])

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _ready(self) -> Keeper:
        """The keeper of a store that is open, for one who is in its loop."""
        keeper = self._keeper
        if keeper is None:
            raise StoreClosed("the store is not open: use it within `async with`")
        if _running_loop() is not keeper.loop:
            raise WrongEventLoop("the store was opened in another event loop, or thread, and belongs to that")
        return keeper

    def _refuse_if_replacing(self) -> None:
        if self._ready().is_replacing:
            raise StoreReplaced("the data is being replaced by restore(): await count() or has(key), which wait for that")

    async def _read(self, call: Callable[..., R], *arguments: Any) -> R:
        keeper = self._ready()
        if not keeper.begins_read():
            await keeper.until_readable()
        return call(*arguments)

    async def _write(self, call: Callable[..., R], *arguments: Any) -> R:
        keeper = self._ready()
        if not keeper.begins_write():
            await keeper.until_writable()
        result = call(*arguments)
        if safe := keeper.settle():
            await safe
        return result

    # One key

    async def set(self, key: str, value: JSON, ttl: float | None = None) -> None:
        """Store a value as it is now, which is gone after `ttl` seconds (None: never).

        TypeError or ValueError, with nothing changed, if it is no JSON, the key no str, or the ttl no positive number. Bytes
        that are UTF-8 come back as a str (`kvserver.KVStore.set`).
        """
        # Measured: `_write` spelled out here and `_read` in `get`, each takes a fifth less.
        keeper = self._ready()
        if not keeper.begins_write():
            await keeper.until_writable()
        self._core.set(key, value, ttl)
        if safe := keeper.settle():
            await safe

    async def get(self, key: str, default: Any = None) -> Any:
        """Return a new copy of the value, or `default` if the key is missing or has expired."""
        keeper = self._ready()
        if not keeper.begins_read():
            await keeper.until_readable()
        return self._core.get(key, default)

    async def add(self, key: str, value: JSON, ttl: float | None = None) -> bool:
        """`set` if the key is missing. Return True if it was."""
        return await self._write(self._core.add, key, value, ttl)

    async def delete(self, key: str) -> bool:
        """Remove a key. Return True if it was there."""
        return await self._write(self._core.delete, key)

    async def incr(self, key: str, by: float = 1) -> int | float:
        """Add to a number, a missing one being 0, and return the sum. Errors are those of `kvserver.KVStore.incr`."""
        return await self._write(self._core.incr, key, by)

    async def ttl(self, key: str) -> float | None:
        """The seconds that a key has left, or None if it has no expiry, or is missing."""
        return await self._read(self._core.ttl, key)

    async def expire(self, key: str, ttl: float | None) -> bool:
        """Let a key be gone after `ttl` seconds, or never (None), in place of its expiry. Return True if it is there."""
        return await self._write(self._core.expire, key, ttl)

    async def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Remove a key and return its value; if it is missing, return `default`, or raise KeyError without one."""
        return await (self._write(self._core.pop, key) if default is _MISSING else self._write(self._core.pop, key, default))

    async def setdefault(self, key: str, default: JSON = None) -> Any:
        """Return the value of a key, which is `default` from now on if the key is missing."""
        return await self._write(self._core.setdefault, key, default)

    def __contains__(self, key: object) -> bool:
        """True if a key is there. StoreReplaced while `restore` is under way: `has` waits."""
        self._refuse_if_replacing()
        return key in self._core

    async def has(self, key: str) -> bool:
        """Return True if a key is there."""
        return await self._read(self._core.__contains__, key)

    # Many keys

    async def popitem(self) -> tuple[str, Any]:
        """Remove some key, and return it and its value. KeyError if there is none."""
        return await self._write(self._core.popitem)

    async def update(self, other: Any = (), /, **values: JSON) -> None:
        """Store many values, in one step. TypeError or ValueError, with nothing changed, if one of them can't be stored."""
        await self._write(lambda: self._core.update(other, **values))

    async def clear(self) -> None:
        """Remove all keys."""
        await self._write(self._core.clear)

    def __len__(self) -> int:
        """The number of keys, also of those that are due and not removed yet. StoreReplaced while `restore` is under way."""
        self._refuse_if_replacing()
        return len(self._core)

    async def count(self) -> int:
        """`len`, behind a `restore` that is under way."""
        return await self._read(self._core.__len__)

    def __bool__(self) -> bool:
        """True if the store is open and has a key."""
        return self._keeper is not None and len(self) > 0

    async def __aiter__(self) -> AsyncIterator[str]:
        keeper = self._ready()
        await keeper.until_readable()
        pace, since = keeper.pace(), keeper.replacements
        for count, key in enumerate(self._core, 1):
            _refuse_if_replaced(keeper, since)
            yield key
            if not count % KEYS_A_LOOK and pace.is_over:
                await pace.next()

    def keys(self) -> AsyncIterator[str]:
        """The keys, as `async for key in store` gives them: one that is there throughout comes exactly once.

        StoreReplaced if a `restore` begins meanwhile.
        """
        return self.__aiter__()

    async def items(self) -> AsyncIterator[tuple[str, Any]]:
        """The keys and values: those of a key as they were at some moment since the iteration began.

        StoreReplaced if a `restore` begins meanwhile.
        """
        keeper = self._ready()
        await keeper.until_readable()
        pace, since = keeper.pace(), keeper.replacements
        for pair in self._core.pairs():
            _refuse_if_replaced(keeper, since)
            yield pair
            if pace.is_over:
                await pace.next()

    async def values(self) -> AsyncIterator[Any]:
        """The values."""
        async for _, value in self.items():
            yield value

    # All of it

    async def shutdown(self) -> bool:
        """Append one frame with the data of this moment and sync it. Return True. Others go on meanwhile.

        MediumError if that fails: then the earlier frames and the store are as they were.
        """
        keeper = self._ready()
        if self._read_only:
            raise StoreReadOnly("the store was opened read_only")
        await keeper.flush()
        return True

    async def restore(self) -> bool:
        """Replace the data by what is kept and return True. If nothing is kept, clear the store and return False.

        Calls wait meanwhile; `len` and `in`, which can't, raise StoreReplaced, and so do iterations that have begun. Where
        there is a journal, all that was written is kept, and nobody waits. MediumError, with the data as it was, if the files
        can't be read, or if others have moved, removed or replaced them (MediumDisplaced).
        """
        return await self._ready().restore()


def _refuse_if_replaced(keeper: Keeper, since: int) -> None:
    """Raise StoreReplaced if the data was replaced since the keeper's `replacements` was that."""
    if keeper.replacements != since:
        raise StoreReplaced("restore() has begun to replace the data since the iteration began: begin anew")
