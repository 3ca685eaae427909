"""memoize: a function whose results are kept in a cache, computed once however many threads ask at the same time.

A result comes back as the cache gives it, at the first call as well: a tuple is a list after JSON. Exceptions are not kept;
who waits for a call that fails gets its exception. A result for which there is no room is returned all the same. This
never decides what a key is (`calls`) or what a cache keeps.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Callable
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar, overload

from kvserver.errors import CacheFull, CodecError, ValueTooLarge
from kvserver.library.calls import CallKeys
from kvserver.library.forks import mind_forks

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
S = TypeVar("S")

MISSING: Final[Any] = object()

_log = logging.getLogger("kvserver")


class Results(Protocol):
    """The part of a Cache that memoize needs."""

    def get(self, key: str, default: Any = None, /) -> Any: ...
    def peek(self, key: str, default: Any = None, /) -> Any: ...
    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None: ...
    def delete(self, key: str, /) -> bool: ...


class _Flight:
    """One computation that is under way, for all who want its result."""

    __slots__ = ("ended", "failure", "owner", "result")

    def __init__(self) -> None:
        self.owner = threading.get_ident()
        self.ended = threading.Event()
        self.result: Any = MISSING
        self.failure: Exception | None = None


class Memoized(Generic[P, T]):
    """A function with a cache before it: call it as the function itself. `__wrapped__` is the function.

    On a method the instance is the first argument, which is no JSON: give `key=`, a function that takes of it what tells it
    from others. A call costs, beside the function, its key, O(arguments), and a `get`; the first one a `set` and a `get` more.
    """

    __wrapped__: Callable[P, T]

    def __init__(
        self, function: Callable[P, T], results: Callable[[], Results], keys: CallKeys[P], ttl: float | None = None
    ) -> None:
        functools.update_wrapper(self, function)
        # Measured: to call an attribute of the class's `__dict__` by way of `update_wrapper` takes no longer.
        self._function = function
        self._results = results
        self._keys = keys
        self._ttl = ttl
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        mind_forks(self)

    def after_fork(self) -> None:
        """Begin anew in a process that was forked off: the threads that were computing are not there."""
        self._lock = threading.Lock()
        self._flights = {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        key = self._keys(*args, **kwargs)
        try:
            result: T = self._results().get(key, MISSING)
        except CodecError:
            # It was kept by another codec, or an older one: it is computed anew, and replaced.
            result = MISSING
        if result is not MISSING:
            return result
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    own = self._flights[key] = _Flight()
                    break
            # A function that calls itself with the same arguments would wait for itself.
            if flight.owner == threading.get_ident():
                return self._function(*args, **kwargs)
            flight.ended.wait()
            if flight.failure:
                try:
                    raise flight.failure
                finally:
                    # Its traceback holds what this function does.
                    del flight
            if flight.result is not MISSING:
                # Each has a copy of its own, if it was kept.
                result = self._kept(key)
                return flight.result if result is MISSING else result
        try:
            # The computation may have come to its end since the first look.
            result = self._kept(key)
            if result is MISSING:
                computed = self._function(*args, **kwargs)
                try:
                    self._results().set(key, computed, ttl=self._ttl)
                    result = self._kept(key)
                except (ValueTooLarge, CacheFull) as error:
                    tell_unkept(error)
                if result is MISSING:
                    result = computed
            own.result = result
        except Exception as error:
            own.failure = error
            raise
        finally:
            # After a KeyboardInterrupt there is neither a result nor a failure: then the next one computes.
            with self._lock:
                # It may be missing, or that of another thread, if the function has forked.
                if self._flights.get(key) is own:
                    del self._flights[key]
            own.ended.set()
            # As above.
            del own
        return result

    def _kept(self, key: str) -> T:
        """The result that is kept, which is no hit; or MISSING, also where it can't be decoded any more."""
        try:
            return self._results().peek(key, MISSING)  # type: ignore[no-any-return]
        except CodecError:
            return MISSING  # type: ignore[no-any-return]

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key under which the result of this call is kept. TypeError if the arguments are no JSON."""
        return self._keys(*args, **kwargs)

    def forget(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Let the next such call compute. Return True if there was a result."""
        return self._results().delete(self._keys(*args, **kwargs))

    @overload
    def __get__(self, instance: None, owner: type) -> Memoized[P, T]: ...

    @overload
    def __get__(self: Memoized[Concatenate[S, Q], T], instance: S, owner: type) -> BoundMemoized[Q, T]: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        whole: Any = self
        return self if instance is None else BoundMemoized(whole, instance)


def tell_unkept(error: Exception) -> None:
    """Log that a result is not kept, since there is no room."""
    _log.debug("a result of a memoized function is not kept: %s", error)


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
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is a coroutine function: memoize it by kvserver.aio")
        return Memoized(function, results, CallKeys(function, key, suffix, name), ttl)

    return decorate if function is None else decorate(function)


class BoundMemoized(Generic[Q, T]):
    """A memoized method of an instance."""

    def __init__(self, memoized: Memoized[Concatenate[Any, Q], T], instance: Any) -> None:
        self.__wrapped__: Callable[Q, T] = functools.partial(memoized.__wrapped__, instance)
        self._memoized = memoized
        self._instance = instance

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> T:
        return self._memoized(self._instance, *args, **kwargs)

    def cache_key(self, *args: Q.args, **kwargs: Q.kwargs) -> str:
        """As `Memoized.cache_key`."""
        return self._memoized.cache_key(self._instance, *args, **kwargs)

    def forget(self, *args: Q.args, **kwargs: Q.kwargs) -> bool:
        """As `Memoized.forget`."""
        return self._memoized.forget(self._instance, *args, **kwargs)
