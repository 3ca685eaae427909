"""memoize for coroutine functions: results are kept in a cache, and computed once however many tasks ask at the same time.

As `library.memoized`, of which it has the keys: what is said there of results and exceptions holds here. If the task that
computes is cancelled, one of those that wait computes anew.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar, overload

from kvserver.errors import CacheFull, CodecError, ValueTooLarge
from kvserver.library.calls import CallKeys
from kvserver.library.memoized import tell_unkept

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
S = TypeVar("S")

MISSING: Final[Any] = object()


class Results(Protocol):
    """The part of an aio.Cache that memoize needs."""

    async def get(self, key: str, default: Any = None, /) -> Any: ...
    async def peek(self, key: str, default: Any = None, /) -> Any: ...
    async def set(self, key: str, value: Any, /, ttl: float | None = None) -> None: ...
    async def delete(self, key: str, /) -> bool: ...


class _Flight:
    """One computation that is under way, for all tasks that want its result."""

    __slots__ = ("ended", "failure", "owner", "result")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.owner = asyncio.current_task()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.failure: Exception | None = None
        self.result: Any = MISSING


class Memoized(Generic[P, T]):
    """A coroutine function with a cache before it: call it as the function itself. `__wrapped__` is the function.

    On a method the instance is the first argument, which is no JSON: give `key=`, a function that takes of it what tells it
    from others.
    """

    __wrapped__: Callable[P, Awaitable[T]]

    def __init__(
        self,
        function: Callable[P, Awaitable[T]],
        results: Callable[[], Results],
        keys: CallKeys[P],
        ttl: float | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        _mark(self)
        self._function = function
        self._results = results
        self._keys = keys
        self._ttl = ttl
        # Loops in several threads may use one function.
        self._flights: dict[tuple[asyncio.AbstractEventLoop, str], _Flight] = {}

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        key = self._keys(*args, **kwargs)
        results = self._results()
        try:
            result: T = await results.get(key, MISSING)
        except CodecError:
            # It was kept by another codec, or an older one: it is computed anew, and replaced.
            result = MISSING
        if result is not MISSING:
            return result
        loop = asyncio.get_running_loop()
        while flight := self._flights.get((loop, key)):
            # A function that calls itself with the same arguments would wait for itself.
            if flight.owner is asyncio.current_task():
                return await self._function(*args, **kwargs)
            # The end of one that waits ends neither the computation nor the others.
            await asyncio.wait([flight.ended])
            if flight.failure:
                try:
                    raise flight.failure
                finally:
                    # Its traceback holds what this function does.
                    del flight
            if flight.result is not MISSING:
                # Each has a copy of its own, if it was kept.
                result = await self._kept(key)
                return flight.result if result is MISSING else result
        own = self._flights[loop, key] = _Flight(loop)
        try:
            computed = await self._function(*args, **kwargs)
            try:
                await results.set(key, computed, ttl=self._ttl)
                result = await self._kept(key)
            except (ValueTooLarge, CacheFull) as error:
                tell_unkept(error)
            own.result = result = computed if result is MISSING else result
            return result
        except Exception as error:
            own.failure = error
            raise
        finally:
            del self._flights[loop, key]
            own.ended.set_result(None)
            # As above.
            del own

    async def _kept(self, key: str) -> T:
        """The result that is kept, which is no hit; or MISSING, also where it can't be decoded any more."""
        try:
            return await self._results().peek(key, MISSING)  # type: ignore[no-any-return]
        except CodecError:
            return MISSING  # type: ignore[no-any-return]

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key under which the result of this call is kept. TypeError if the arguments are no JSON."""
        return self._keys(*args, **kwargs)

    async def forget(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Let the next such call compute. Return True if there was a result."""
        return await self._results().delete(self._keys(*args, **kwargs))

    @overload
    def __get__(self, instance: None, owner: type) -> Memoized[P, T]: ...

    @overload
    def __get__(self: Memoized[Concatenate[S, Q], T], instance: S, owner: type) -> BoundMemoized[Q, T]: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        whole: Any = self
        return self if instance is None else BoundMemoized(whole, instance)


def memoizing(
    function: Any,
    results: Callable[[], Results],
    ttl: float | None,
    key: Callable[..., Any] | None,
    suffix: str = "",
    name: str | None = None,
) -> Any:
    """The memoized function, or a decorator if none is given. TypeError for what can't be memoized here."""

    def decorate(function: Any) -> Memoized[..., Any]:
        if not callable(function):
            raise TypeError(f"memoize is a decorator of functions, not of {function!r}: give `ttl` and `key` by their names")
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is no coroutine function: memoize it by kvserver.Cache")
        return Memoized(function, results, CallKeys(function, key, suffix, name), ttl)

    return decorate if function is None else decorate(function)


def _mark(function: Any) -> None:
    """Have those who ask told that what this returns has to be awaited: frameworks do."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(function)
    else:
        function._is_coroutine = vars(asyncio.coroutines)["_is_coroutine"]


class BoundMemoized(Generic[Q, T]):
    """A memoized method of an instance."""

    def __init__(self, memoized: Memoized[Concatenate[Any, Q], T], instance: Any) -> None:
        self.__wrapped__: Callable[Q, Awaitable[T]] = functools.partial(memoized.__wrapped__, instance)
        _mark(self)
        self._memoized = memoized
        self._instance = instance

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> Coroutine[Any, Any, T]:
        return self._memoized(self._instance, *args, **kwargs)

    def cache_key(self, *args: Q.args, **kwargs: Q.kwargs) -> str:
        """As `Memoized.cache_key`."""
        return self._memoized.cache_key(self._instance, *args, **kwargs)

    async def forget(self, *args: Q.args, **kwargs: Q.kwargs) -> bool:
        """As `Memoized.forget`."""
        return await self._memoized.forget(self._instance, *args, **kwargs)
